import sys
import threading
import time

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.errors import Cancelled, DependencyError
from MMHVAESynthesisLib.registration import brainsfit, engine
from MMHVAESynthesisLib.registration.brainsfit import BrainsFitDescent, ExecutableRunner
from MMHVAESynthesisLib.request import RegistrationRequest

from . import phantom

NEAR = phantom.motion((3, -2, 4), (3, -2, 2))

PROGRAM = """
import argparse, sys, time
import SimpleITK as sitk

parser = argparse.ArgumentParser()
inputs = ("fixedVolume", "movingVolume", "fixedBinaryVolume", "movingBinaryVolume", "initialTransform")
for name in (*inputs, "linearTransform"):
    parser.add_argument("--" + name, required=True)
for name in ("useRigid", "useScaleVersor3D", "useScaleSkewVersor3D", "useAffine"):
    parser.add_argument("--" + name, action="store_true")
parser.add_argument("--initializeTransformMode", choices=["Off"], required=True)
parser.add_argument("--maskProcessingMode", choices=["ROI"], required=True)
parser.add_argument("--costMetric", choices=["MMI"], required=True)
steps = ("maximumStepLength", "minimumStepLength")
for name in ("samplingPercentage", "numberOfHistogramBins", "numberOfThreads", *steps):
    parser.add_argument("--" + name, type=float, required=True)
args = parser.parse_args()
assert args.useRigid and args.numberOfThreads == 1
sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
"""

ALIGN = """
method = sitk.ImageRegistrationMethod()
method.SetMetricAsMattesMutualInformation(int(args.numberOfHistogramBins))
method.SetMetricFixedMask(sitk.ReadImage(args.fixedBinaryVolume))
method.SetMetricMovingMask(sitk.ReadImage(args.movingBinaryVolume))
method.SetMetricSamplingStrategy(method.RANDOM)
method.SetMetricSamplingPercentage(args.samplingPercentage, 1)
method.SetOptimizerAsRegularStepGradientDescent(args.maximumStepLength, args.minimumStepLength, 100)
method.SetOptimizerScalesFromPhysicalShift()
transform = sitk.VersorRigid3DTransform(sitk.ReadTransform(args.initialTransform).Downcast())
method.SetInitialTransform(transform, inPlace=True)
method.Execute(sitk.ReadImage(args.fixedVolume), sitk.ReadImage(args.movingVolume))
sitk.WriteTransform(transform, args.linearTransform)
"""


@pytest.fixture(scope="module")
def pair():
    head = phantom.head()
    return phantom.noisy(phantom.field(head)), phantom.carried(head, NEAR)


@pytest.fixture
def runner(tmp_path):
    def made(program):
        script = tmp_path / "program.py"
        script.write_text(PROGRAM + program, encoding="utf-8")
        return ExecutableRunner(sys.executable, str(script))

    return made


def registered(pair, runner, **settings):
    request = RegistrationRequest({"t2": pair[0]}, {"t2": pair[1]}, engine="brainsfit", starts=1)
    return engine.register(request, brainsfit=runner, **settings)


def test_registers_through_the_executable(pair, runner):
    reports = []
    result = registered(pair, runner(ALIGN), progress=reports.append)
    assert phantom.error(result.fixed_to_moving, NEAR) < 0.5
    assert result.provenance["engine"] == "brainsfit" and 0 < result.confidence < 1
    assert reports[-1].done == reports[-1].total


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("print('no memory'); sys.exit(3)", r"exit code 3.*no memory"),
        ("print('done')", r"no transform.*done"),
        ("open(args.linearTransform, 'w').write('rubbish')", "no transform"),
        (
            "sitk.WriteTransform(sitk.AffineTransform([0.0] * 9, [0.0] * 3), args.linearTransform)",
            "cannot be used|no transform",
        ),
    ],
)
def test_failures_are_told(pair, runner, program, said):
    with pytest.raises(DependencyError, match=f"(?s){said}"):
        registered(pair, runner(program))


def test_cancel_ends_the_child(pair, runner, tmp_path):
    mark = tmp_path / "still running"
    cancel = threading.Event()
    threading.Timer(2.0, cancel.set).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        registered(pair, runner(f"time.sleep(20); open({str(mark)!r}, 'w')"), cancel=cancel)
    assert time.monotonic() - started < 10 and not mark.exists()


def test_absent(pair, monkeypatch):
    monkeypatch.setattr(brainsfit.shutil, "which", lambda name: None)
    with pytest.raises(DependencyError, match="BRAINSFit is not there"):
        registered(pair, None)
    with pytest.raises(DependencyError, match="cannot be started"):
        registered(pair, ExecutableRunner("/absent/BRAINSFit"))


class Recorder:
    def __init__(self):
        self.calls = []

    def run(self, images, initial, settings, check):
        self.calls.append((images, initial, settings))
        return initial


def test_what_slicer_gets(pair):
    recorder = Recorder()
    request = RegistrationRequest({"t2": pair[0]}, {"t2": pair[1]}, engine="brainsfit", starts=1, kind="affine")
    engine.register(request, brainsfit=recorder)
    for images, initial, settings in recorder.calls:
        assert all(type(value) in (bool, int, float, str) for value in settings.values())
        assert settings["initializeTransformMode"] == "Off" and settings["maskProcessingMode"] == "ROI"
        assert images["fixedBinaryVolume"].GetSize() == images["fixedVolume"].GetSize()
        assert images["movingBinaryVolume"].GetSize() == images["movingVolume"].GetSize()
        assert isinstance(initial, sitk.VersorRigid3DTransform)
        assert sitk.GetArrayViewFromImage(images["fixedBinaryVolume"]).max() == 1
    assert [call[2].get("useAffine", False) for call in recorder.calls] == [False] * 6 + [True]


def test_descent_starts_where_it_is_told(pair):
    from MMHVAESynthesisLib.progress import Reporter
    from MMHVAESynthesisLib.registration.problem import prepare

    problem = prepare(RegistrationRequest({"t2": pair[0]}, {"t2": pair[1]}))
    level = problem.pyramid.level(4)
    start = problem.frame.matrix @ NEAR @ np.linalg.inv(problem.frame.matrix)
    found = BrainsFitDescent(Recorder()).run(level, 0, start, 1.0, level.mask[0], False, Reporter("test", 1))
    assert np.allclose(found, start)
