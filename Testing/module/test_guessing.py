"""Selectors that fill themselves, and say that they did."""

import numpy as np
import pytest

from .driving import apply, finish, settle


def save_and_load(slicer, panel, file, is_open):
    """Save the scene, close it and load it again, with the panel open or left before."""
    slicer.util.saveScene(str(file), {})
    if not is_open:
        panel.exit()
        panel.parent.isEntered = False
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(file), {})
    settle()


def test_guesses_are_shown_as_guesses_until_the_user_chooses(slicer, panel, scenes):
    us, t2 = scenes.volume("Case3-US-before"), scenes.volume("T2_BLADE")
    scenes.volume("something")
    panel.ui.guessButton.click()
    assert panel.ui.usSelector.currentNode() is us and panel.ui.t2Selector.currentNode() is t2
    assert panel.ui.usState.text.startswith("Guessed") and panel.ui.t2State.text.startswith("Guessed")
    panel.ui.t2Selector.setCurrentNode(None)
    panel.ui.t2Selector.setCurrentNode(t2)
    assert "Guessed" not in panel.ui.t2State.text and panel.ui.usState.text.startswith("Guessed")
    panel.exit()
    panel.enter()
    assert panel.ui.usState.text.startswith("Guessed") and "Guessed" not in panel.ui.t2State.text


def test_what_is_loaded_while_the_panel_is_open_is_guessed_until_the_user_chooses(slicer, panel, scenes):
    us = scenes.volume("iUS")
    assert panel.ui.usSelector.currentNode() is None, "while it is still being loaded nothing is known of it"
    settle()
    assert panel.ui.usSelector.currentNode() is us
    panel.ui.usSelector.setCurrentNode(None)
    scenes.volume("FLAIR")
    settle()
    assert panel.ui.usSelector.currentNode() is panel.ui.flairSelector.currentNode() is None
    slicer.mrmlScene.Clear(0)
    t2 = scenes.volume("T2")
    settle()
    assert panel.ui.t2Selector.currentNode() is t2
    panel.exit()
    slicer.mrmlScene.RemoveNode(t2)
    scenes.volume("FLAIR")
    settle()
    assert panel.logic.getParameterNode().flairVolume is None, "a panel that is not open chooses nothing"


def chosen(panel):
    nodes = (getattr(panel.ui, f"{modality}Selector").currentNode() for modality in ("us", "t2", "cet1", "flair"))
    return [node.GetName() for node in nodes if node is not None]


@pytest.mark.parametrize("is_open", [True, False])
def test_what_the_user_left_empty_is_empty_after_the_scene_was_saved_and_loaded(
    slicer, panel, scenes, tmp_path, is_open
):
    for name in ("iUS", "T2", "FLAIR"):
        scenes.volume(name)
    settle()
    panel.ui.t2Selector.setCurrentNode(None)
    panel.ui.flairSelector.setCurrentNode(None)
    save_and_load(slicer, panel, tmp_path / "case.mrb", is_open)
    if not is_open:
        panel.enter()
    assert chosen(panel) == ["iUS"]
    scenes.volume("ceT1")
    settle()
    assert chosen(panel) == ["iUS"]


@pytest.mark.parametrize("button", ["applyButton", "previewButton"])
def test_what_is_loaded_after_a_run_began_is_no_input_of_the_next(slicer, ready, scenes, child, button):
    slicer.mrmlScene.Clear(0)
    scenes.volume("Case27-US-before")
    settle()
    assert chosen(ready) == ["Case27-US-before"]
    getattr(ready.ui, button).click()
    ready.panel.work.stop()
    scenes.volume("3D_AX_T1_postcontrast")
    scenes.volume("2D_AX_T2_FLAIR")
    settle()
    assert chosen(ready) == ["Case27-US-before"]


@pytest.mark.parametrize("is_guess", [True, False])
def test_a_choice_that_is_there_when_the_panel_opens_is_not_added_to_but_a_guess_is(panel, scenes, is_guess):
    scenes.volume("iUS")
    settle()
    panel.exit()
    if not is_guess:  # as in scenes of earlier versions, which note no decision
        panel.logic.getParameterNode().guessed = ""
    panel.enter()
    scenes.volume("T2")
    settle()
    assert chosen(panel) == (["iUS", "T2"] if is_guess else ["iUS"])


def test_hidden_and_synthetic_volumes_are_no_reason_to_guess(panel, scenes):
    renamed = scenes.volume("unnamed")
    settle()
    renamed.SetName("FLAIR")
    scenes.volume("map").SetHideFromEditors(True)
    scenes.volume("result").SetAttribute("MMHVAE.synthetic", "1")
    settle()
    assert chosen(panel) == []
    scenes.volume("something")
    settle()
    assert chosen(panel) == ["FLAIR"]


def test_a_guessed_volume_that_leaves_the_scene_makes_room_for_the_next_guess(slicer, panel, scenes):
    first = scenes.volume("iUS")
    settle()
    slicer.mrmlScene.RemoveNode(first)
    scenes.volume("iUS of another sweep")
    settle()
    assert chosen(panel) == ["iUS of another sweep"]


def test_guesses_are_made_anew_while_nothing_is_decided(slicer, panel, scenes):
    scenes.volume("T2 preop")
    settle()
    assert chosen(panel) == ["T2 preop"]
    scenes.volume("iUS")
    settle()
    assert chosen(panel) == ["iUS"] and "lie on one another: T2 preop." in panel.ui.guessState.text
    slicer.mrmlScene.Clear(0)
    scenes.volume("T2 Doe")
    settle()
    scenes.volume("T2 Roe")
    settle()
    assert chosen(panel) == [] and "Several volumes look like T2 (T2 Doe, T2 Roe)" in panel.ui.guessState.text


def test_a_guess_is_made_anew_when_the_panel_opens_again(panel, scenes):
    scenes.volume("T2 preop")
    settle()
    panel.exit()
    scenes.volume("iUS")
    settle()
    panel.enter()
    assert chosen(panel) == ["iUS"] and "T2 preop" in panel.ui.guessState.text
    panel.exit()
    panel.enter()
    assert panel.ui.usState.text.startswith("Guessed") and "T2 preop" in panel.ui.guessState.text


def test_a_guess_that_was_worked_with_is_not_made_anew(ready, scenes, child, slicer):
    slicer.mrmlScene.Clear(0)
    scenes.volume("iUS")
    settle()
    apply(ready)
    finish(ready, child, targets=("t2",))
    scenes.volume("iUS of another sweep")
    scenes.volume("FLAIR")
    ready.ui.guessButton.click()
    assert chosen(ready) == ["iUS", "FLAIR"]
    assert all(getattr(ready.ui, f"{each}State").text.startswith("Guessed") for each in ("us", "flair"))


@pytest.mark.parametrize("is_open", [True, False])
def test_a_guess_is_still_one_after_the_scene_was_saved_and_loaded(slicer, panel, scenes, tmp_path, is_open):
    scenes.volume("iUS")
    settle()
    save_and_load(slicer, panel, tmp_path / "case.mrb", is_open)
    panel.enter()
    assert chosen(panel) == ["iUS"] and panel.ui.usState.text.startswith("Guessed")
    assert panel.logic.getParameterNode().inputsChosen is False


@pytest.fixture
def other(module, panel):
    """A second panel over the same scene."""
    from slicer_headless.modules import open_panel

    widget = open_panel(module)
    yield widget
    widget.cleanup()


def test_what_one_panel_guesses_the_other_does_not_take_for_a_choice(slicer, panel, other, scenes):
    both = (panel, other)

    def are_guessed(*names):
        settle()
        assert [chosen(each) for each in both] == [list(names)] * 2
        assert [each.ui.usState.text.startswith("Guessed") for each in both] == [bool(names)] * 2
        return panel.logic.getParameterNode().inputsChosen is False

    us = scenes.volume("iUS")
    assert are_guessed("iUS")
    slicer.mrmlScene.RemoveNode(us)
    assert are_guessed()
    first = scenes.volume("iUS of another sweep")
    assert are_guessed("iUS of another sweep")
    second = scenes.volume("iUS of a third")
    assert are_guessed()
    slicer.mrmlScene.RemoveNode(first)
    panel.ui.guessButton.click()
    assert are_guessed("iUS of a third")
    for each in (other, panel):
        each.ui.usSelector.setCurrentNode(None)
        each.ui.usSelector.setCurrentNode(second)
        assert "Guessed" not in panel.ui.usState.text + other.ui.usState.text
    assert panel.logic.getParameterNode().inputsChosen is True


def test_several_volumes_that_speak_for_one_modality_are_not_guessed(panel, scenes):
    for name in ("US predura", "US postdura", "FLAIR"):
        scenes.volume(name)
    panel.exit()
    panel.enter()
    assert panel.ui.usSelector.currentNode() is None and panel.ui.flairSelector.currentNode().GetName() == "FLAIR"
    assert "US predura, US postdura" in panel.ui.guessState.text


def test_synthetic_and_chosen_volumes_are_never_guessed(slicer, panel, scenes, ready, child):
    apply(ready)
    finish(ready, child)
    slicer.mrmlScene.GetFirstNodeByName("Doe-US synthetic T2 (MMHVAE)").SetName("T2")
    mine = scenes.volume("ceT1")
    ready.ui.flairSelector.setCurrentNode(mine)
    ready.ui.guessButton.click()
    assert ready.ui.t2Selector.currentNode() is None and ready.ui.cet1Selector.currentNode() is None
    assert ready.ui.flairSelector.currentNode() is mine


def test_dicom_tags_speak(slicer, panel, scenes):
    node = scenes.volume("7: unnamed")
    node.SetAttribute("DICOM.Modality", "MR")
    node.SetAttribute("DICOM.SeriesDescription", "t2_space_dark-fluid_sag")
    other = scenes.volume("8")
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    hierarchy.SetItemAttribute(hierarchy.GetItemByDataNode(other), "DICOM.Modality", "US")
    panel.ui.guessButton.click()
    assert panel.ui.flairSelector.currentNode() is node and panel.ui.usSelector.currentNode() is other


def test_dicom_files_speak(slicer, panel, scenes, monkeypatch):
    class Database:
        isOpen = True  # noqa: N815

        def instanceValue(self, uid, tag):  # noqa: N802
            return (
                {"0008,0060": "MR", "0008,103E": "MPRAGE", "0018,0010": "Gadovist"}.get(tag, "") if uid == "1.2" else ""
            )

    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    node = scenes.volume("9")
    node.SetAttribute("DICOM.instanceUIDs", "1.2 1.3")
    panel.ui.guessButton.click()
    assert panel.ui.cet1Selector.currentNode() is node


def colour(slicer, name):
    """A colour volume, as ultrasound devices save them."""
    voxels = np.zeros((4, 20, 20, 3), np.uint8)
    return slicer.util.addVolumeFromArray(voxels, np.eye(4), name, "vtkMRMLVectorVolumeNode")


def test_why_a_colour_volume_cannot_be_chosen_is_said(slicer, panel, scenes):
    said = "The volume 'Doe-US' has 3 values in each voxel"
    node = colour(slicer, "Doe-US")
    settle()
    assert said in panel.ui.statusLabel.text and "Vector to Scalar Volume" in panel.ui.statusLabel.text
    panel.ui.usSelector.setCurrentNode(scenes.volume("grey"))
    assert said not in panel.ui.statusLabel.text
    panel.ui.guessButton.click()
    assert said not in panel.ui.guessState.text
    panel.ui.usSelector.setCurrentNode(None)
    node.SetHideFromEditors(True)
    panel.panel.update()
    assert panel.ui.statusLabel.text == "Choose at least one input volume first."


def test_it_is_said_beside_a_guess_that_found_no_ultrasound(slicer, panel, scenes):
    colour(slicer, "Doe-US")
    scenes.volume("T2")
    settle()
    assert chosen(panel) == ["T2"] and "'Doe-US' has 3 values" in panel.ui.guessState.text
