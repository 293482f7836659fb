"""What is chosen and leaves the scene, or would be lost."""

import pytest

from .driving import apply, finish

KINDS = ("Selector", "Output", "Synthetic", "Preop")


def test_a_chosen_volume_that_leaves_the_scene_leaves_its_selectors_empty(slicer, panel, scenes):
    scenes.volume("Patient")
    leaving = scenes.volume("Leaving")
    chosen = [getattr(panel.ui, f"t2{kind}") for kind in KINDS]
    for selector in chosen:
        selector.setCurrentNode(leaving)
    slicer.mrmlScene.RemoveNode(leaving)
    parameters = panel.logic.getParameterNode()
    assert [selector.currentNode() for selector in chosen] == [None] * len(KINDS)
    assert parameters.t2Volume is parameters.t2Output is parameters.t2Synthetic is parameters.t2Preop is None


def test_a_list_of_landmarks_that_leaves_the_scene_leaves_its_selector_empty(slicer, panel):
    lists = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name) for name in ("One", "Other")]
    panel.ui.movingLandmarks.setCurrentNode(lists[1])
    slicer.mrmlScene.RemoveNode(lists[1])
    assert panel.ui.movingLandmarks.currentNode() is panel.logic.getParameterNode().movingLandmarks is None


def test_after_an_output_was_deleted_the_next_run_writes_a_new_volume(slicer, ready, scenes, child):
    patient = scenes.volume("preop_T2w")
    voxels = slicer.util.arrayFromVolume(patient).tobytes()
    apply(ready)
    finish(ready, child, targets=("t2",))
    made = slicer.mrmlScene.GetFirstNodeByName("Doe-US synthetic T2 (MMHVAE)")
    ready.ui.t2Output.setCurrentNode(made)
    slicer.mrmlScene.RemoveNode(made)
    apply(ready)
    finish(ready, child, targets=("t2",))
    assert slicer.util.arrayFromVolume(patient).tobytes() == voxels
    assert slicer.mrmlScene.GetFirstNodeByName("Doe-US synthetic T2 (MMHVAE)") is not None


def test_the_selectors_of_a_panel_that_is_not_open_are_empty_when_it_opens_again(slicer, panel, scenes):
    scenes.volume("Patient")
    leaving = scenes.volume("Leaving")
    panel.ui.t2Selector.setCurrentNode(leaving)
    panel.exit()
    slicer.mrmlScene.RemoveNode(leaving)
    panel.enter()
    assert panel.ui.t2Selector.currentNode() is panel.logic.getParameterNode().t2Volume is None


@pytest.mark.parametrize("agrees", [False, True])
def test_a_volume_of_the_users_own_is_overwritten_only_after_asking(slicer, ready, scenes, child, monkeypatch, agrees):
    asked = []
    monkeypatch.setattr("slicer.util.confirmOkCancelDisplay", lambda text, *_: asked.append(text) or agrees)
    ready.ui.t2Output.setCurrentNode(scenes.volume("Patient T2"))
    ready.ui.cet1Output.setCurrentNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "New"))
    ready.ui.applyButton.click()
    assert len(asked) == 1 and "'Patient T2'" in asked[0] and "New" not in asked[0]
    assert len(child.calls) == agrees
    ready.panel.work.stop()


def test_what_this_software_made_is_overwritten_without_a_question(slicer, ready, child, monkeypatch):
    apply(ready)
    finish(ready, child)
    monkeypatch.setattr("slicer.util.confirmOkCancelDisplay", lambda *_: pytest.fail("asked"))
    made = slicer.mrmlScene.GetFirstNodeByName("Doe-US synthetic T2 (MMHVAE)")
    ready.ui.t2Output.setCurrentNode(made)
    apply(ready)
    finish(ready, child, seed=5)
    assert made.GetAttribute("MMHVAE.seed") == "5"
