import numpy as np
import pytest

from MMHVAESynthesisLib.errors import InputError

pytest.importorskip("vtk", reason="not installed: vtk, which comes with slicer-core")


@pytest.fixture
def add_displacement(scene):
    from MMHVAESynthesisLib.scene.registration_figures import add_displacement

    return add_displacement


@pytest.fixture
def transform(registration, made):
    """A registration to a synthetic T2 under a parent, whose field of view leaves out a plane."""
    from MMHVAESynthesisLib.scene.registration_plan import plan

    synthetic = made.scenes.volume("US synthetic T2")
    made.scenes.parent(synthetic, made.motion(40, (20.0, 5.0, -8.0)), "Tracker")
    return registration.add(made.result(made.motion()), plan({"t2": synthetic}, {"t2": made.scenes.volume("T2")}))


def test_each_voxel_holds_how_far_the_mr_was_moved_there(slicer, made, transform, add_displacement):
    node = add_displacement(transform.GetName())
    synthetic = slicer.mrmlScene.GetFirstNodeByName("US synthetic T2")
    assert node.GetTransformNodeID() == synthetic.GetTransformNodeID()
    values = slicer.util.arrayFromVolume(node)
    assert values.shape == slicer.util.arrayFromVolume(synthetic).shape and not values[0].any()
    for i, j, k in ((0, 0, 1), (6, 5, 4), (3, 1, 2)):
        here = made.voxel_in_world(node, (i, j, k))
        before = (np.linalg.inv(made.motion()) @ [*here, 1.0])[:3]
        assert values[k, j, i] == pytest.approx(np.linalg.norm(here - before), abs=1e-3)
    assert node.GetName().endswith("displacement in mm") and "not how the brain" in node.GetDescription()
    assert node.GetAttribute("MMHVAE.role") == "displacement"
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    folders = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(each)) for each in (node, transform)}
    assert len(folders) == 1
    assert add_displacement(transform) is node, "asked again, it is the same"


def test_asked_again_after_the_transform_was_edited_it_is_brought_up_to_date(slicer, transform, add_displacement):
    node = add_displacement(transform)
    before = slicer.util.arrayFromVolume(node).copy()
    matrix = slicer.util.arrayFromTransformMatrix(transform)
    matrix[0, 3] += 50
    slicer.util.updateTransformMatrixFromArray(transform, matrix)
    assert add_displacement(transform) is node
    after = slicer.util.arrayFromVolume(node)
    assert ((after > 0) == (before > 0)).mean() > 0.99 and after.max() > before.max() + 20


def test_it_is_the_same_wherever_all_of_it_was_brought(slicer, made, transform, add_displacement):
    before = slicer.util.arrayFromVolume(add_displacement(transform)).copy()
    into_room = made.scenes.parent(transform, made.motion(40, (100.0, 50.0, -20.0), (3, 1, -1)), "World to room")
    slicer.mrmlScene.GetFirstNodeByName("Tracker").SetAndObserveTransformNodeID(into_room.GetID())
    np.testing.assert_allclose(slicer.util.arrayFromVolume(add_displacement(transform)), before, atol=1e-3)


def test_undo_takes_it_away(slicer, made, registration, transform, add_displacement):
    before = made.everything()["nodes"].keys() - {transform.GetID()}
    node = add_displacement(transform)
    registration.undo(transform)
    left = made.everything()["nodes"].keys()
    assert node.GetScene() is None and left <= before


def test_what_it_cannot_show_is_told(slicer, made, transform, add_displacement):
    with pytest.raises(InputError, match="is not the transform of a registration"):
        add_displacement("Tracker")
    slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetFirstNodeByName("US synthetic T2"))
    before = made.everything()
    with pytest.raises(InputError, match="synthetic MR of .* is not in the scene any more"):
        add_displacement(transform)
    assert made.everything() == before
