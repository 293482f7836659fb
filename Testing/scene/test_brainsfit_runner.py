import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from MMHVAESynthesisLib.errors import Cancelled, DependencyError
from MMHVAESynthesisLib.registration import engine
from MMHVAESynthesisLib.registration.transforms import affine_of, matrix_of
from MMHVAESynthesisLib.request import RegistrationRequest

pytest.importorskip("vtk", reason="not installed: vtk, which comes with slicer-core")

PROGRAM = Path(__file__).parent / "brainsfit_program.py"

SETTINGS = {
    "useRigid": True,
    "useAffine": False,
    "initializeTransformMode": "Off",
    "maskProcessingMode": "ROI",
    "samplingPercentage": np.float32(0.25),
    "costMetric": "MMI",
    "numberOfHistogramBins": np.int64(32),
    "maximumStepLength": np.float64(0.5),
    "minimumStepLength": 0.005,
    "numberOfThreads": 1,
}


@pytest.fixture
def module(made, monkeypatch, tmp_path):
    """The module BRAINSFit, whose executable is the stand-in beside this file."""
    from scene import command_line_modules

    return command_line_modules.install(monkeypatch, PROGRAM, tmp_path / "runs")


@pytest.fixture
def runner(module):
    from MMHVAESynthesisLib.scene import brainsfit

    return brainsfit.runner()


def texture(seed=0):
    values = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(36, 40, 44)), 3, mode="wrap")
    image = sitk.GetImageFromArray((values / values.std()).astype(np.float32))
    image.SetOrigin([-22.0, -20.0, -18.0])
    return image


TRUTH = np.eye(4)
TRUTH[:3, 3] = 1.5, -1.0, 0.75


def images():
    moving = texture()
    fixed = sitk.Resample(moving, moving, affine_of(TRUTH), sitk.sitkLinear)
    ones = sitk.Cast(moving > -1e6, sitk.sitkUInt8)
    inner = sitk.Image(ones)
    inner[:, :, :5] = 0
    return {"fixedVolume": fixed, "movingVolume": moving, "fixedBinaryVolume": inner, "movingBinaryVolume": ones}


def nothing():
    pass


def test_finds_the_transform_and_leaves_nothing_in_the_scene(made, module, runner, scene):
    bystander = made.scenes.volume("Bystander")
    before = made.everything()
    start = np.eye(4)
    start[:3, 3] = 1.0, 0.0, 0.0
    found = runner.run(images(), affine_of(start), SETTINGS, nothing)
    assert np.abs(matrix_of(found)[:3, 3] - TRUTH[:3, 3]).max() < 0.1
    assert made.everything() == before and bystander.GetTransformNodeID() is None
    (run,) = module.runs
    assert run.progress[0] == 0 and run.progress[-1] == 1 and len(run.progress) > 3


def test_what_the_executable_gets(made, module, runner):
    given = images()
    start = made.LPS @ made.motion(4, (1, 2, -1)) @ made.LPS
    runner.run(given, affine_of(start), {**SETTINGS, "useAffine": np.bool_(False)}, nothing)
    (run,) = module.runs
    assert module.dropped == [], "numbers of numpy's are dropped in silence by slicer.cli"
    after = dict(zip(run.words, run.words[1:]))
    assert float(after["--samplingPercentage"]) == 0.25 and after["--numberOfHistogramBins"] == "32"
    assert "--useAffine" not in run.words and "--useRigid" in run.words
    for name, image in given.items():
        read = sitk.ReadImage(str(run.files[name]))
        np.testing.assert_array_equal(sitk.GetArrayViewFromImage(read), sitk.GetArrayViewFromImage(image))
        corner = [size - 1 for size in image.GetSize()]
        for index in ([0, 0, 0], corner):
            np.testing.assert_allclose(
                read.TransformIndexToPhysicalPoint(index), image.TransformIndexToPhysicalPoint(index), atol=1e-9
            )
    written = sitk.ReadTransform(str(run.files["initialTransform"]))
    np.testing.assert_allclose(matrix_of(written), start, atol=1e-9)


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("fails", r"failed \(Completed with errors\).*no samples inside the mask"),
        ("says well and writes nothing", "gave back no transform.*BRAINSFit: done"),
        pytest.param(
            "crashes",
            r"failed \(Completed with errors\)",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="abort() asks the user on Windows"),
        ),
    ],
)
def test_silent_failures_are_found_and_its_words_kept(made, runner, monkeypatch, behaviour, said):
    monkeypatch.setenv("BRAINSFIT_BEHAVES", behaviour)
    before = made.everything()
    with pytest.raises(DependencyError, match=f"(?s){said}"):
        runner.run(images(), affine_of(np.eye(4)), SETTINGS, nothing)
    assert made.everything() == before


def test_cancel_ends_the_run(made, module, runner, monkeypatch):
    monkeypatch.setenv("BRAINSFIT_BEHAVES", "hangs")
    before = made.everything()
    asked = []

    def check():
        asked.append(time.monotonic())
        if module.runs and module.runs[0].progress:
            raise Cancelled("Cancelled.")

    started = time.monotonic()
    with pytest.raises(Cancelled):
        runner.run(images(), affine_of(np.eye(4)), SETTINGS, check)
    assert time.monotonic() - started < 20 and len(asked) > 1
    assert module.runs[0].child.returncode != 0 and not module.runs[0].thread.is_alive()
    assert made.everything() == before


def test_a_scene_closed_meanwhile_ends_the_run(slicer, module, runner, monkeypatch):
    monkeypatch.setenv("BRAINSFIT_BEHAVES", "hangs")

    def check():
        if module.runs and module.runs[0].progress:
            slicer.mrmlScene.Clear(0)

    with pytest.raises(Cancelled, match="The scene was closed"):
        runner.run(images(), affine_of(np.eye(4)), SETTINGS, check)
    assert not module.runs[0].thread.is_alive()


def test_closing_slicer_meanwhile_ends_the_run(made, module, main_window, monkeypatch):
    from MMHVAESynthesisLib.scene import brainsfit

    monkeypatch.setenv("BRAINSFIT_BEHAVES", "hangs")
    before = made.everything()

    def check():
        if module.runs and module.runs[0].progress:
            main_window.close()

    with pytest.raises(Cancelled, match="Slicer was closed"):
        brainsfit.runner().run(images(), affine_of(np.eye(4)), SETTINGS, check)
    assert not module.runs[0].thread.is_alive() and made.everything() == before


def test_cancelled_by_its_own_node(module, runner, monkeypatch):
    monkeypatch.setenv("BRAINSFIT_BEHAVES", "hangs")

    def check():
        if module.runs and module.runs[0].progress:
            module.runs[0].node.Cancel()

    with pytest.raises(Cancelled, match="BRAINSFit was cancelled"):
        runner.run(images(), affine_of(np.eye(4)), SETTINGS, check)


def test_a_slicer_without_the_module_is_told(made):
    from MMHVAESynthesisLib.scene import brainsfit

    with pytest.raises(DependencyError, match="has no module BRAINSFit.*'lncc'"):
        brainsfit.runner()


def test_the_engine_brainsfit_registers_through_slicer(made, runner, module):
    moving = texture()
    fixed = sitk.Resample(moving, moving, affine_of(TRUTH), sitk.sitkLinear)
    before, reports = made.everything(), []
    request = RegistrationRequest({"t2": fixed}, {"t2": moving}, engine="brainsfit", starts=1)
    result = engine.register(request, reports.append, threading.Event(), runner)
    assert np.abs(matrix_of(result.fixed_to_moving)[:3, 3] - TRUTH[:3, 3]).max() < 0.5
    assert result.provenance["engine"] == "brainsfit" and len(module.runs) == 7
    assert reports[-1].done == reports[-1].total
    assert made.everything() == before
