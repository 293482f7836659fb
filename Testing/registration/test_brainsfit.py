import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.errors import Cancelled, DependencyError
from MMHVAESynthesisLib.registration import brainsfit, engine
from MMHVAESynthesisLib.registration.brainsfit import BrainsFitDescent, ExecutableRunner
from MMHVAESynthesisLib.request import RegistrationRequest

from . import phantom

NEAR = phantom.motion((3, -2, 4), (3, -2, 2))

PROGRAM = Path(__file__).parents[1] / "scene" / "brainsfit_program.py"


@pytest.fixture(scope="module")
def pair():
    head = phantom.head()
    return phantom.noisy(phantom.field(head)), phantom.carried(head, NEAR)


@pytest.fixture
def runner():
    return ExecutableRunner(sys.executable, str(PROGRAM))


def registered(pair, runner, **settings):
    request = RegistrationRequest({"t2": pair[0]}, {"t2": pair[1]}, engine="brainsfit", starts=1)
    return engine.register(request, brainsfit=runner, **settings)


def test_registers_through_the_executable(pair, runner):
    reports = []
    result = registered(pair, runner, progress=reports.append)
    assert phantom.error(result.fixed_to_moving, NEAR) < 0.5
    assert result.provenance["engine"] == "brainsfit" and 0 < result.confidence < 1
    assert reports[-1].done == reports[-1].total


def test_which_of_several_contrasts_it_follows_is_noted(pair):
    noisy = phantom.noisy(pair[0], 3.0, seed=2)
    moving = {"t2": pair[1], "flair": sitk.Image(pair[1]) + 0}
    request = RegistrationRequest({"t2": pair[0], "flair": noisy}, moving, engine="brainsfit", starts=1)
    assert engine.register(request, brainsfit=Recorder()).provenance["refined_on"] == "t2"
    request = RegistrationRequest({"t2": pair[0]}, {"t2": pair[1]}, engine="brainsfit", starts=1)
    assert "refined_on" not in engine.register(request, brainsfit=Recorder()).provenance


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("fails", r"exit code 1.*no samples inside the mask"),
        ("says well and writes nothing", r"no transform.*done"),
        ("writes rubbish", "no transform"),
        ("writes a transform that flattens", "cannot be used|no transform"),
    ],
)
def test_failures_are_told(pair, runner, monkeypatch, behaviour, said):
    monkeypatch.setenv("BRAINSFIT_BEHAVES", behaviour)
    with pytest.raises(DependencyError, match=f"(?s){said}"):
        registered(pair, runner)


def test_cancel_ends_the_child(pair, runner, monkeypatch):
    monkeypatch.setenv("BRAINSFIT_BEHAVES", "hangs")
    children, start = [], subprocess.Popen
    monkeypatch.setattr(brainsfit.subprocess, "Popen", lambda *a, **k: children.append(start(*a, **k)) or children[-1])
    cancel = threading.Event()
    threading.Timer(2.0, cancel.set).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        registered(pair, runner, cancel=cancel)
    assert time.monotonic() - started < 30
    assert len(children) == 1 and children[0].returncode not in (None, 0)


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
    assert [call[2].get("useAffine", False) for call in recorder.calls] == [False] * 7 + [True]
    spacings = [call[0]["fixedVolume"].GetSpacing()[0] for call in recorder.calls]
    assert spacings == [4, 2, 2, 2, 2, 2, 1, 1], "without a search, the chain of smoothed volumes"
    for images, _, settings in recorder.calls:
        inside = sitk.GetArrayViewFromImage(images["fixedBinaryVolume"]).sum()
        assert settings["samplingPercentage"] * inside >= min(inside, 2000) - 1


def test_descent_starts_where_it_is_told(pair):
    from MMHVAESynthesisLib.progress import Reporter
    from MMHVAESynthesisLib.registration.problem import prepare

    problem = prepare(RegistrationRequest({"t2": pair[0]}, {"t2": pair[1]}))
    level = problem.pyramid.level(4)
    start = problem.frame.matrix @ NEAR @ np.linalg.inv(problem.frame.matrix)
    found = BrainsFitDescent(Recorder()).run(level, 0, start, 1.0, level.mask[0], False, Reporter("test", 1))
    assert np.allclose(found, start)
