import json
import re

import numpy as np
import pytest

from MMHVAESynthesisLib.errors import InputError

pytest.importorskip("vtk", reason="not installed: vtk, which comes with slicer-core")


def test_what_was_hardened_since_cannot_be_sent_back_and_nothing_is(slicer, registration, plan, scenes, made, pair):
    other = scenes.volume("Plan")
    before = made.to_world(pair[1]), made.to_world(other)
    transform = registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1]}, also=[other]))
    pair[1].HardenTransform()
    start = made.everything()
    with pytest.raises(InputError, match="'Case1 T2' was hardened or taken out.*Nothing was changed"):
        registration.undo(transform)
    assert made.everything() == start
    # the way back that the sentence names
    inverse = scenes.linear("Back", np.linalg.inv(made.motion()))
    pair[1].SetAndObserveTransformNodeID(inverse.GetID())
    pair[1].HardenTransform()
    pair[1].SetAndObserveTransformNodeID(transform.GetID())
    registration.undo(transform)
    for node, place in zip((pair[1], other), before):
        np.testing.assert_allclose(made.to_world(node), place, atol=1e-6)


@pytest.mark.parametrize("shape", ["parent", "grandparent", "stand-in"])
def test_nor_what_lies_under_a_transform_that_was_hardened_since(registration, plan, scenes, made, pair, shape):
    """As the module Transforms hardens what lies directly under the registration's transform: no MR is among it."""
    synthetic, mr = pair
    inner = scenes.parent(mr, scenes.rotation(20), "Tracker")
    if shape == "grandparent":
        scenes.parent(inner, scenes.rotation(-50), "Room")
    elif shape == "stand-in":
        synthetic.SetAndObserveTransformNodeID(inner.GetID())
    before = made.to_world(mr)
    transform = registration.add(made.result(made.motion()), plan({"t2": synthetic}, {"t2": mr}))
    (top,) = registration.placement.under(transform)
    assert top is not mr
    top.HardenTransform()
    start = made.everything()
    told = re.escape(f"'{top.GetName()}' was hardened or taken out of '{transform.GetName()}' since")
    with pytest.raises(InputError, match=f"{told}.*Nothing was changed"):
        registration.undo(transform)
    assert made.everything() == start
    # the way back that the sentence names
    top.SetAndObserveTransformNodeID(scenes.linear("Back", np.linalg.inv(made.motion())).GetID())
    top.HardenTransform()
    top.SetAndObserveTransformNodeID(transform.GetID())
    registration.undo(transform)
    np.testing.assert_allclose(made.to_world(mr), before, atol=1e-6)


@pytest.mark.parametrize("is_shared", [False, True])
def test_where_the_transform_was_put_under_another_since_what_goes_back_lies_under_that(
    slicer, registration, plan, scenes, made, pair, is_shared
):
    """The user takes all that lay in the world into the room, with one transform."""
    synthetic, mr = pair
    before, room = made.to_world(mr), made.motion(40, (100, 50, -20))
    shared = None
    if is_shared:
        shared = scenes.parent(mr, scenes.rotation(20), "Tracker")
        synthetic.SetAndObserveTransformNodeID(shared.GetID())
        before = made.to_world(mr)
    transform = registration.add(made.result(made.motion()), plan({"t2": synthetic}, {"t2": mr}))
    into_room = scenes.parent(transform, room, "World to room")
    (shared or synthetic).SetAndObserveTransformNodeID(into_room.GetID())
    registration.undo(transform)
    np.testing.assert_allclose(made.to_world(mr), room @ before, atol=1e-9)
    assert mr.GetParentTransformNode() is (shared or into_room) and transform.GetScene() is None


def test_a_stand_in_that_serves_on_does_so_under_what_the_transform_was_put_under(
    slicer, registration, plan, scenes, made, pair
):
    synthetic, mr = pair
    shared = scenes.parent(mr, scenes.rotation(20), "Tracker")
    synthetic.SetAndObserveTransformNodeID(shared.GetID())
    before, room = made.to_world(mr), made.motion(40, (100, 50, -20))
    transform = registration.add(made.result(made.motion()), plan({"t2": synthetic}, {"t2": mr}))
    slicer.mrmlScene.RemoveNode(shared)
    scenes.parent(transform, room, "World to room")
    registration.undo(transform)
    np.testing.assert_allclose(made.to_world(mr), room @ before, atol=1e-9)


def test_mr_that_the_synthesis_was_made_from_is_not_registered_to_it(registration, plan, scenes, made, pair):
    synthetic, mr = pair
    synthetic.SetNodeReferenceID("MMHVAE.input.us", scenes.volume("US").GetID())
    plan({"t2": synthetic}, {"t2": mr})
    synthetic.SetNodeReferenceID("MMHVAE.input.t2", mr.GetID())
    flair = scenes.volume("Case1 FLAIR")
    for moving in ({"t2": mr}, {"flair": flair, "t2": mr}):
        with pytest.raises(InputError, match="was made from 'Case1 T2' itself.*from the ultrasound alone"):
            plan({"t2": synthetic}, moving)
    other = scenes.volume("Another MR")
    transform = registration.add(made.result(made.motion()), plan({"t2": synthetic}, {"t2": other}))
    (warning,) = json.loads(transform.GetAttribute("MMHVAE.warnings"))
    assert "made from the MR 'Case1 T2' too" in warning


def test_that_the_mr_no_longer_follows_a_shared_parent_is_told(registration, plan, scenes, made, pair):
    shared = scenes.parent(pair[1], scenes.rotation(20), "Tracker")
    alone = registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1]}))
    assert json.loads(alone.GetAttribute("MMHVAE.warnings")) == []
    registration.undo(alone)
    pair[0].SetAndObserveTransformNodeID(shared.GetID())
    transform = registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1]}))
    (warning,) = json.loads(transform.GetAttribute("MMHVAE.warnings"))
    assert "'Case1 T2' lies under a copy of 'Tracker' now and no longer follows it" in warning


def test_a_registration_of_what_lies_deep_under_an_earlier_one_is_undone_first(
    slicer, registration, plan, scenes, made, pair
):
    second = scenes.volume("FLAIR")
    parent = scenes.parent(pair[1], scenes.rotation(20), "P")
    second.SetAndObserveTransformNodeID(parent.GetID())
    first = registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1], "flair": second}))
    assert parent.GetParentTransformNode() is first
    later = registration.add(made.result(made.motion(3)), plan({"t2": pair[0]}, {"t2": pair[1]}))
    with pytest.raises(InputError, match="undo that one first"):
        registration.undo(first)
    registration.undo(later)
    registration.undo(first)
    assert pair[1].GetParentTransformNode() is parent and parent.GetTransformNodeID() is None


def test_of_two_registrations_under_one_parent_the_later_one_is_taken_back_first(
    registration, plan, scenes, made, pair
):
    second = scenes.volume("FLAIR")
    parent = scenes.parent(pair[1], scenes.rotation(20), "P")
    second.SetAndObserveTransformNodeID(parent.GetID())
    start = made.everything()
    first = registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1]}))
    between = made.everything()
    later = registration.add(made.result(made.motion(3)), plan({"t2": pair[0]}, {"flair": second}))
    assert parent.GetParentTransformNode() is later
    registration.undo(later)
    assert made.everything() == between
    registration.undo(first)
    assert made.everything() == start


@pytest.mark.parametrize("way", ["undone", "deleted"])
def test_what_goes_back_under_a_parent_is_not_moved_with_a_later_registration_of_that(
    slicer, registration, plan, scenes, made, pair, way
):
    """The parent of both is left with the FLAIR alone, and so goes under the transform of the FLAIR's registration."""
    second = scenes.volume("FLAIR")
    parent = scenes.parent(pair[1], scenes.rotation(20), "P")
    second.SetAndObserveTransformNodeID(parent.GetID())
    before = made.to_world(pair[1])
    first = registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1]}))
    later = registration.add(made.result(made.motion(3)), plan({"t2": pair[0]}, {"flair": second}))
    there, start = made.to_world(second), made.everything()
    if way == "undone":
        with pytest.raises(InputError, match="'FLAIR to .* was made on top of 'Case1 T2 .*: undo that one first"):
            registration.undo(first)
        assert made.everything() == start
        return
    registration.release(first)
    slicer.mrmlScene.RemoveNode(first)
    np.testing.assert_allclose(made.to_world(pair[1]), before, atol=1e-9)
    np.testing.assert_allclose(made.to_world(second), there, atol=1e-9)
    registration.undo(later)
    np.testing.assert_allclose(made.to_world(pair[1]), before, atol=1e-9)


def test_a_copy_of_the_transform_that_a_user_makes_is_no_registration(slicer, registration, plan, made, pair):
    """Such as to invert it: nothing lies under it, and taking it back would change nothing."""
    transform = registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1]}))
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(transform)
    copied = slicer.vtkSlicerSubjectHierarchyModuleLogic.CloneSubjectHierarchyItem(hierarchy, item)
    copy = hierarchy.GetItemDataNode(copied)
    assert copy.GetAttribute("MMHVAE.registration") == "1"
    assert registration.registrations() == [transform]
    with pytest.raises(InputError, match="Copy' is not the transform of a registration"):
        registration.undo(copy)
    registration.undo(transform)
    assert pair[1].GetTransformNodeID() is None and copy.GetScene() is slicer.mrmlScene


@pytest.mark.parametrize("move", ["parent", "hardened", "origin"])
def test_an_ultrasound_that_was_moved_after_the_synthesis_is_told(outputs, plan, scenes, made, move):
    us, t2 = scenes.volume("US"), scenes.volume("T2", seed=1)
    synthetic = outputs.add(scenes.result({"us": us}, targets=("t2",)), {"us": us})["t2"]
    assert plan({"t2": synthetic}, {"t2": t2}, us).warnings == []
    if move == "origin":
        us.SetOrigin(*(np.array(us.GetOrigin()) + (0, 0, 30)))
    else:
        shift = np.eye(4)
        shift[2, 3] = 30
        scenes.parent(us, shift, "Tracker")
        if move == "hardened":
            us.HardenTransform()
    (told,) = plan({"t2": synthetic}, {"t2": t2}, us).warnings
    assert f"'US' and '{synthetic.GetName()}', which was made from it, lie up to 30.0 mm apart" in told
    # moved along
    if move == "parent":
        synthetic.SetAndObserveTransformNodeID(us.GetTransformNodeID())
        assert plan({"t2": synthetic}, {"t2": t2}, us).warnings == []
    # another volume as the field of view is the user's own choice
    assert plan({"t2": synthetic}, {"t2": t2}, scenes.volume("Mask", seed=2)).warnings == []


def test_synthetic_mr_from_different_ultrasounds_is_told(outputs, plan, scenes, made):
    before, after = scenes.volume("US before"), scenes.volume("US after")
    fixed = {
        "t2": outputs.add(scenes.result({"us": before}, targets=("t2",)), {"us": before})["t2"],
        "flair": outputs.add(scenes.result({"us": after}, targets=("flair",)), {"us": after})["flair"],
    }
    mr = {"t2": scenes.volume("T2", seed=1), "flair": scenes.volume("FLAIR", seed=2)}
    (told,) = plan(fixed, mr, before).warnings
    assert "different ultrasounds" in told and "'US before'" in told and "'US after'" in told
    del fixed["flair"]
    assert plan(fixed, mr, before).warnings == []


def test_what_was_synthesised_from_mr_that_moves_and_stays_is_told(outputs, plan, scenes, made, pair):
    synthetic, t2 = pair
    made_of_it = outputs.add(scenes.result({"t2": t2}, targets=("flair",)), {"t2": t2})["flair"]
    (told,) = plan({"t2": synthetic}, {"t2": t2}).warnings
    assert made_of_it.GetName() in told and "not moved with it" in told
    assert plan({"t2": synthetic}, {"t2": t2}, also=[made_of_it]).warnings == []
    over = scenes.parent(t2, np.eye(4), "Planned")
    made_of_it.SetAndObserveTransformNodeID(over.GetID())
    assert plan({"t2": synthetic}, {"t2": t2}, also=[over]).warnings == []
    made_of_it.SetAndObserveTransformNodeID(None)
    for broken in ("null", "5", "{broken"):
        made_of_it.SetAttribute("MMHVAE.inputs", broken)
        assert plan({"t2": synthetic}, {"t2": t2}).warnings == []


@pytest.mark.parametrize("given", ["node", "name", "none", "number"])
def test_what_else_is_to_be_moved_may_be_a_single_one(plan, scenes, made, pair, given):
    synthetic, t2 = pair
    ct = scenes.volume("CT")
    also = {"node": ct, "name": "CT", "none": None, "number": 3}[given]
    if given == "number":
        with pytest.raises(InputError, match="a list of nodes, names or IDs, not int"):
            plan({"t2": synthetic}, {"t2": t2}, also=also)
    else:
        planned = plan({"t2": synthetic}, {"t2": t2}, also=also)
        assert [node.GetName() for node in planned.carried] == [t2.GetName(), *([] if given == "none" else ["CT"])]


def test_what_a_registration_moves_takes_no_result_that_would_lie_elsewhere(
    registration, plan, outputs, scenes, made, pair
):
    transform = registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1]}))
    us, flair = scenes.volume("US of today"), scenes.volume("FLAIR")
    with pytest.raises(InputError, match=re.escape(f"lies under the registration '{transform.GetName()}'")):
        outputs.checked({"t2": pair[1]}, {"us": us})
    # a result of what is moved as well lies there too
    flair.SetAndObserveTransformNodeID(pair[1].GetTransformNodeID())
    assert outputs.checked({"t2": pair[1]}, {"flair": flair}) == {"t2": pair[1]}
    registration.undo(transform)
    assert outputs.checked({"t2": pair[1]}, {"us": us}) == {"t2": pair[1]}
