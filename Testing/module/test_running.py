"""Apply, progress, cancel, failure: with children that the test plays, in the real scene."""

import os
import time

import numpy as np
import pytest

from MMHVAESynthesisLib.modalities import MODALITIES

from .driving import apply, cancel, choose_file, finish, poll


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Nothing may be left in the temporary folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield tmp_path
    assert [name for name in os.listdir(tmp_path) if name.startswith("mmhvae-")] == []


def test_what_is_chosen_reaches_the_command_line(ready, child, model_path):
    ready.ui.temperatureSlider.value = 0.25
    ready.ui.seedSpinBox.value = 12
    ready.ui.uncertaintyCheckBox.checked = True
    ready.ui.samplesSpinBox.value = 4
    ready.ui.cet1Target.checked = False
    ready.ui.sharedNoiseCheckBox.checked = True
    ready.ui.allDirectionsCheckBox.checked = False
    ready.ui.deviceSelector.currentIndex = 1
    ready.ui.workersSpinBox.value = 2
    apply(ready)
    from MMHVAESynthesisLib.__main__ import parser

    args = parser().parse_args(child.calls[0])
    assert args.us and not (args.t2 or args.cet1 or args.flair) and args.preview is None
    assert (args.targets, args.model, args.temperature, args.seed) == (["t2,flair"], model_path, 0.25, 12)
    assert (args.samples, args.noise, args.device, args.workers) == (4, "shared", "cpu", 2)
    assert args.directions == 1
    ready.panel.work.stop()
    ready.ui.uncertaintyCheckBox.checked = False
    ready.ui.allDirectionsCheckBox.checked = True
    ready.panel.update()
    apply(ready)
    args = parser().parse_args(child.calls[1])
    assert args.samples == 1 and args.directions is None
    ready.panel.work.stop()


def test_a_run_from_apply_to_the_volumes_in_the_scene(slicer, ready, scenes, child, monkeypatch):
    monkeypatch.setattr("slicer.util.confirmOkCancelDisplay", lambda *_: True)
    us = ready.ui.usSelector.currentNode()
    scenes.parent(us, scenes.rotation(20))
    mine = scenes.volume("Mine", shape=(2, 3, 4))
    ready.ui.flairOutput.setCurrentNode(mine)
    ready.ui.uncertaintyCheckBox.checked = True
    apply(ready)
    assert ready.ui.applyButton.text == "Cancel" and not ready.ui.previewButton.enabled
    assert not ready.ui.progressBar.isHidden() and "Starting" in ready.ui.statusLabel.text
    child.process.report(30, 120, 95.0)
    poll(ready)
    assert ready.ui.statusLabel.text == "Synthesis: 30 of 120 slices, about 1 min 35 s left"
    assert (ready.ui.progressBar.value, ready.ui.progressBar.maximum) == (30, 120)
    made = finish(ready, child, uncertainty=True)
    assert ready.ui.applyButton.text == "Apply" and ready.ui.applyButton.enabled
    assert ready.ui.progressBar.isHidden() and ready.ui.statusLabel.text.startswith("Done in ")
    node = slicer.mrmlScene.GetFirstNodeByName("Doe-US synthetic T2 (MMHVAE)")
    assert node.GetTransformNodeID() == us.GetTransformNodeID() and node.GetAttribute("MMHVAE.synthetic") == "1"
    import SimpleITK as sitk

    for volume, modality in ((node, "t2"), (mine, "flair")):
        expected = sitk.GetArrayFromImage(made.images[modality])
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), expected)
    assert node.GetNodeReference("MMHVAE.uncertainty") is not None
    assert '"us": "Doe-US"' in node.GetAttribute("MMHVAE.inputs")


def test_the_choices_of_the_moment_of_apply_count(slicer, ready, scenes, child):
    apply(ready)
    us = ready.ui.usSelector.currentNode()
    other = scenes.volume("Other", shape=(2, 2, 2))
    made = finish(ready, child)
    ready.ui.usSelector.setCurrentNode(other)
    node = slicer.mrmlScene.GetFirstNodeByName("Doe-US synthetic T2 (MMHVAE)")
    assert node.GetNodeReference("MMHVAE.input.us") is us
    assert node.GetImageData().GetDimensions() == made.images["t2"].GetSize()


def test_the_scene_can_be_worked_on_while_a_run_goes_on(slicer, ready, scenes, child):
    apply(ready)
    ready.ui.usSelector.setCurrentNode(None)
    assert ready.ui.applyButton.text == "Cancel" and ready.ui.applyButton.enabled
    ready.exit()
    ready.enter()
    assert ready.ui.applyButton.text == "Cancel" and ready.ui.applyButton.enabled
    ready.ui.usSelector.setCurrentNode(slicer.mrmlScene.GetFirstNodeByName("Doe-US"))
    finish(ready, child)
    assert slicer.mrmlScene.GetFirstNodeByName("Doe-US synthetic T2 (MMHVAE)") is not None


def test_a_run_ends_well_while_another_module_is_open(slicer, ready, child):
    apply(ready)
    us = ready.ui.usSelector.currentNode()
    from scene import scenes

    ready.exit()
    child.finish(scenes.result({"us": us}, ("t2",)).images)
    poll(ready)
    assert slicer.mrmlScene.GetFirstNodeByName("Doe-US synthetic T2 (MMHVAE)") is not None
    ready.enter()
    assert ready.ui.statusLabel.text.startswith("Done in ") and ready.ui.applyButton.enabled


def test_cancel_stops_the_child_and_changes_nothing(ready, scenes, child):
    before = scenes.picture()
    apply(ready)
    cancel(ready)
    assert child.process.deeds == ["ask_to_stop"]
    assert ready.ui.statusLabel.text == "Stopping ..." and ready.ui.applyButton.enabled is False
    child.process.say(error="Cancelled.", kind="Cancelled", exit_code=8)
    child.process.code = 8
    poll(ready)
    assert ready.ui.statusLabel.text == "Cancelled. Nothing was changed."
    assert ready.ui.applyButton.text == "Apply" and ready.ui.applyButton.enabled and scenes.picture() == before


def test_a_double_click_on_apply_does_not_cancel(ready, child):
    apply(ready)
    ready.ui.applyButton.click()
    assert child.process.deeds == [] and len(child.calls) == 1
    ready.panel.work.stop()


def test_nor_does_one_whose_second_click_waited_until_large_volumes_were_written(ready, child, monkeypatch):
    from MMHVAESynthesisLib.volumes import files

    write = files.write
    monkeypatch.setattr(files, "write", lambda *args, **settings: (time.sleep(0.7), write(*args, **settings))[1])
    apply(ready)
    ready.ui.applyButton.click()
    assert child.process.deeds == []
    cancel(ready)
    assert child.process.deeds == ["ask_to_stop"]
    ready.panel.work.stop()


GARBAGE = object()
"""Stands for bytes that are no JSON."""


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ({"error": "The volume is empty.", "kind": "InputError", "exit_code": 3}, 3, "The volume is empty."),
        (None, -9, "memory ran out"),
        (None, 1, "exit code 1"),
        (None, -11, "signal 11"),
        (GARBAGE, 0, "cannot be understood"),
        ({"result": {"outputs": {"t2": "nowhere.nrrd"}}}, 0, "cannot be read back"),
    ],
)
def test_a_failure_is_told_and_apply_works_again(slicer, ready, scenes, child, words, code, sentence):
    before = scenes.picture()
    apply(ready)
    child.process.errors.append("Traceback of the child")
    if words is GARBAGE:
        child.process.waiting.append("\x7fELF\x02\x00")
    elif words:
        child.process.say(**words)
    child.process.code = code
    poll(ready)
    assert sentence in ready.ui.statusLabel.text and scenes.picture() == before
    ready.ui.logButton.checked = True
    assert ready.ui.logText.plainText.startswith("Traceback of the child")
    assert ("ELF" in ready.ui.logText.plainText) is (words is GARBAGE)
    apply(ready)
    finish(ready, child)
    assert slicer.mrmlScene.GetFirstNodeByName("Doe-US synthetic T2 (MMHVAE)") is not None


def test_a_child_that_hangs_is_told_and_can_be_cancelled(ready, child):
    apply(ready)
    child.process.report(3)
    poll(ready)
    ready.panel.work._runner.job._heard -= 120
    poll(ready)
    assert "Nothing was heard from the computation for 2 min 0 s" in ready.ui.statusLabel.text
    cancel(ready)
    ready.panel.work._runner.job._asked_to_stop -= 60
    poll(ready)
    poll(ready)
    assert child.process.deeds == ["ask_to_stop", "terminate", "kill"]
    child.process.code = -9
    poll(ready)
    assert ready.ui.statusLabel.text == "Cancelled. Nothing was changed." and ready.ui.applyButton.enabled


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [(MemoryError(), "Memory ran out"), (OSError(28, "No space left on device"), "could not be started")],
)
def test_what_cannot_even_start_is_told(ready, scenes, child, monkeypatch, fault, sentence):
    before = scenes.picture()

    def prepare(*_, **__):
        raise fault

    monkeypatch.setattr("MMHVAESynthesisLib.scene.work.prepare", prepare)
    apply(ready)
    assert sentence in ready.ui.statusLabel.text and scenes.picture() == before
    assert ready.ui.applyButton.text == "Apply" and ready.ui.applyButton.enabled and child.calls == []


def test_warnings_come_while_there_is_still_time_to_cancel(ready, child):
    apply(ready)
    path = child.option("--us")
    child.process.say(stage="preparing", done=1, total=1, seconds_left=None, warnings=[f"{path} is dark.", "Odd."])
    poll(ready)
    assert "Doe-US is dark." in ready.ui.warningsLabel.text and "Odd." in ready.ui.warningsLabel.text
    child.process.report(1)
    poll(ready)
    assert ready.ui.warningsLabel.text.count("Odd.") == 1 and not ready.ui.warningsLabel.isHidden()
    ready.panel.work.stop()


def test_a_result_for_a_scene_that_was_closed_is_dropped(slicer, ready, scenes, child):
    us = ready.ui.usSelector.currentNode()
    apply(ready)
    made = scenes.result({"us": us}, ("t2",))
    slicer.mrmlScene.Clear(0)
    assert child.process.deeds == ["ask_to_stop"] and "scene was closed" in ready.ui.statusLabel.text
    scenes.volume("Doe-US")
    before = scenes.picture()
    child.finish(made.images)
    poll(ready)
    assert scenes.picture() == before and ready.ui.applyButton.text == "Apply"
    assert ready.panel.work._runner._abandoned == []


def test_a_new_run_can_start_while_an_abandoned_child_still_ends(slicer, ready, scenes, child):
    apply(ready)
    slicer.mrmlScene.Clear(0)
    ready.ui.usSelector.setCurrentNode(scenes.volume("New-US"))
    apply(ready)
    finish(ready, child)
    assert slicer.mrmlScene.GetFirstNodeByName("New-US synthetic T2 (MMHVAE)") is not None
    child.processes[0].code = 8
    poll(ready)
    assert ready.panel.work._runner._abandoned == []


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("name", ["Doe-US", "Mine"])
def test_a_run_ends_once_its_reference_or_output_leaves_the_scene(
    slicer, ready, scenes, child, monkeypatch, name, is_open
):
    monkeypatch.setattr("slicer.util.confirmOkCancelDisplay", lambda *_: True)
    us = ready.ui.usSelector.currentNode()
    ready.ui.t2Output.setCurrentNode(scenes.volume("Mine"))
    apply(ready)
    if not is_open:
        ready.exit()
    made = scenes.result({"us": us}, ("t2", "cet1", "flair"))
    slicer.mrmlScene.RemoveNode(scenes.volume("Another"))
    assert child.process.deeds == []
    slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetFirstNodeByName(name))
    assert child.process.deeds == ["ask_to_stop"] and ready.ui.applyButton.text == "Apply"
    said = f"Cancelled, because '{name}' left the scene meanwhile. Nothing was added."
    assert said in ready.ui.statusLabel.text
    before = scenes.picture()
    child.finish(made.images)
    poll(ready)
    assert said in ready.ui.statusLabel.text and scenes.picture() == before


def test_a_run_outlives_its_other_inputs(slicer, ready, scenes, child):
    ready.ui.flairSelector.setCurrentNode(scenes.volume("Doe-FLAIR"))
    apply(ready)
    slicer.mrmlScene.RemoveNode(ready.ui.flairSelector.currentNode())
    finish(ready, child, targets=("t2",))
    made = slicer.mrmlScene.GetFirstNodeByName("Doe-US synthetic T2 (MMHVAE)")
    assert ready.ui.statusLabel.text.startswith("Done in ")
    assert made.GetNodeReference("MMHVAE.input.us") is ready.ui.usSelector.currentNode()
    assert made.GetNodeReferenceID("MMHVAE.input.flair") is None


def test_what_a_run_needed_is_nothing_to_the_next_job(slicer, ready, scenes, child):
    us = ready.ui.usSelector.currentNode()
    apply(ready)
    finish(ready, child)
    ready.ui.usSelector.setCurrentNode(scenes.volume("Other"))
    apply(ready)
    slicer.mrmlScene.RemoveNode(us)
    assert child.process.deeds == [] and ready.ui.applyButton.text == "Cancel"
    ready.panel.work.stop()


def test_a_panel_that_goes_away_kills_its_child(ready, child):
    apply(ready)
    ready.cleanup()
    assert child.process.deeds == ["kill"]


def test_a_timer_polls(ready, child):
    import time

    import qt

    apply(ready)
    child.process.report(1, 2)
    end = time.monotonic() + 10
    while "1 of 2" not in ready.ui.statusLabel.text and time.monotonic() < end:
        qt.QCoreApplication.processEvents()
    assert "1 of 2" in ready.ui.statusLabel.text
    ready.panel.work.stop()


def test_a_child_that_cannot_start_is_told(ready):
    def start(_):
        raise PermissionError(13, "Permission denied")

    ready.panel._start = start
    apply(ready)
    assert "could not be started: Permission denied" in ready.ui.statusLabel.text
    assert ready.ui.applyButton.text == "Apply" and ready.ui.applyButton.enabled


def answer(panel, child, **words):
    """Let the child that looks at the machine answer."""
    child.process.say(**words)
    child.process.code = words.get("exit_code", 0)
    panel.panel.machine._runner.poll()


FOUND = {"devices": {"cuda:1": "A card", "cpu": "8 cores"}, "torch": "2.9"}


def test_the_devices_are_looked_for_once_the_section_is_unfolded(ready, child):
    ready.ui.deviceSelector.currentIndex = 2
    assert child.calls == [], "nothing is asked before somebody wants to know"
    ready.ui.advancedButton.setCollapsed(False)
    assert child.calls[0][0] == "machine" and "Looking" in ready.ui.deviceState.text
    assert not ready.ui.deviceButton.enabled and ready.ui.applyButton.text == "Apply" and ready.ui.applyButton.enabled
    answer(ready, child, result=FOUND)
    assert ready.ui.deviceButton.enabled
    titles = [ready.ui.deviceSelector.itemText(i) for i in range(ready.ui.deviceSelector.count)]
    assert titles == ["Automatic", "cuda:1: A card", "CPU: 8 cores", "CUDA (NVIDIA)"]
    assert ready.panel.options.device() == "cuda", "what the user chose stays chosen"
    assert "cuda:1 (A card)" in ready.ui.deviceState.text and "Automatic takes cuda:1" in ready.ui.deviceState.text
    ready.ui.advancedButton.setCollapsed(True)
    ready.ui.advancedButton.setCollapsed(False)
    assert len(child.calls) == 1
    ready.ui.deviceButton.click()
    assert len(child.calls) == 2


def test_a_look_goes_on_beside_a_run_and_ends_with_the_panel(ready, child):
    ready.ui.deviceButton.click()
    look = child.process
    apply(ready)
    assert ready.ui.applyButton.text == "Cancel" and len(child.calls) == 2
    ready.cleanup()
    assert look.deeds == ["kill"] and child.process.deeds == ["kill"]


def test_a_look_that_finds_pytorch_broken_says_so_before_apply(ready, child):
    fault = "PyTorch is installed but does not load (c10.dll)."
    ready.ui.deviceButton.click()
    answer(ready, child, error=fault, kind="TorchError", exit_code=7)
    assert ready.ui.deviceState.text == fault and fault in ready.ui.statusLabel.text
    assert ready.ui.applyButton.enabled is False and not ready.ui.installButton.isHidden()
    ready.ui.deviceButton.click()
    answer(ready, child, result=FOUND)
    assert ready.ui.applyButton.enabled is True and ready.ui.installButton.isHidden()


def test_a_look_that_fails_otherwise_is_told(ready, child):
    ready.ui.deviceButton.click()
    answer(ready, child, exit_code=1)
    assert "exit code 1" in ready.ui.deviceState.text and ready.ui.applyButton.enabled is True


def test_diagnostics_say_what_happened_and_not_who_the_patient_is(ready, child, model_path):
    import qt

    apply(ready)
    child.process.errors.append("a line of the log")
    child.process.code = 1
    poll(ready)
    ready.ui.copyButton.click()
    text = qt.QApplication.clipboard().text()
    assert "a line of the log" in text and "exit code 1" in text and "Python" in text and "Model: m.pth" in text
    assert "PyTorch: " in text and "numpy: " in text
    assert "Doe" not in text and model_path not in text


def test_diagnostics_name_no_volume_however_a_run_ended(slicer, ready, child):
    ready.ui.usSelector.currentNode().SetName("John Doe iUS")
    apply(ready)
    finish(ready, child, targets=("t2",))
    assert "John Doe" in ready.ui.statusLabel.text
    assert "Doe" not in ready.panel.report() and "Last outcome: done" in ready.panel.report()
    apply(ready)
    words = f"{child.option('--us')} cannot be read as a volume."
    child.process.say(error=words, kind="InputError", exit_code=3)
    child.process.code = 3
    poll(ready)
    assert ready.ui.statusLabel.text.startswith("John Doe iUS cannot be read")
    assert "Doe" not in ready.panel.report() and "Last outcome: InputError" in ready.panel.report()


def test_a_model_is_downloaded_by_a_click_after_agreeing_to_its_licence(panel, child, scenes, monkeypatch, tmp_path):
    from MMHVAESynthesisLib.app import models

    panel.ui.usSelector.setCurrentNode(scenes.volume("US"))
    assert not panel.ui.downloadButton.isHidden() and panel.ui.modelSelector.count == 2
    asked = []

    def ask(text, *_):
        asked.append(text)
        return len(asked) > 1

    monkeypatch.setattr("slicer.util.confirmOkCancelDisplay", ask)
    real = models.catalogue.find
    import dataclasses

    def restricted(name, *more):
        return dataclasses.replace(real(name, *more), permissive=False, licence="Not for sale")

    monkeypatch.setattr(models.catalogue, "find", restricted)
    panel.ui.downloadButton.click()
    assert child.calls == [] and "Not for sale" in asked[0]
    panel.ui.downloadButton.click()
    assert child.calls[0][:4] == ["models", "download", "mmhvae-fold0", "--accept-licence"]
    child.process.report(2000, 9000, 12.0, stage="download (kB)")
    poll(panel)
    assert panel.ui.statusLabel.text == "Download: 2000 of 9000 kB, about 12 s left"
    monkeypatch.undo()
    child.process.say(result={"path": "p", "said": "s"})
    child.process.code = 0
    poll(panel)
    assert "is here, and verified" in panel.ui.statusLabel.text


@pytest.mark.parametrize("came", [True, False])
def test_a_download_that_is_cancelled_says_what_stays_or_that_it_was_through(panel, child, came):
    panel.ui.downloadButton.click()
    cancel(panel)
    words = "Cancelled. What has arrived is kept: the next download goes on from there."
    child.process.say(**({"result": {"path": "p", "said": "s"}} if came else {"error": words, "kind": "Cancelled"}))
    child.process.code = 0 if came else 8
    poll(panel)
    assert ("is here, and verified" if came else words) in panel.ui.statusLabel.text


def test_a_permissive_model_is_downloaded_without_a_question(panel, child, scenes):
    panel.ui.downloadButton.click()
    assert child.calls[0][:3] == ["models", "download", "mmhvae-fold0"] and "--accept-licence" not in child.calls[0]
    panel.panel.work.stop()


def test_the_card_of_a_model_is_a_click_away(panel):
    assert panel.ui.cardText.isHidden()
    panel.ui.cardButton.checked = True
    assert "Licence: MIT" in panel.ui.cardText.plainText and not panel.ui.cardText.isHidden()


def test_the_temperature_says_what_it_does(panel):
    panel.ui.temperatureSlider.value = 0
    assert "most likely image" in panel.ui.temperatureState.text
    panel.ui.temperatureSlider.value = 1
    assert "invented" in panel.ui.temperatureState.text


def test_all_modalities_have_a_row(panel):
    for modality in MODALITIES:
        for part in ("Selector", "State", "Target", "Output"):
            assert hasattr(panel.ui, modality + part)


def test_the_choice_of_a_file_shows_the_path(panel, model_path):
    assert panel.ui.modelPath.isHidden()
    choose_file(panel, model_path)
    assert not panel.ui.modelPath.isHidden() and panel.panel.options.model() == model_path
