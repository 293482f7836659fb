"""What becomes of a registration whose transform leaves the scene, by whatever hand, and of the views that show it."""

import numpy as np
import pytest

from .driving import apply, finish, settle
from .test_registration import end


@pytest.fixture
def looked_at(slicer, ready, scenes, child):
    """The panel with a registration that is looked at in a checkerboard, over a foreground of the opacity 0.25.

    The MR lay under a tracker with the ultrasound.
    """
    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    apply(ready)
    finish(ready, child)
    mr = scenes.volume("preop_T2w")
    tracker = scenes.parent(mr, scenes.rotation(20), "Tracker")
    for node in (ready.ui.usSelector.currentNode(), *ready.panel.results.chosen().outputs.values()):
        node.SetAndObserveTransformNodeID(tracker.GetID())
    ready.ui.proposeButton.click()
    composite.SetForegroundOpacity(0.25)
    ready.before = scenes.picture(ignore=[composite.GetID(), ready._parameters.parameterNode.GetID()])
    matrix = np.eye(4)
    matrix[:3, 3] = 3.0, -2.0, 1.0
    ready.ui.registerButton.click()
    end(ready, child, matrix)
    composite.SetForegroundOpacity(0.25)
    ready.ui.lookSelector.currentIndex = 1
    assert composite.GetForegroundOpacity() == 1
    ready.composite = composite
    return ready


def shown(slicer, panel):
    ids = panel.composite.GetBackgroundVolumeID(), panel.composite.GetForegroundVolumeID()
    return [slicer.mrmlScene.GetNodeByID(each).GetName() if each else None for each in ids]


def undone(transform):
    from MMHVAESynthesisLib.scene import registration

    registration.undo(transform)


def removed(transform):
    import slicer

    slicer.mrmlScene.RemoveNode(transform)


def removed_in_data(transform):
    import slicer

    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    hierarchy.RemoveItem(hierarchy.GetItemByDataNode(transform))


def removed_with_its_folder(transform):
    import slicer

    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    hierarchy.RemoveItem(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(transform)), True, True)


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("end_it", [undone, removed, removed_in_data, removed_with_its_folder])
def test_a_registration_that_ends_outside_the_panel_leaves_nothing(slicer, looked_at, module, scenes, end_it, is_open):
    transform = looked_at.panel.registration._last()
    mr = slicer.mrmlScene.GetFirstNodeByName("preop_T2w")
    module.MMHVAESynthesisLogic().displacement(transform)
    assert mr.GetParentTransformNode().GetName().startswith("Tracker (for ")
    if not is_open:
        looked_at.exit()
    end_it(transform)
    settle()
    looked_at.enter()
    assert shown(slicer, looked_at) == ["Doe-US synthetic T2 (MMHVAE)", None]
    assert looked_at.composite.GetForegroundOpacity() == 0.25
    assert looked_at.ui.lookSelector.enabled is looked_at.ui.undoButton.enabled is False
    assert mr.GetParentTransformNode().GetName() == "Tracker"
    ignored = [looked_at.composite.GetID(), looked_at._parameters.parameterNode.GetID()]
    assert scenes.picture(ignore=ignored) == looked_at.before


def test_what_the_user_put_into_its_folder_stays(slicer, looked_at, scenes):
    transform = looked_at.panel.registration._last()
    hierarchy, folder = slicer.mrmlScene.GetSubjectHierarchyNode(), scenes.folder_of(transform)
    mine = scenes.volume("Mine")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(mine), folder)
    slicer.mrmlScene.RemoveNode(transform)
    settle()
    assert scenes.folder_of(mine) == folder and slicer.util.getNodesByClass("vtkMRMLTableNode") == []


def test_another_transform_that_leaves_the_scene_changes_nothing(slicer, looked_at, scenes):
    other = scenes.linear("Mine", np.eye(4))
    before, views = scenes.picture(ignore=[other.GetID()]), shown(slicer, looked_at)
    slicer.mrmlScene.RemoveNode(other)
    after = scenes.picture()
    assert after["nodes"] == before["nodes"] and shown(slicer, looked_at) == views


def test_a_scene_that_is_closed_or_loaded_takes_its_registrations_with_it(slicer, looked_at, tmp_path):
    slicer.util.saveScene(str(tmp_path / "case.mrb"), {})
    slicer.mrmlScene.Clear(0)
    assert slicer.util.getNodesByClass("vtkMRMLVolumeNode") == []
    for _ in range(2):  # the second time in place of what is there
        slicer.util.loadScene(str(tmp_path / "case.mrb"), {})
        transform = looked_at.panel.registration._last()
        assert transform.GetNodeReference("MMHVAE.table") is not None
        assert slicer.mrmlScene.GetFirstNodeByName("preop_T2w").GetParentTransformNode().GetTransformNodeID()


def test_a_run_that_is_shown_in_place_of_the_checkerboard_gives_the_opacity_back(slicer, looked_at, child):
    apply(looked_at)
    finish(looked_at, child, targets=("t2",))
    assert shown(slicer, looked_at) == ["Doe-US synthetic T2 (MMHVAE) 2", None]
    assert looked_at.composite.GetForegroundOpacity() == 0.25
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
    assert not any(" and preop_T2w" in name for name in names)
