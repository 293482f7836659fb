"""What the panel shows of a preview and of a run, and for how long."""

import json

import numpy as np
import pytest

from MMHVAESynthesisLib.modalities import MODALITIES

from .driving import apply, finish, poll


def preview(panel, child, scenes):
    """Press Preview and let the child end with a slice of T2 and FLAIR."""
    panel.ui.previewButton.click()
    end_preview(panel, child, scenes.result({"us": panel.ui.usSelector.currentNode()}, ("t2", "flair")).images)


def end_preview(panel, child, made):
    """Let the child end with a slice of each volume."""
    child.finish({modality: image[:, :, 2:3] for modality, image in made.items()})
    said = json.loads(child.process.waiting.pop())["result"]
    child.process.say(result={"outputs": said["outputs"], "plane": 2, "seconds": 300.0, "warnings": ["Odd."]})
    poll(panel)


def shown(panel):
    """What the panel says of the last run."""
    labels = (panel.ui.statusLabel, panel.ui.warningsLabel)
    said = "\n".join(label.text for label in labels if not label.isHidden())
    return said + "(picture)" * (not panel.ui.previewPicture.isHidden())


def test_a_preview_shows_a_picture_and_the_time_and_changes_nothing(ready, scenes, child, monkeypatch):
    us = ready.ui.usSelector.currentNode()
    us.SetAttribute("MMHVAE.synthetic", "1")
    before = scenes.picture()
    monkeypatch.setattr(type(ready.panel.work), "seconds", 100.0)
    preview(ready, child, scenes)
    assert "--preview" in child.calls[0]
    text = ready.ui.statusLabel.text
    assert "SYNTHETIC preview of slice 2" in text and "T2, FLAIR" in text
    assert "about 6 min 40 s" in text, "300 s of work, and the 100 s that it took to start, load and prepare"
    pixmap = ready.ui.previewPicture.pixmap
    assert not ready.ui.previewPicture.isHidden() and pixmap.width() > pixmap.height() > 1
    assert yellow(pixmap) > 30, "the picture itself says SYNTHETIC"
    assert "Odd." in ready.ui.warningsLabel.text and "is itself synthetic" in ready.ui.warningsLabel.text
    assert scenes.picture() == before


def yellow(pixmap):
    image = pixmap.toImage()
    pixels = (image.pixelColor(x, y) for x in range(image.width()) for y in range(image.height()))
    return sum(1 for pixel in pixels if pixel.red() > 150 and pixel.green() > 120 and pixel.blue() < 120)


@pytest.mark.parametrize(("count", "size"), [(1, (120, 120)), (3, (300, 100)), (4, (240, 240))])
def test_a_preview_fits_into_the_panel(panel, count, size):
    import SimpleITK as sitk

    from MMHVAESynthesisLib.app.preview import picture

    images = {modality: sitk.GetImageFromArray(np.full((1, 60, 60), 9.0)) for modality in MODALITIES[:count]}
    pixmap = picture(images, 300)
    assert (pixmap.width(), pixmap.height()) == size
    tall = {"t2": sitk.GetImageFromArray(np.full((1, 90, 30), 9.0))}
    tall["t2"].SetSpacing([1.0, 0.5, 1.0])
    pixmap = picture(tall, 1000)
    assert pixmap.height() / pixmap.width() == pytest.approx(1.5, abs=0.02), "pixels are shown square in mm"


def test_a_preview_is_shown_for_its_inputs_only(slicer, ready, scenes, child):
    preview(ready, child, scenes)
    ready.ui.temperatureSlider.value = 0.1
    ready.exit()
    ready.enter()
    assert "(picture)" in shown(ready) and "Odd." in shown(ready) and "SYNTHETIC preview" in shown(ready)
    ready.ui.usSelector.setCurrentNode(scenes.volume("Roe-US"))
    assert shown(ready) == ""
    preview(ready, child, scenes)
    slicer.mrmlScene.RemoveNode(ready.ui.usSelector.currentNode())
    assert shown(ready) == "Choose at least one input volume first."


def test_a_preview_that_came_too_late_for_its_inputs_says_so(slicer, ready, scenes, child):
    ready.ui.previewButton.click()
    made = scenes.result({"us": ready.ui.usSelector.currentNode()}, ("t2",)).images
    ready.ui.flairSelector.setCurrentNode(scenes.volume("Doe-FLAIR"))
    end_preview(ready, child, made)
    assert "inputs were changed" in shown(ready) and "Preview again" in shown(ready)
    assert "(picture)" not in shown(ready) and "Odd." not in shown(ready)
    ready.ui.previewButton.click()
    ready.exit()
    end_preview(ready, child, made)
    ready.enter()
    assert "(picture)" in shown(ready)


def test_a_preview_does_not_need_the_volumes_that_apply_would_write(slicer, ready, scenes, child):
    mine = scenes.volume("Mine")
    ready.ui.t2Output.setCurrentNode(mine)
    ready.ui.previewButton.click()
    made = scenes.result({"us": ready.ui.usSelector.currentNode()}, ("t2",)).images
    slicer.mrmlScene.RemoveNode(mine)
    assert child.process.deeds == []
    end_preview(ready, child, made)
    assert "(picture)" in shown(ready) and "SYNTHETIC preview" in shown(ready)


def test_warnings_of_the_run_are_shown_until_the_next(ready, child):
    apply(ready)
    finish(ready, child, warnings=["iUS fills little."])
    assert "iUS fills little." in ready.ui.warningsLabel.text and not ready.ui.warningsLabel.isHidden()
    apply(ready)
    assert ready.ui.warningsLabel.isHidden()
    ready.panel.work.stop()


def test_an_input_that_is_called_as_another_contrast_is_doubted_before_and_after(ready, scenes, child):
    ready.ui.usSelector.setCurrentNode(scenes.volume("Doe T2"))
    ready.ui.flairSelector.setCurrentNode(scenes.volume("Doe FLAIR on T2"))
    assert ready.ui.usState.text.startswith("Looks like T2 by its name") and "voxels" in ready.ui.usState.text
    assert ready.ui.usState.styleSheet != "" and ready.ui.flairState.styleSheet == ""
    said = "'Doe T2' is given as iUS and looks like T2 by its name: is it the right volume?"
    preview(ready, child, scenes)
    assert said in shown(ready)
    apply(ready)
    finish(ready, child)
    assert said in shown(ready) and "Doe FLAIR" not in ready.ui.warningsLabel.text


def test_what_a_run_brought_is_still_told_when_the_inputs_change(ready, scenes, child):
    preview(ready, child, scenes)
    apply(ready)
    finish(ready, child, warnings=["Odd."])
    ready.ui.usSelector.setCurrentNode(scenes.volume("Roe-US"))
    assert "Done in" in shown(ready) and "Odd." in shown(ready)


def test_nothing_of_a_run_is_shown_once_its_scene_was_closed(slicer, ready, scenes, child):
    apply(ready)
    finish(ready, child, warnings=["Doe-US fills little."])
    assert "Done in" in shown(ready) and "fills little" in shown(ready)
    slicer.mrmlScene.Clear(0)
    assert shown(ready) == "Choose at least one input volume first." and "Last outcome: done" in ready.panel.report()
    ready.ui.usSelector.setCurrentNode(scenes.volume("Doe-US"))
    preview(ready, child, scenes)
    ready.exit()
    ready.parent.isEntered = False
    slicer.mrmlScene.Clear(0)
    ready.enter()
    ready.parent.isEntered = True
    assert shown(ready) == "Choose at least one input volume first."
    scenes.volume("Doe-US")
    ready.ui.guessButton.click()
    apply(ready)
    child.process.say(error="Doe-US is empty.", kind="InputError", exit_code=3)
    child.process.code = 3
    poll(ready)
    assert "Doe-US is empty." in shown(ready)
    slicer.mrmlScene.Clear(0)
    assert shown(ready) == "Choose at least one input volume first." and ready.ui.statusLabel.styleSheet == ""
