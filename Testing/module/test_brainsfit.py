"""The section Registration with the engine BRAINSFit, which runs in Slicer itself."""

import numpy as np
import pytest

from .driving import cancel, poll

BRAINSFIT = 3


@pytest.fixture
def brainsfit(monkeypatch, tmp_path):
    """Slicer's module BRAINSFit, with an executable that stands in for the real one."""
    from pathlib import Path

    from scene import command_line_modules

    program = Path(command_line_modules.__file__).with_name("brainsfit_program.py")
    return command_line_modules.install(monkeypatch, program, tmp_path / "runs")


@pytest.fixture
def heads(slicer, panel, brainsfit, child):
    """The panel with a synthetic field of a head and the head chosen, and the engine BRAINSFit."""
    from registration import phantom
    from scene import registered

    head = phantom.head(size=96)
    panel.ui.t2Synthetic.setCurrentNode(registered.volume_of(phantom.field(head, size=(36, 34, 32)), "Synthetic"))
    shift = np.eye(4)
    shift[:3, 3] = 1.5, -2.0, 1.0
    panel.ui.t2Preop.setCurrentNode(registered.volume_of(head, "MR"))
    registered.scenes.parent(panel.ui.t2Preop.currentNode(), shift, "Shift")
    panel.ui.engineSelector.currentIndex = BRAINSFIT
    assert panel.ui.registerButton.enabled is True
    return panel


def work_on(panel, until, seconds=60):
    """Let Slicer handle events until something is so."""
    import time

    import qt

    stop = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < stop, panel.ui.statusLabel.text
        qt.QCoreApplication.processEvents()
        poll(panel)


def test_brainsfit_registers_in_slicer_which_goes_on_meanwhile(slicer, heads, brainsfit, child, monkeypatch):
    import dataclasses

    from MMHVAESynthesisLib.registration import engine

    real, seen = engine.register, []

    def quick(request, progress, *more):
        def note(report):
            progress(report)
            seen.append(heads.ui.applyButton.text)

        return real(dataclasses.replace(request, starts=1), note, *more)

    monkeypatch.setattr(engine, "register", quick)
    heads.ui.registerButton.click()
    assert heads.ui.applyButton.text == "Cancel" and heads.ui.registerButton.enabled is False and child.calls == []
    work_on(heads, lambda: not heads.panel.work.is_running)
    transform = heads.panel.registration._last()
    assert transform.GetAttribute("MMHVAE.engine") == "brainsfit" and len(brainsfit.runs) == 7
    found = slicer.util.arrayFromTransformMatrix(transform)
    np.testing.assert_allclose(found[:3, 3], (-1.5, 2.0, -1.0), atol=0.5)
    assert set(seen) == {"Cancel"} and "Registered" in heads.ui.statusLabel.text
    assert '"t2": "MR"' in transform.GetAttribute("MMHVAE.moving")


@pytest.mark.parametrize("how", ["cancel", "close", "leave"])
def test_brainsfit_is_ended_by_cancel_by_a_closed_scene_and_with_the_panel(slicer, heads, brainsfit, monkeypatch, how):
    import qt

    monkeypatch.setenv("BRAINSFIT_BEHAVES", "hangs")
    deeds = {"cancel": lambda: cancel(heads), "close": lambda: slicer.mrmlScene.Clear(0), "leave": heads.cleanup}

    def act():
        if brainsfit.runs and brainsfit.runs[0].progress:
            timer.stop()
            deeds[how]()

    heads.ui.registerButton.click()
    job = heads.panel.work._runner.job
    timer = qt.QTimer()
    timer.connect("timeout()", act)
    timer.start(50)
    work_on(heads, lambda: job.state == "cancelled")
    assert not brainsfit.runs[0].thread.is_alive() and len(brainsfit.runs) == 1
    assert slicer.util.getNodesByClass("vtkMRMLCommandLineModuleNode") == []
    if how == "cancel":
        work_on(heads, lambda: not heads.panel.work.is_running)
        assert heads.ui.statusLabel.text.startswith("Cancelled. Nothing was changed.")
        assert heads.ui.registerButton.enabled is True and heads.panel.registration._last() is None


def test_brainsfit_that_fails_is_told_and_register_works_again(heads, brainsfit, monkeypatch):
    monkeypatch.setenv("BRAINSFIT_BEHAVES", "fails")
    heads.ui.registerButton.click()
    work_on(heads, lambda: not heads.panel.work.is_running)
    assert "BRAINSFit failed" in heads.ui.statusLabel.text and "no samples inside the mask" in heads.ui.statusLabel.text
    assert heads.ui.registerButton.enabled is True and heads.ui.installButton.isHidden()


def test_diagnostics_of_brainsfit_name_no_volume(heads, monkeypatch):
    from MMHVAESynthesisLib.errors import InputError
    from MMHVAESynthesisLib.registration import engine

    def fail(*_args):
        raise InputError("The pre-operative T2 'John Doe' does not reach the ultrasound.")

    monkeypatch.setattr(engine, "register", fail)
    heads.ui.registerButton.click()
    work_on(heads, lambda: not heads.panel.work.is_running)
    assert "'John Doe'" in heads.ui.statusLabel.text
    assert "Doe" not in heads.panel.report() and "InputError" in heads.panel.report().partition("Log:")[2]
