import json

import numpy as np
import pytest

from MMHVAESynthesisLib.errors import InputError

pytest.importorskip("vtk", reason="not installed: vtk, which comes with slicer-core")


def cells(table):
    return [
        [table.GetCellText(row, column) for column in range(table.GetNumberOfColumns())]
        for row in range(table.GetNumberOfRows())
    ]


def test_the_transform_moves_the_mr_in_the_world(slicer, registration, plan, made, pair):
    synthetic, mr = pair
    matrix, before = made.motion(), made.to_world(mr)
    transform = registration.add(made.result(matrix), plan({"t2": synthetic}, {"t2": mr}))
    assert transform.IsA("vtkMRMLLinearTransformNode") and mr.GetTransformNodeID() == transform.GetID()
    assert transform.GetName() == "Case1 T2 to ultrasound (MMHVAE)"
    np.testing.assert_allclose(slicer.util.arrayFromTransformMatrix(transform), matrix, atol=1e-12)
    np.testing.assert_allclose(made.to_world(mr), matrix @ before, atol=1e-9)
    assert synthetic.GetTransformNodeID() is None and transform.GetTransformNodeID() is None


SHAPES = {
    "a parent of its own": {"mr": "P", "P": None},
    "nested parents of its own": {"mr": "P", "P": "Q", "Q": None},
    "a parent with an unnamed node": {"mr": "P", "other": "P", "P": None},
    "a parent with the synthetic MR": {"mr": "P", "synthetic": "P", "P": None},
    "an unnamed node two levels up": {"mr": "P", "P": "Q", "other": "Q", "Q": None},
    "an unnamed node between two levels": {"mr": "P", "other": "P", "P": "Q", "second": "Q", "Q": None},
    "all under one parent are named": {"mr": "P", "second": "Q", "P": "Q", "Q": None},
    "two parents": {"mr": "P", "second": "Q", "other": "Q", "P": None, "Q": None},
    "two under a shared parent": {"mr": "P", "second": "P", "other": "P", "P": None},
    "an unused transform under the parent": {"mr": "P", "E": "P", "P": None},
    "a parent's parent of another": {"mr": "P", "P": "Q", "Q": "R", "second": "R", "other": "P", "R": None},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_named_nodes_move_and_no_others_whatever_the_parents(slicer, registration, plan, scenes, made, pair, shape):
    nodes = {"synthetic": pair[0], "mr": pair[1], "second": scenes.volume("S"), "other": scenes.volume("O")}
    for number, name in enumerate(name for name in "PQRE" if name in {**SHAPES[shape], **dict.fromkeys("P")}):
        nodes[name] = scenes.linear(name, made.motion(20 + 30 * number, (number, 2, -5)))
    for child, parent in SHAPES[shape].items():
        nodes[child].SetAndObserveTransformNodeID(None if parent is None else nodes[parent].GetID())
    start, matrix = made.everything(), made.motion()
    before = {name: made.to_world(node) for name, node in nodes.items()}
    planned = plan({"t2": nodes["synthetic"]}, {"t2": nodes["mr"]}, also=[nodes["second"]])
    transform = registration.add(made.result(matrix), planned)
    np.testing.assert_allclose(slicer.util.arrayFromTransformMatrix(transform), matrix, atol=1e-12)
    for name in ("mr", "second"):
        np.testing.assert_allclose(made.to_world(nodes[name]), matrix @ before[name], atol=1e-9, err_msg=name)
    for name in ("synthetic", "other"):
        np.testing.assert_allclose(made.to_world(nodes[name]), before[name], atol=1e-9, err_msg=name)
    kept = made.everything()["matrices"]
    assert {key: kept[key] for key in start["matrices"]} == start["matrices"], "no transform of the user's is changed"
    registration.undo(transform)
    assert made.everything() == start


def test_a_parent_that_only_the_mr_uses_stays_its_parent(slicer, registration, plan, scenes, made, pair):
    inner = scenes.parent(pair[1], scenes.rotation(20), "Inner")
    outer = scenes.parent(inner, scenes.rotation(30), "Outer")
    transform = registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1]}))
    assert pair[1].GetParentTransformNode() is inner and inner.GetParentTransformNode() is outer
    assert outer.GetParentTransformNode() is transform


def test_a_shared_parent_keeps_its_other_nodes_and_a_copy_carries_the_mr(
    slicer, registration, plan, scenes, made, pair
):
    shared = scenes.parent(pair[1], scenes.rotation(20), "Tracker")
    pair[0].SetAndObserveTransformNodeID(shared.GetID())
    transform = registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1]}))
    copy = pair[1].GetParentTransformNode()
    assert copy.GetName() == f"Tracker (for {transform.GetName()})" and copy.GetParentTransformNode() is transform
    assert pair[0].GetParentTransformNode() is shared and shared.GetParentTransformNode() is None
    assert scenes.folder_of(copy) == scenes.folder_of(transform)


def surface(slicer, vtk):
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "Tumour surface")
    model.SetAndObservePolyData(sphere.GetOutput())
    return model


def test_what_was_planned_on_the_mr_is_carried(slicer, registration, plan, scenes, made, pair):
    import vtk

    points = [(10.0, 20.0, 30.0), (-5.0, 0.0, 8.0)]
    target = made.markups("Target", points, placed=made.motion(40))
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Tumour")
    segmentation.AddSegmentFromClosedSurfaceRepresentation(surface(slicer, vtk).GetPolyData(), "Tumour", (1, 0, 0))
    model, roi = surface(slicer, vtk), slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
    flair, left = scenes.volume("FLAIR"), made.markups("Left", points)
    bounds, matrix = [0.0] * 6, made.motion()
    planned = plan({"t2": pair[0]}, {"t2": pair[1], "flair": flair}, also=[target, "Tumour", model.GetID(), roi])
    transform = registration.add(made.result(matrix), planned)
    for point, index in zip(points, range(2)):
        expected = (matrix @ [*point, 1.0])[:3]
        np.testing.assert_allclose(target.GetNthControlPointPositionWorld(index), expected, atol=1e-9)
        np.testing.assert_allclose(left.GetNthControlPointPositionWorld(index), point, atol=1e-9)
    for node in (segmentation, model, roi, flair):
        assert node.GetParentTransformNode() is transform
        np.testing.assert_allclose(made.to_world(node), matrix, atol=1e-9)
    model.GetRASBounds(bounds)
    np.testing.assert_allclose(np.reshape(bounds, (3, 2)).mean(axis=1), matrix[:3, 3], atol=0.1)
    segmentation.GetRASBounds(bounds)
    np.testing.assert_allclose(np.reshape(bounds, (3, 2)).mean(axis=1), matrix[:3, 3], atol=0.1)
    assert json.loads(transform.GetAttribute("MMHVAE.carried")) == [
        "Case1 T2", "FLAIR", "Target", "Tumour", "Tumour surface", "Box"
    ]  # fmt: skip


def test_a_named_transform_moves_with_all_that_is_under_it(slicer, registration, plan, scenes, made, pair):
    group = scenes.linear("Group", scenes.rotation(10))
    members = [scenes.volume("A"), scenes.volume("B")]
    for node in members:
        node.SetAndObserveTransformNodeID(group.GetID())
    before, matrix = made.to_world(members[0]), made.motion()
    registration.add(made.result(matrix), plan({"t2": pair[0]}, {"t2": pair[1]}, also=["Group", members[0]]))
    for node in members:
        assert node.GetParentTransformNode() is group
        np.testing.assert_allclose(made.to_world(node), matrix @ before, atol=1e-9)


def test_landmarks_in_another_order_are_paired_by_their_labels_and_that_is_said(registration, plan, scenes, made, pair):
    points = np.array([(10.0, 20.0, 30.0), (-5.0, 0.0, 8.0), (0.0, 40.0, -20.0)])
    us, mr = made.markups("US points", points), made.markups("MR points", points[[2, 0, 1]] + (1.0, 0, 0))
    for node, labels in ((us, "ABC"), (mr, "CAB")):
        for index, label in enumerate(labels):
            node.SetNthControlPointLabel(index, label)
    field = scenes.volume("US")
    lists = {"fixed_landmarks": us, "moving_landmarks": mr}
    planned = plan({"t2": pair[0]}, {"t2": pair[1]}, field, **lists)
    assert planned.warnings == ["The two lists of landmarks have the same labels in another order: they were paired by "
                                "label."]  # fmt: skip
    transform = registration.add(made.result(np.eye(4)), planned)
    assert json.loads(transform.GetAttribute("MMHVAE.landmarkErrorAfter"))["largest"] == pytest.approx(1.0)
    assert transform.GetAttribute("MMHVAE.us") == "US"
    for index, label in enumerate(("MR-1", "MR-2", "MR-3")):
        mr.SetNthControlPointLabel(index, label)
    assert plan({"t2": pair[0]}, {"t2": pair[1]}, field, **lists).warnings == []


def test_how_good_it_is_stands_on_the_node_and_in_a_table(slicer, registration, plan, scenes, made, pair):
    matrix = made.motion()
    fixed = np.array([(10.0, 20.0, 30.0), (-5.0, 0.0, 8.0), (0.0, 40.0, -20.0)])
    errors = np.array([(1.0, 0, 0), (0, 2.0, 0), (0, 0, 6.0)])
    moving = np.array([(np.linalg.inv(matrix) @ [*point, 1.0])[:3] for point in fixed]) + errors
    us, mr = made.markups("US points", fixed, placed=made.motion(30)), made.markups("MR points", moving)
    us.AddControlPointWorld(1, 2, 3)
    us.UnsetNthControlPointPosition(3)
    flair = scenes.volume("FLAIR")
    planned = plan({"t2": pair[0]}, {"t2": pair[1], "flair": flair}, fixed_landmarks=us, moving_landmarks="MR points")
    transform = registration.add(made.result(matrix, ("t2", "flair")), planned)
    noted = {name: transform.GetAttribute(f"MMHVAE.{name}") for name in ("engine", "confidence", "seconds", "version")}
    assert noted == {"engine": "lncc", "confidence": "0.4375", "seconds": "1.5", "version": "0.1.0"}
    assert transform.GetAttribute("MMHVAE.synthetic") is None and transform.GetAttribute("MMHVAE.registration") == "1"
    assert json.loads(transform.GetAttribute("MMHVAE.contrasts"))[1] == {
        "modality": "flair",
        "before": 0.25,
        "after": 0.75,
        "completed": False,
    }
    assert json.loads(transform.GetAttribute("MMHVAE.moving")) == {"t2": "Case1 T2", "flair": "FLAIR"}
    assert json.loads(transform.GetAttribute("MMHVAE.fixed")) == {"t2": "US synthetic T2"}
    after = json.loads(transform.GetAttribute("MMHVAE.landmarkErrorAfter"))
    assert after == pytest.approx({"mean": 3.0, "median": 2.0, "largest": 6.0}, abs=1e-9)
    start = np.linalg.norm(fixed - moving, axis=1)
    assert json.loads(transform.GetAttribute("MMHVAE.landmarkErrorBefore"))["mean"] == pytest.approx(start.mean())
    assert mr.GetParentTransformNode() is transform, "the MR's landmarks go with the MR"
    assert us.GetParentTransformNode() is not transform
    assert transform.GetNodeReference("MMHVAE.input.t2") is pair[1]
    assert transform.GetNodeReference("MMHVAE.fixed.t2") is pair[0]
    table = transform.GetNodeReference(registration.TABLE)
    assert cells(table) == [
        ["Similarity of T2 (LNCC)", "0.250", "0.750", ""],
        ["Similarity of FLAIR (LNCC)", "0.250", "0.750", ""],
        ["Similarity, mean (LNCC)", "0.250", "0.750", ""],
        ["Landmark error, mean of 3 points", f"{start.mean():.2f}", "3.00", "mm"],
        ["Landmark error, median of 3 points", f"{np.median(start):.2f}", "2.00", "mm"],
        ["Landmark error, largest of 3 points", f"{start.max():.2f}", "6.00", "mm"],
        ["Confidence: typical error of the placement", "", "0.44", "mm"],
        ["Displacement, median over the field of view", "", "7.50", "mm"],
        ["Field of view inside the MR", "", "97", "%"],
    ]
    assert [table.GetColumnName(index) for index in range(4)] == ["Measure", "Before", "After", "Unit"]


def test_one_run_is_one_folder_beside_the_mr(slicer, registration, plan, scenes, made, pair):
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Before surgery")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(pair[1]), study)
    transform = registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1]}))
    folder = scenes.folder_of(transform)
    assert hierarchy.GetItemName(folder) == transform.GetName() and hierarchy.GetItemParent(folder) == study
    assert scenes.folder_of(transform.GetNodeReference(registration.TABLE)) == folder
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(pair[1])) == study


def test_undo_spares_what_the_user_put_elsewhere_since(slicer, registration, plan, scenes, made, pair):
    other = scenes.volume("A")
    transform = registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1]}, also=[other]))
    taken_out = scenes.parent(other, scenes.rotation(5), "The user's own")
    late = scenes.volume("Late")
    late.SetAndObserveTransformNodeID(transform.GetID())
    folder = scenes.folder_of(transform)
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(late), folder)
    registration.undo(transform)
    assert other.GetParentTransformNode() is taken_out
    assert late.GetScene() is not None and late.GetTransformNodeID() is None
    assert hierarchy.GetItemName(folder) == "Case1 T2 to ultrasound (MMHVAE)", "what the user put there stays there"


def test_undo_keeps_the_place_when_the_former_parent_is_gone(slicer, registration, plan, scenes, made, pair):
    shared = scenes.parent(pair[1], scenes.rotation(20), "Tracker")
    pair[0].SetAndObserveTransformNodeID(shared.GetID())
    before = made.to_world(pair[1])
    transform = registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1]}))
    slicer.mrmlScene.RemoveNode(shared)
    registration.undo(transform)
    np.testing.assert_allclose(made.to_world(pair[1]), before, atol=1e-9)
    assert transform.GetScene() is None
    assert not registration.placement.is_stand_in(pair[1].GetParentTransformNode()), "it stands for nothing any more"


def test_what_lay_under_one_shared_parent_moves_under_one_copy_of_it(registration, plan, scenes, made, pair):
    other = scenes.volume("Plan")
    shared = scenes.parent(pair[1], scenes.rotation(20), "Tracker")
    for node in (pair[0], other):
        node.SetAndObserveTransformNodeID(shared.GetID())
    transform = registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1]}, also=[other]))
    (copy,) = registration.placement.under(transform)
    assert pair[1].GetParentTransformNode() is other.GetParentTransformNode() is copy


def test_undo_is_refused_where_a_transform_deep_under_it_was_taken_out(registration, plan, scenes, made, pair):
    inner = scenes.parent(pair[1], scenes.rotation(20), "Tracker")
    scenes.parent(inner, scenes.rotation(-50), "Room")
    transform = registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1]}))
    inner.SetAndObserveTransformNodeID(None)
    before = made.everything()
    with pytest.raises(InputError, match="'Tracker' was hardened or taken out.*Nothing was changed"):
        registration.undo(transform)
    assert made.everything() == before


def test_undo_of_anything_else_is_refused(slicer, registration, scenes, made, pair):
    mine = scenes.linear("Mine", scenes.rotation(20))
    before = made.everything()
    for node in (mine, "Mine", pair[0]):
        with pytest.raises(InputError, match="is not the transform of a registration"):
            registration.undo(node)
    with pytest.raises(InputError, match="nothing named 'Absent'"):
        registration.undo("Absent")
    assert made.everything() == before


@pytest.mark.parametrize("second_also", [True, False])
def test_a_later_registration_goes_on_top_and_is_undone_first(
    slicer, registration, plan, scenes, made, pair, second_also
):
    tumour = scenes.volume("Tumour")
    start = made.everything()
    first_matrix, second_matrix = made.motion(10), made.motion(-25, (3, 3, 3))
    before = made.to_world(pair[1])
    first = registration.add(made.result(first_matrix), plan({"t2": pair[0]}, {"t2": pair[1]}, also=[tumour]))
    between = made.everything()
    also = [tumour] if second_also else []
    second = registration.add(made.result(second_matrix), plan({"t2": pair[0]}, {"t2": pair[1]}, also=also))
    assert second.GetName() == "Case1 T2 to ultrasound (MMHVAE) 2"
    np.testing.assert_allclose(made.to_world(pair[1]), second_matrix @ first_matrix @ before, atol=1e-9)
    expected = second_matrix @ first_matrix if second_also else first_matrix
    np.testing.assert_allclose(made.to_world(tumour), expected, atol=1e-9)
    both = made.everything()
    with pytest.raises(InputError, match="undo that one first"):
        registration.undo(first)
    assert made.everything() == both
    assert registration.registrations() == [first, second]
    registration.undo(second)
    assert made.everything() == between
    registration.undo(first)
    assert made.everything() == start


def test_registrations_of_two_volumes_do_not_touch_each_other(slicer, registration, plan, scenes, made, pair):
    other = scenes.volume("Case1 FLAIR")
    start = made.everything()
    first = registration.add(made.result(made.motion(10)), plan({"t2": pair[0]}, {"t2": pair[1]}))
    second = registration.add(made.result(made.motion(20), ("t2",)), plan({"t2": pair[0]}, {"t2": other}))
    assert pair[1].GetParentTransformNode() is first and other.GetParentTransformNode() is second
    assert scenes.folder_of(first) != scenes.folder_of(second)
    registration.undo(first)
    assert other.GetParentTransformNode() is second and pair[1].GetTransformNodeID() is None
    registration.undo(second)
    assert made.everything() == start


def fail_at(monkeypatch, owner, name, call):
    """Make the ``call``-th call of ``owner.name`` raise; the ones before it work."""
    real, count = getattr(owner, name), [0]

    def failing(*arguments, **keywords):
        count[0] += 1
        if count[0] == call:
            raise RuntimeError("no more memory")
        return real(*arguments, **keywords)

    monkeypatch.setattr(owner, name, failing)
    return count


FAILURES = [
    *[("registration", name, 1) for name in ("errors_at", "table_node", "attributes", "_free_name", "matrix_of")],
    *[("_Run", name, call) for name, calls in (("_add_node", 2), ("_folder", 1), ("_note", 1)) for call in (1, calls)],
    *[("into", "_into", call) for call in (1, 2, 3)],
    *[("placement", name, call) for name, calls in (("units", 1), ("put", 1), ("_stand_in", 2)) for call in (1, calls)],
    ("provenance", "note", 1),
    ("ExitStack", "pop_all", 1),
]


@pytest.mark.parametrize(("owner", "name", "call"), sorted(set(FAILURES)))
def test_a_failure_at_any_stage_leaves_the_scene_as_it_was(
    slicer, registration, plan, scenes, made, pair, monkeypatch, owner, name, call
):
    shared = scenes.parent(pair[1], scenes.rotation(20), "Tracker")
    pair[0].SetAndObserveTransformNodeID(shared.GetID())
    second, third = scenes.volume("S"), scenes.volume("T")
    second.SetAndObserveTransformNodeID(scenes.parent(scenes.volume("O"), scenes.rotation(5)).GetID())
    planned = plan({"t2": pair[0]}, {"t2": pair[1]}, also=[second, third])
    registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": third}))
    before = made.everything()
    with monkeypatch.context() as patch:
        if owner == "into":
            real, count = registration._Run._into, [0]

            def failing(folder, node):
                count[0] += 1
                if count[0] == call:
                    raise RuntimeError("no more memory")
                real(folder, node)

            patch.setattr(registration._Run, "_into", staticmethod(failing))
            calls = count
        else:
            target = registration if owner == "registration" else getattr(registration, owner)
            calls = fail_at(patch, target, name, call)
        with pytest.raises(RuntimeError, match="no more memory"):
            registration.add(made.result(made.motion()), planned)
        assert calls[0] >= call
    assert made.everything() == before
    registration.undo(registration.add(made.result(made.motion()), planned))
    assert made.everything() == {**before, "items": made.everything()["items"]}


def test_what_changes_during_the_run_is_told_and_nothing_moves(slicer, registration, plan, scenes, made, pair):
    planned = plan({"t2": pair[0]}, {"t2": pair[1]})
    scenes.parent(pair[1], scenes.rotation(3))
    before = made.everything()
    with pytest.raises(InputError, match="'Case1 T2' was moved during the registration"):
        registration.add(made.result(made.motion()), planned)
    assert made.everything() == before
    us = scenes.volume("US")
    planned = plan({"t2": pair[0]}, {"t2": pair[1]}, us=us)
    scenes.parent(us, scenes.rotation(3))
    before = made.everything()
    with pytest.raises(InputError, match="'US' was moved during the registration"):
        registration.add(made.result(made.motion()), planned)
    assert made.everything() == before
    tumour = scenes.volume("Tumour")
    planned = plan({"t2": pair[0]}, {"t2": pair[1]}, also=[tumour])
    slicer.mrmlScene.RemoveNode(tumour)
    before = made.everything()
    with pytest.raises(InputError, match="'Tumour' left the scene"):
        registration.add(made.result(made.motion()), planned)
    assert made.everything() == before


def test_what_cannot_be_moved_or_registered_is_refused_before_any_work(slicer, plan, scenes, made, pair):
    synthetic, mr = pair
    us, bent = scenes.volume("US"), scenes.volume("Bent")
    bent.SetAndObserveTransformNodeID(made.non_linear().GetID())
    text = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", "Notes")
    group = scenes.linear("Group", np.eye(4))
    synthetic.SetAndObserveTransformNodeID(group.GetID())
    three, two = made.markups("Three", np.eye(3)), made.markups("Two", np.eye(3)[:2])
    none, empty = made.markups("None", []), made.markups("Empty", [])
    twice = [scenes.volume("Twin"), scenes.volume("Twin")]
    gone = scenes.volume("Gone")
    slicer.mrmlScene.RemoveNode(gone)
    both, same = {"fixed_landmarks": three, "moving_landmarks": two}, {"fixed_landmarks": two, "moving_landmarks": two}
    cases = [
        (({"t2": synthetic}, {"t2": synthetic}), {}, "given as the synthetic T2 and as the pre-operative T2"),
        (({"t2": synthetic}, {"t2": mr, "flair": mr}), {}, "as the pre-operative T2 and as the pre-operative FLAIR"),
        (({"t2": synthetic}, {"t2": mr}, mr), {}, "as the pre-operative T2 and as the ultrasound"),
        (({"t2": synthetic}, {"t2": mr}, synthetic), {}, "as the synthetic T2 and as the ultrasound"),
        (({"t2": synthetic}, {"t2": bent}), {}, "non-linear"),
        (({"t2": bent}, {"t2": mr}), {}, "non-linear"),
        (({"t2": synthetic}, {"t2": mr}), {"also": [bent]}, "'Bent' lies under a non-linear transform.*harden"),
        (({"t2": synthetic}, {"t2": mr}), {"also": [text]}, "'Notes' cannot lie under a transform"),
        (({"t2": synthetic}, {"t2": mr}), {"also": [7]}, "int cannot lie under a transform"),
        (({"t2": synthetic}, {"t2": mr}), {"also": ["Twin"]}, "2 nodes named 'Twin'"),
        (({"t2": synthetic}, {"t2": mr}), {"also": [gone]}, "'Gone' is not in the scene"),
        (({"t2": synthetic}, {"t2": mr}, us), {"also": [us]}, "'US' lies on the ultrasound and must stay"),
        (({"t2": synthetic}, {"t2": mr}), {"also": [group]}, "'US synthetic T2' lies on the ultrasound and must stay"),
        (({"t2": synthetic}, {"t2": mr}), both, "3 landmarks in the ultrasound and 2 in the MR"),
        (({"t2": synthetic}, {"t2": mr}), {"fixed_landmarks": three}, "for one volume only"),
        (({"t2": synthetic}, {"t2": mr}), same, "'Two' is given as .*: give two lists"),
        (({"t2": synthetic}, {"t2": mr}), {"fixed_landmarks": none, "moving_landmarks": empty}, "no landmarks"),
        (({"t2": synthetic}, {"t2": mr}), {"fixed_landmarks": mr, "moving_landmarks": two}, "not a list of points"),
        (({"t2": synthetic}, {"t2": text}), {}, "The pre-operative T2: 'Notes' cannot lie under a transform"),
        (({"t2": synthetic}, {"t2": mr}, text), {}, "The iUS: 'Notes' cannot lie under a transform"),
        (({"t2": synthetic}, {"t2": gone}), {}, "not in the scene any more"),
    ]
    assert twice
    before = made.everything()
    for arguments, keywords, sentence in cases:
        with pytest.raises(InputError, match=sentence):
            plan(*arguments, **keywords)
        assert made.everything() == before


def test_files_of_the_library_and_of_slicer_hold_the_same_transform(slicer, registration, plan, made, pair, tmp_path):
    from MMHVAESynthesisLib.registration import transforms

    result = made.result(made.motion())
    for ending in (".h5", ".tfm"):
        path = transforms.write(result.fixed_to_moving, tmp_path / f"found{ending}")
        loaded = slicer.util.loadTransform(str(path))
        np.testing.assert_allclose(slicer.util.arrayFromTransformMatrix(loaded), made.motion(), atol=1e-9)
        mr = pair[1]
        mr.SetAndObserveTransformNodeID(loaded.GetID())
        np.testing.assert_allclose(made.to_world(mr), made.motion(), atol=1e-9)
        mr.SetAndObserveTransformNodeID(None)
    transform = registration.add(result, plan({"t2": pair[0]}, {"t2": pair[1]}))
    for ending in (".h5", ".tfm"):
        assert slicer.util.saveNode(transform, str(tmp_path / f"saved{ending}"), {})
        read = transforms.read(tmp_path / f"saved{ending}")
        np.testing.assert_allclose(transforms.matrix_of(read), transforms.matrix_of(result.fixed_to_moving), atol=1e-6)


@pytest.mark.parametrize("ending", [".mrb", ".mrml"])
def test_a_saved_scene_comes_back_registered_and_can_be_undone(
    slicer, registration, plan, scenes, made, pair, tmp_path, ending
):
    # Slicer itself turns left-handed volumes round when it reads them, so that their voxels get other indices.
    mr = scenes.volume("Case1 T2 right-handed", matrix=scenes.oblique())
    shared = scenes.parent(mr, scenes.rotation(20), "Tracker")
    pair[0].SetAndObserveTransformNodeID(shared.GetID())
    voxel = (3, 2, 1)
    before, matrix = made.voxel_in_world(mr, voxel), made.motion()
    transform = registration.add(made.result(matrix), plan({"t2": pair[0]}, {"t2": mr}))
    lines, confidence = (
        cells(transform.GetNodeReference(registration.TABLE)),
        transform.GetAttribute("MMHVAE.confidence"),
    )
    if ending == ".mrml":
        for index, kind in enumerate(("vtkMRMLScalarVolumeNode", "vtkMRMLLinearTransformNode", "vtkMRMLTableNode")):
            for number, node in enumerate(slicer.util.getNodesByClass(kind)):
                name = f"{index}-{number}{('.nrrd', '.h5', '.tsv')[index]}"
                assert slicer.util.saveNode(node, str(tmp_path / name), {})
    assert slicer.util.saveScene(str(tmp_path / f"case{ending}"), {})
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / f"case{ending}"), {})
    (transform,) = registration.registrations()
    mr = slicer.mrmlScene.GetFirstNodeByName("Case1 T2 right-handed")
    np.testing.assert_allclose(made.voxel_in_world(mr, voxel), (matrix @ [*before, 1.0])[:3], atol=1e-5)
    assert transform.GetAttribute("MMHVAE.confidence") == confidence
    assert cells(transform.GetNodeReference(registration.TABLE)) == lines
    assert transform.GetNodeReference("MMHVAE.input.t2") is mr
    registration.undo(transform)
    np.testing.assert_allclose(made.voxel_in_world(mr, voxel), before, atol=1e-5)
    assert mr.GetParentTransformNode().GetName() == "Tracker"
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLStorageNode")]
    assert registration.registrations() == [] and slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0
    assert not any("Table" in name for name in names)


def test_the_space_of_a_registration_is_what_lies_above_it_in_its_order(registration, plan, scenes, made, pair):
    transform = registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1]}))
    inner = scenes.parent(transform, scenes.rotation(40), "Room")
    scenes.parent(inner, made.motion(-70, (30, -20, 10), axis=(3, 1, 0)), "Hospital")
    np.testing.assert_allclose(registration.space_of(transform), made.to_world(transform), atol=1e-9)
