"""A registration to look at: fade and checkerboard, before and after."""

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.errors import InputError
from registration import phantom

pytest.importorskip("vtk", reason="not installed: vtk, which comes with slicer-core")


@pytest.fixture
def view(scene):
    from MMHVAESynthesisLib.scene import registration_view

    return registration_view


@pytest.fixture
def composite(slicer, scene):
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")


@pytest.fixture
def pair(made):
    """A synthetic T2 of part of a head, and the MR of the head, which lies elsewhere, under a parent of its own."""
    head = phantom.head(size=80)
    synthetic = made.volume_of(phantom.field(head, size=(40, 30, 24), degrees=(10, -20, 30)), "Synthetic")
    synthetic.SetAttribute("MMHVAE.synthetic", "1")
    mr = made.volume_of(head, "MR")
    made.scenes.parent(mr, np.linalg.inv(made.motion()), "Far away")
    return synthetic, mr


@pytest.fixture
def transform(pair, made):
    from MMHVAESynthesisLib.scene import registration
    from MMHVAESynthesisLib.scene.registration_plan import plan

    return registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1]}))


def shown(slicer, composite):
    ids = composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()
    return [slicer.mrmlScene.GetNodeByID(each) if each else None for each in ids]


def extra(slicer, *known):
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [node for node in nodes if not any(node is each for each in known)]


def test_a_fade_after_the_registration_shows_the_volumes_themselves(slicer, view, composite, pair, transform):
    assert view.show(transform, view.FADE, False, 0.3) == pair
    assert shown(slicer, composite) == [*pair] and composite.GetForegroundOpacity() == pytest.approx(0.3)
    assert extra(slicer, *pair) == []


def test_a_fade_before_shows_the_mr_where_it_lay_and_moves_nothing(slicer, view, composite, pair, made, transform):
    mr, nodes = pair[1], made.everything()["nodes"]
    place = made.voxel_in_world(mr, (10, 20, 30))
    view.show(transform, view.FADE, True, 0.5)
    synthetic, over = shown(slicer, composite)
    assert synthetic is pair[0] and over is not mr and over.GetImageData() is mr.GetImageData()
    was = (np.linalg.inv(made.motion()) @ [*place, 1])[:3]
    np.testing.assert_allclose(made.voxel_in_world(over, (10, 20, 30)), was, atol=1e-6)
    np.testing.assert_allclose(made.voxel_in_world(mr, (10, 20, 30)), place, atol=1e-9)
    assert over.GetHideFromEditors() and not over.GetSaveWithScene()
    view.show(transform, view.FADE, True, 0.5)
    assert extra(slicer, *pair) == [over], "one is enough"
    view.clear()
    left = made.everything()["nodes"]
    assert {**left, composite.GetID(): nodes[composite.GetID()]} == nodes


def test_the_checkerboard_runs_on_from_block_to_block_where_the_mr_lies_right(slicer, view, composite, pair, transform):
    from MMHVAESynthesisLib.registration.figures import _grey

    fixed = slicer.util.arrayFromVolume(pair[0])
    grey = _grey(sitk.GetImageFromArray(fixed)).astype(float)
    steps = {}
    for before in (True, False):
        view.show(transform, view.CHECKERBOARD, before, 0.5)
        below, board = shown(slicer, composite)
        voxels = slicer.util.arrayFromVolume(board).astype(float)
        assert below is pair[0] and composite.GetForegroundOpacity() == 1
        assert board.GetAttribute("MMHVAE.synthetic") == "1" and board.GetHideFromEditors()
        assert (voxels[fixed == 0] == 0).all()
        np.testing.assert_array_equal(voxels[10:20, 10:20, :10], grey[10:20, 10:20, :10])
        steps[before] = np.abs(voxels - grey)[fixed != 0].mean()
    assert steps[False] < 8 < 20 < steps[True]
    assert extra(slicer, *pair) == [board]


def test_the_mr_is_shown_where_it_lay_beside_the_synthetic_one_wherever_all_of_it_was_brought(
    slicer, view, composite, made, pair, transform
):
    own = made.scenes.matrix_of(pair[1])
    before = np.linalg.inv(made.motion()) @ made.to_world(pair[1]) @ own
    room = made.motion(40, (100.0, 50.0, -20.0))
    into_room = made.scenes.parent(transform, room, "World to room")
    pair[0].SetAndObserveTransformNodeID(into_room.GetID())
    view.show(transform, view.FADE, True, 0.5)
    np.testing.assert_allclose(made.scenes.matrix_of(shown(slicer, composite)[1]), room @ before, atol=1e-6)
    # A later registration on top moves the MR within that world, and leaves the synthetic one there.
    later = made.scenes.linear("Later", made.motion(-25))
    later.SetAttribute("MMHVAE.registration", "1")
    later.SetNodeReferenceID("MMHVAE.fixed.t2", pair[0].GetID())
    later.SetAndObserveTransformNodeID(into_room.GetID())
    transform.SetAndObserveTransformNodeID(later.GetID())
    view.show(transform, view.FADE, True, 0.5)
    np.testing.assert_allclose(made.scenes.matrix_of(shown(slicer, composite)[1]), room @ before, atol=1e-6)


def test_under_a_non_linear_transform_it_is_not_known_either(view, made, pair, transform):
    transform.SetAndObserveTransformNodeID(made.non_linear().GetID())
    with pytest.raises(InputError, match="lies under a non-linear transform .'Brain shift'"):
        view.show(transform, view.FADE, True, 0.5)


def test_where_the_mr_lay_is_not_known_once_it_left_the_registration(view, pair, transform):
    pair[1].SetAndObserveTransformNodeID(None)
    with pytest.raises(InputError, match="'MR' lies no longer under"):
        view.show(transform, view.FADE, True, 0.5)
    view.show(transform, view.FADE, False, 0.5)


def test_volumes_that_left_the_scene_are_told(slicer, view, pair, transform):
    slicer.mrmlScene.RemoveNode(pair[0])
    with pytest.raises(InputError, match="left the scene"):
        view.show(transform, view.CHECKERBOARD, False, 0.5)


def test_what_only_serves_to_look_is_not_saved(slicer, view, pair, transform, tmp_path):
    view.show(transform, view.CHECKERBOARD, False, 0.5)
    view.show(transform, view.FADE, True, 0.5)
    slicer.util.saveScene(str(tmp_path / "case.mrb"), {})
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "case.mrb"), {})
    assert {node.GetName() for node in extra(slicer)} == {"Synthetic", "MR"}


def test_views_know_which_mr_to_show_in_a_saved_scene_until_they_show_another(slicer, view, composite, pair, transform):
    def remembered():
        return composite.GetNodeReference("MMHVAE.shows")

    view.recover()
    assert shown(slicer, composite) == [None, None]
    view.show(transform, view.FADE, True, 0.5)
    over = shown(slicer, composite)[1]
    assert remembered() is pair[1]
    view.recover()
    assert shown(slicer, composite) == [pair[0], over], "another scene was added meanwhile"
    view.show(transform, view.FADE, False, 0.5)
    assert remembered() is None
    view.show(transform, view.FADE, True, 0.5)
    view.show(transform, view.CHECKERBOARD, True, 0.5)
    assert remembered() is None
    view.clear()
    assert shown(slicer, composite) == [pair[0], None]


def test_a_note_of_the_mr_counts_once_and_only_without_the_mr_at_its_former_place(
    slicer, view, composite, pair, transform
):
    view.show(transform, view.FADE, True, 0.5)
    composite.SetForegroundVolumeID(None)
    view.recover()
    assert shown(slicer, composite) == [pair[0], None], "taken off by hand"
    view.clear()
    composite.SetNodeReferenceID("MMHVAE.shows", pair[1].GetID())
    composite.SetForegroundVolumeID(pair[0].GetID())
    view.recover()
    composite.SetForegroundVolumeID(None)
    view.recover()
    assert shown(slicer, composite) == [pair[0], None], "the note was that of the import before"
    composite.SetNodeReferenceID("MMHVAE.shows", pair[1].GetID())
    view.recover()
    assert shown(slicer, composite) == [*pair]


def test_the_opacity_from_before_the_checkerboard_comes_back_with_the_foreground(
    slicer, view, composite, pair, transform
):
    composite.SetForegroundOpacity(0.25)
    for before in (False, True):
        view.show(transform, view.CHECKERBOARD, before, 0.5)
        composite.SetForegroundVolumeID(None)
    view.show(transform, view.CHECKERBOARD, False, 0.5)
    assert composite.GetForegroundOpacity() == 1
    view.clear()
    assert composite.GetForegroundOpacity() == 0.25 and shown(slicer, composite) == [pair[0], None]
    view.show(transform, view.CHECKERBOARD, False, 0.5)
    composite.SetForegroundVolumeID(pair[1].GetID())
    composite.SetForegroundOpacity(0.75)
    view.clear()
    assert composite.GetForegroundOpacity() == 0.75, "the user's own choice since"
    view.show(transform, view.FADE, False, 0.5)
    view.clear()
    assert composite.GetForegroundOpacity() == 0.5 and composite.GetAttribute("MMHVAE.formerOpacity") is None
