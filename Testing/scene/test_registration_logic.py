import json
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from MMHVAESynthesisLib.errors import Cancelled, DependencyError, InputError

pytest.importorskip("vtk", reason="not installed: vtk, which comes with slicer-core")

FILE = Path(__file__).parents[2] / "MMHVAESynthesis" / "MMHVAESynthesis.py"

QUICK = {"engine": "mattes", "starts": 1}


@pytest.fixture(scope="module")
def phantom():
    from registration import phantom

    return phantom


@pytest.fixture(scope="module")
def head(phantom):
    return phantom.head(size=96)


@pytest.fixture(scope="module")
def field(phantom, head):
    return phantom.noisy(phantom.field(head, size=(36, 34, 32)), 0.3)


@pytest.fixture(scope="session")
def module(slicer):
    """The module, loaded as Slicer loads it. Loading drops the library's modules; the other suites' are put back."""
    from slicer_headless.modules import load_module

    library = {name: each for name, each in sys.modules.items() if name.split(".")[0] == "MMHVAESynthesisLib"}
    loaded = load_module(FILE)
    sys.modules.update(library)
    return loaded


@pytest.fixture
def register(scene, module):
    return module.MMHVAESynthesisLogic().register


@pytest.fixture
def pair(made, head, field):
    """A synthetic T2 and the MR that it was made of, in the same place."""
    synthetic = made.volume_of(field, "US synthetic T2")
    synthetic.SetAttribute("MMHVAE.synthetic", "1")
    return synthetic, made.volume_of(head, "Case1 T2")


NEAR = ((3, -2, 4), (3, -2, 2))


@pytest.mark.parametrize("shared", [False, True], ids=["parents of their own", "a shared parent"])
def test_a_known_displacement_is_undone_under_parents_and_after_saving(
    slicer, register, made, phantom, head, field, tmp_path, shared
):
    from MMHVAESynthesisLib.scene import registration

    away = phantom.motion(*NEAR)
    placed = made.motion(35, (20.0, 10.0, -30.0))
    mr = made.volume_of(phantom.carried(head, away), "Case1 T2", placed)
    synthetic = made.volume_of(field, "US synthetic T2", placed if shared else made.motion(-50, (5, 5, 5)))
    us = made.volume_of(field, "US")
    if shared:
        made.scenes.parent(mr.GetParentTransformNode(), np.eye(4), "Tracker")
        synthetic.SetAndObserveTransformNodeID(mr.GetTransformNodeID())
    voxels = [(48, 48, 48), (40, 55, 44), (58, 40, 52)]
    true = [np.array(head.TransformIndexToPhysicalPoint(voxel)) * (-1, -1, 1) for voxel in voxels]
    moved = [np.linalg.norm(made.voxel_in_world(mr, voxel) - point) for voxel, point in zip(voxels, true)]
    assert min(moved) > 2
    in_us = made.markups("In the US", true)
    in_mr = made.markups("In the MR", [made.voxel_in_world(mr, voxel) for voxel in voxels])
    transform = register({"t2": synthetic}, {"t2": mr}, us, fixed_landmarks=in_us, moving_landmarks=in_mr, **QUICK)
    for voxel, point in zip(voxels, true):
        assert np.linalg.norm(made.voxel_in_world(mr, voxel) - point) < 0.5
    found = np.array([in_mr.GetNthControlPointPositionWorld(index) for index in range(len(true))])
    errors = [json.loads(transform.GetAttribute(f"MMHVAE.landmarkError{when}"))["mean"] for when in ("Before", "After")]
    assert errors == pytest.approx([np.mean(moved), np.linalg.norm(found - true, axis=1).mean()], abs=1e-6)
    assert transform.GetAttribute("MMHVAE.engine") == "mattes"
    assert float(transform.GetAttribute("MMHVAE.confidence")) < 0.5
    assert float(transform.GetAttribute("MMHVAE.similarityAfter")) > float(
        transform.GetAttribute("MMHVAE.similarityBefore")
    )
    assert slicer.util.saveScene(str(tmp_path / "case.mrb"), {})
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "case.mrb"), {})
    mr = slicer.mrmlScene.GetFirstNodeByName("Case1 T2")
    for voxel, point in zip(voxels, true):
        assert np.linalg.norm(made.voxel_in_world(mr, voxel) - point) < 0.5
    (transform,) = registration.registrations()
    registration.undo(transform)
    for voxel, point, distance in zip(voxels, true, moved):
        assert np.linalg.norm(made.voxel_in_world(mr, voxel) - point) == pytest.approx(distance, abs=1e-4)


def test_the_command_lines_file_and_the_scene_agree(slicer, register, made, phantom, head, field, tmp_path):
    from MMHVAESynthesisLib.registration import transforms
    from MMHVAESynthesisLib.registration.engine import register as engine
    from MMHVAESynthesisLib.request import RegistrationRequest

    away = phantom.carried(head, phantom.motion(*NEAR))
    result = engine(RegistrationRequest({"t2": field}, {"t2": away}, **QUICK))
    loaded = slicer.util.loadTransform(str(transforms.write(result.fixed_to_moving, tmp_path / "found.h5")))
    transform = register({"t2": made.volume_of(field, "synthetic")}, {"t2": made.volume_of(away, "T2")}, **QUICK)
    np.testing.assert_allclose(
        slicer.util.arrayFromTransformMatrix(loaded), slicer.util.arrayFromTransformMatrix(transform), atol=1e-3
    )


def test_the_words_of_the_call_reach_the_engine(register, made, pair, monkeypatch):
    from MMHVAESynthesisLib.registration import engine

    calls = []

    def fake(request, progress=None, cancel=None, brainsfit=None):
        calls.append((request, progress, cancel, brainsfit))
        return made.result(made.motion(), warnings=["Something to know."])

    monkeypatch.setattr(engine, "register", fake)
    event = threading.Event()
    flair = made.scenes.volume("FLAIR")
    transform = register(
        {"t2": "US synthetic T2", "cet1": None}, {"t2": pair[1].GetID(), "flair": flair}, kind="affine", engine="lncc",
        starts=2, seed=7, device="cpu", progress=print, cancel=event,
    )  # fmt: skip
    ((request, progress, cancel, brainsfit),) = calls
    assert (request.kind, request.engine, request.starts, request.seed, request.device) == (
        "affine",
        "lncc",
        2,
        7,
        "cpu",
    )
    assert progress is print and cancel is event and brainsfit is None
    assert list(request.fixed) == ["t2"] and request.names == {"t2": "Case1 T2", "flair": "FLAIR"}
    assert request.us is None
    assert pair[1].GetParentTransformNode() is flair.GetParentTransformNode() is transform


def test_contrasts_are_completed_with_the_model_that_made_the_synthetic_mr(register, made, pair, monkeypatch, tmp_path):
    from MMHVAESynthesisLib.models.loading import load
    from MMHVAESynthesisLib.registration import engine
    from synthesis.making import model_file

    seen = []
    monkeypatch.setattr(engine, "register", lambda request, *_: seen.append(request) or made.result(made.motion()))
    flair = made.scenes.volume("US synthetic FLAIR")
    synthetic = {"t2": pair[0], "flair": flair}

    def request(**words):
        register(synthetic, {"t2": pair[1]}, **words)
        return seen[-1]

    def note(node, name, digest):
        node.SetAttribute("MMHVAE.model", name)
        node.SetAttribute("MMHVAE.modelDigest", digest)

    loaded = load(model_file(tmp_path))
    assert request().to_complete and seen[-1].model is None, "nobody knows what made these"
    monkeypatch.setenv("MMHVAE_MODELS_DIR", str(tmp_path))
    note(pair[0], "random", loaded.header.digest)
    assert not request().to_complete, "only one of them is known"
    note(flair, "random", loaded.header.digest)
    assert request().model == "model.safetensors" and seen[-1].to_complete, "by its digest, not its name"
    assert request(model="other").model == "other" and request(completion=False).completion is False
    for node in (pair[0], flair):
        note(node, "demonstrator", "0" * 64)
    assert request().model is None and not seen[-1].to_complete, "another model of that name does not fit"

    def warnings(**words):
        return register(synthetic, {"t2": pair[1]}, **words).GetAttribute("MMHVAE.warnings")

    assert "FLAIR is not completed from T2: the model 'demonstrator', which made the synthetic MR, is not" in warnings()
    assert "not completed" not in warnings(completion=False) + warnings(model="other") + warnings(engine="mattes")
    note(flair, "random", loaded.header.digest)
    assert "not one and the same model made all synthetic MR (demonstrator, random)" in warnings()


@pytest.mark.parametrize("completion", [True, False])
def test_what_is_completed_does_not_come_into_the_scene(slicer, register, made, tmp_path, completion):
    pytest.importorskip("torch")
    from registration import phantom
    from registration.test_completion import stripped
    from synthesis.making import model_file

    head = stripped(phantom.head(size=64))
    mr = made.volume_of(phantom.carried(head, phantom.motion((0, 0, 0), (1, 0, 0))), "Case1 T2")
    synthetic = {
        modality: made.volume_of(phantom.field(phantom.head(seed, size=64), size=(30, 28, 26)), modality)
        for modality, seed in (("t2", 0), ("cet1", 1))
    }
    before = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLVolumeNode")
    model = model_file(tmp_path, spacing=1.0)
    transform = register(synthetic, {"t2": mr}, model=model, completion=completion, starts=1, engine="lncc")
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == before
    assert transform.GetAttribute("MMHVAE.completed") == ('["cet1"]' if completion else None)
    assert json.loads(transform.GetAttribute("MMHVAE.moving")) == {"t2": "Case1 T2"}


def test_a_synthetic_moving_volume_and_the_engines_warnings_are_told(register, made, pair, monkeypatch, caplog):
    from MMHVAESynthesisLib.registration import engine

    result = made.result(made.motion(), warnings=["Something to know."])
    monkeypatch.setattr(engine, "register", lambda *arguments: result)
    pair[1].SetAttribute("MMHVAE.synthetic", "1")
    transform = register({"t2": pair[0]}, {"t2": pair[1]})
    told = json.loads(transform.GetAttribute("MMHVAE.warnings"))
    assert told[0] == "Something to know." and "T2 'Case1 T2' is itself synthetic" in told[1]
    assert [record.message for record in caplog.records] == told


def test_that_a_moving_volume_is_synthetic_is_told_once(register, pair):
    pair[1].SetName("us synthetic T2 (MMHVAE)")
    transform = register({"t2": pair[0]}, {"t2": pair[1]}, starts=1, engine="mattes")
    assert transform.GetAttribute("MMHVAE.warnings").count("is itself synthetic") == 1


def fill(node, value, where=...):
    import slicer

    slicer.util.arrayFromVolume(node)[where] = value
    slicer.util.arrayFromVolumeModified(node)


def one_voxel_thick(node):
    import slicer

    slicer.util.updateVolumeFromArray(node, slicer.util.arrayFromVolume(node)[10:11].copy())


def far_away(made, node):
    matrix = np.eye(4)
    matrix[0, 3] = 300
    made.scenes.parent(node, matrix)


def same_voxels(node, other):
    import slicer

    slicer.util.updateVolumeFromArray(node, slicer.util.arrayFromVolume(other))
    node.CopyOrientation(other)


BAD = {
    "no overlap": (lambda made, synthetic, mr, us: far_away(made, mr), "do not overlap"),
    "empty mask": (lambda made, synthetic, mr, us: fill(us, 0), "The iUS 'US' is empty"),
    "empty synthetic": (lambda made, synthetic, mr, us: fill(synthetic, 0), "The synthetic T2 is empty"),
    "same voxels": (lambda made, synthetic, mr, us: same_voxels(mr, synthetic), "are the same volume"),
    "thin synthetic": (
        lambda made, synthetic, mr, us: one_voxel_thick(synthetic),
        "synthetic T2 is only 1 voxel thick",
    ),
    "thin MR": (lambda made, synthetic, mr, us: one_voxel_thick(mr), r"T2 \(Case1 T2\) is only 1 voxel thick"),
    "NaN in the synthetic": (lambda made, synthetic, mr, us: fill(synthetic, np.nan, (5, 5, 5)), "synthetic T2.*NaN"),
    "NaN in the MR": (lambda made, synthetic, mr, us: fill(mr, np.nan, (5, 5, 5)), r"\(Case1 T2\).*NaN"),
    "NaN in the ultrasound": (lambda made, synthetic, mr, us: fill(us, np.nan, (5, 5, 5)), "The iUS 'US'.*NaN"),
    "non-linear": (
        lambda made, synthetic, mr, us: mr.SetAndObserveTransformNodeID(made.non_linear().GetID()),
        "'Case1 T2' lies under a non-linear transform",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_volumes_are_told_and_nothing_is_moved(register, made, pair, field, what):
    spoil, sentence = BAD[what]
    us = made.volume_of(field, "US")
    spoil(made, *pair, us)
    before = made.everything()
    with pytest.raises(InputError, match=sentence):
        register({"t2": pair[0]}, {"t2": pair[1]}, us, **QUICK)
    assert made.everything() == before


def test_bad_words_are_told_and_nothing_is_moved(register, made, pair):
    made.markups("Three", np.eye(3))
    made.markups("Two", np.eye(3)[:2])
    before = made.everything()
    for moving, words, sentence in (
        ({"t2": pair[0]}, {}, "given as the synthetic T2 and as the pre-operative T2"),
        ({"flair": pair[1]}, {}, "share no contrast"),
        ({}, {}, "no pre-operative MR"),
        ({"t2": pair[1]}, {"engine": "magic"}, "Unknown engine 'magic'"),
        ({"t2": pair[1]}, {"kind": "elastic"}, "'rigid' or 'affine', not 'elastic'"),
        ({"t2": pair[1]}, {"fixed_landmarks": "Three", "moving_landmarks": "Two"}, "3 landmarks .* 2 in the MR"),
    ):
        with pytest.raises(InputError, match=sentence):
            register({"t2": pair[0]}, moving, **{**QUICK, **words})
        assert made.everything() == before


@pytest.mark.parametrize("steps", [0, 2])
def test_cancel_leaves_the_scene_as_it_was(register, made, pair, steps):
    event, reports = threading.Event(), []

    def progress(report):
        reports.append(report)
        if len(reports) > steps:
            event.set()

    before = made.everything()
    with pytest.raises(Cancelled):
        register({"t2": pair[0]}, {"t2": pair[1]}, progress=progress, cancel=event, **QUICK)
    assert made.everything() == before and len(reports) == steps + 1


def test_brainsfit_absent_failing_and_at_work(slicer, register, made, head, pair, monkeypatch, tmp_path):
    from scene import command_line_modules

    before = made.everything()
    with pytest.raises(DependencyError, match="has no module BRAINSFit"):
        register({"t2": pair[0]}, {"t2": pair[1]}, engine="brainsfit", starts=1)
    assert made.everything() == before
    program = Path(__file__).parent / "brainsfit_program.py"
    command_line_modules.install(monkeypatch, program, tmp_path / "runs")
    with monkeypatch.context() as patch:
        patch.setenv("BRAINSFIT_BEHAVES", "fails")
        with pytest.raises(DependencyError, match="no samples inside the mask"):
            register({"t2": pair[0]}, {"t2": pair[1]}, engine="brainsfit", starts=1)
    assert made.everything() == before
    shift = np.eye(4)
    shift[:3, 3] = 1.5, -2.0, 1.0
    made.scenes.parent(pair[1], shift, "Shift")
    transform = register({"t2": pair[0]}, {"t2": pair[1]}, engine="brainsfit", starts=1)
    assert transform.GetAttribute("MMHVAE.engine") == "brainsfit"
    for voxel in ((48, 48, 48), (40, 55, 44)):
        true = np.array(head.TransformIndexToPhysicalPoint(voxel)) * (-1, -1, 1)
        assert np.linalg.norm(made.voxel_in_world(pair[1], voxel) - true) < 0.5
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLCommandLineModuleNode") == 0
    assert pair[1].GetParentTransformNode().GetName() == "Shift"
    assert pair[1].GetParentTransformNode().GetParentTransformNode() is transform
