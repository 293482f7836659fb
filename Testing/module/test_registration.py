"""The section Registration, with children that the test plays, and the job with a real one."""

import json

import numpy as np
import pytest

from .driving import apply, cancel, finish, poll, settle


@pytest.fixture
def moved():
    """A (4, 4) matrix from fixed to moving points, LPS mm."""
    matrix = np.eye(4)
    matrix[:3, 3] = 3.0, -2.0, 1.0
    return matrix


def end(panel, child, matrix, kept_start=False, contrasts=None, **more):
    """Let the child end with a transform."""
    child.process.say(
        result={
            "metric_before": 0.25,
            "metric_after": 0.75,
            "confidence_mm": 0.4,
            "moved_mm": 3.7,
            "overlap": 0.9,
            "kept_start": kept_start,
            "contrasts": contrasts or [{"modality": "t2", "before": 0.25, "after": 0.75}],
            "fixed_to_moving": matrix.tolist(),
            "outputs": {},
            "provenance": {"engine": "mattes", "kind": "rigid", "seconds": 2.0, "warnings": [], **more},
        }
    )
    child.process.code = 0
    poll(panel)


@pytest.fixture
def paired(ready, scenes, child):
    """The panel after a synthesis, with pre-operative MR loaded, everything proposed."""
    apply(ready)
    finish(ready, child)
    scenes.volume("preop_T2w")
    scenes.volume("preop_t1_gd")
    ready.ui.proposeButton.click()
    return ready


def test_register_says_what_is_missing(panel, scenes):
    assert panel.ui.registerButton.enabled is False
    assert "Choose a synthetic MR" in panel.ui.registrationState.text
    volume = scenes.volume("A")
    panel.ui.t2Synthetic.setCurrentNode(volume)
    panel.ui.cet1Preop.setCurrentNode(scenes.volume("B"))
    assert panel.ui.registerButton.enabled is False
    panel.ui.t2Preop.setCurrentNode(volume)
    assert "choose different volumes" in panel.ui.registrationState.text and panel.ui.registerButton.enabled is False


def test_the_last_run_and_the_loaded_mr_are_proposed(paired):
    assert paired.ui.t2Synthetic.currentNode().GetName() == "Doe-US synthetic T2 (MMHVAE)"
    assert paired.ui.t2Preop.currentNode().GetName() == "preop_T2w"
    assert paired.ui.cet1Preop.currentNode().GetName() == "preop_t1_gd"
    assert paired.ui.flairPreop.currentNode() is None and paired.ui.registerButton.enabled is True
    assert "Proposed" in paired.ui.registrationState.text and "please check" in paired.ui.registrationState.text


def test_mr_that_the_synthesis_was_made_from_is_not_proposed(slicer, paired):
    synthetic, t2 = paired.ui.t2Synthetic.currentNode(), paired.ui.t2Preop.currentNode()
    synthetic.SetNodeReferenceID("MMHVAE.input.t2", t2.GetID())
    paired.ui.proposeButton.click()
    assert paired.ui.t2Preop.currentNode() is None and paired.ui.cet1Preop.currentNode().GetName() == "preop_t1_gd"
    paired.ui.t2Preop.setCurrentNode(t2)
    assert "from the ultrasound alone" in paired.ui.registrationState.text and not paired.ui.registerButton.enabled


def test_several_mr_that_speak_for_a_contrast_are_left_to_the_user(paired, scenes):
    scenes.volume("T2 of last year")
    paired.ui.proposeButton.click()
    assert paired.ui.t2Preop.currentNode() is None and "preop_T2w, T2 of last year" in paired.ui.registrationState.text


def test_the_proposed_mr_is_of_the_ultrasounds_patient(slicer, paired, scenes):
    """And of any where none is of that one: the ultrasound may have been exported under another ID."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()

    def belong(node, patient):
        item = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), patient)
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), item)

    def proposed():
        paired.ui.proposeButton.click()
        nodes = [getattr(paired.ui, f"{modality}Preop").currentNode() for modality in ("t2", "cet1")]
        return [node.GetName() for node in nodes if node is not None]

    t2, cet1 = paired.ui.t2Preop.currentNode(), paired.ui.cet1Preop.currentNode()
    belong(paired.ui.usSelector.currentNode(), "Doe")
    belong(cet1, "Roe")
    assert proposed() == ["preop_T2w", "preop_t1_gd"]
    belong(t2, "Doe")
    belong(scenes.volume("T2 TSE"), "Roe")
    assert proposed() == ["preop_T2w"]
    assert "of another patient: preop_t1_gd." in paired.ui.registrationState.text


def test_unfolding_proposes_where_nothing_is_chosen(ready, scenes, child):
    apply(ready)
    finish(ready, child)
    scenes.volume("preop_T2w")
    assert ready.ui.t2Synthetic.currentNode() is None
    ready.ui.registrationButton.setCollapsed(False)
    assert ready.ui.t2Synthetic.currentNode() is not None and ready.ui.t2Preop.currentNode().GetName() == "preop_T2w"
    ready.ui.t2Synthetic.setCurrentNode(None)
    ready.ui.registrationButton.setCollapsed(True)
    ready.ui.registrationButton.setCollapsed(False)
    assert ready.ui.t2Synthetic.currentNode() is None, "what the user chose stays"


def test_landmarks_are_kept_in_the_scene_and_the_engine_in_the_settings(slicer, panel, module):
    from slicer_headless.modules import open_panel

    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Sulci")
    panel.ui.fixedLandmarks.setCurrentNode(points)
    panel.ui.engineSelector.currentIndex = 3
    again = open_panel(module)
    assert again.ui.fixedLandmarks.currentNode() is points and again.panel.registration._engine() == "brainsfit"
    again.cleanup()


def test_a_registration_that_keeps_the_start_does_not_say_registered(paired, child):
    paired.ui.registerButton.click()
    end(paired, child, np.eye(4), kept_start=True)
    assert "Left where it was" in paired.ui.statusLabel.text and "Registered" not in paired.ui.statusLabel.text


def test_a_registration_moves_the_mr_and_what_was_checked_and_is_taken_back(slicer, paired, scenes, child, moved):
    plan = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "Tractography")
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "Probe")
    paired.panel.update()
    items = paired.ui.alsoList
    names = [items.item(row).text() for row in range(items.count)]
    assert names == ["Tractography", "Probe"]
    import qt

    items.item(0).setCheckState(qt.Qt.Checked)
    paired.panel.update()
    before = scenes.picture()
    paired.ui.affineCheckBox.checked = True
    paired.ui.engineSelector.currentIndex = 2
    paired.ui.deviceSelector.currentIndex = 1
    paired.ui.registerButton.click()
    assert "Proposed" not in paired.ui.registrationState.text
    from MMHVAESynthesisLib.__main__ import parser

    args = parser().parse_args(child.calls[-1])
    assert args.command == "register" and args.synthetic_t2 and args.t2 and args.us and args.cet1
    assert (args.kind, args.engine, args.device, args.flair) == ("affine", "mattes", "cpu", None)
    assert args.starts == 4
    assert paired.ui.registerButton.enabled is False and paired.ui.applyButton.text == "Cancel"
    end(paired, child, moved)
    mr, transform = paired.ui.t2Preop.currentNode(), paired.panel.registration._last()
    assert mr.GetParentTransformNode() is plan.GetParentTransformNode() is transform
    assert other.GetParentTransformNode() is None
    matrix = slicer.util.arrayFromTransformMatrix(transform)
    # Moving to fixed in RAS: the inverse, with the first two axes turned round.
    np.testing.assert_allclose(matrix[:3, 3], (3.0, -2.0, -1.0))
    assert "0.250 → 0.750" in paired.ui.registrationState.text and "Registered" in paired.ui.statusLabel.text
    paired.ui.undoButton.click()
    assert mr.GetParentTransformNode() is None and plan.GetParentTransformNode() is None
    assert len(scenes.picture()["nodes"]) == len(before["nodes"]) and paired.ui.undoButton.enabled is False


def test_without_a_search_the_present_placement_is_refined(paired, child):
    from MMHVAESynthesisLib.__main__ import parser

    assert paired.ui.searchCheckBox.checked is True
    paired.ui.searchCheckBox.checked = False
    paired.ui.registerButton.click()
    assert parser().parse_args(child.calls[-1]).starts == 1
    cancel(paired)


def test_missing_contrasts_are_completed_by_the_child_with_the_model_of_the_run(
    ready, scenes, child, offer, model_path
):
    from MMHVAESynthesisLib.__main__ import parser

    from .conftest import BUNDLED

    offer([BUNDLED])
    apply(ready)
    finish(ready, child, model="little")
    scenes.volume("preop_T2w")
    ready.ui.proposeButton.click()

    def arguments():
        ready.ui.registerButton.click()
        cancel(ready)
        child.process.code = 8
        poll(ready)
        return parser().parse_args(child.calls[-1])

    assert arguments().model == model_path, "in the session of the run a file is known too"
    ready.panel._models.clear()
    args = arguments()
    assert args.completion is True and args.model == "little", "later on, by the name that the volumes have noted"
    assert args.t2 and args.synthetic_t2 and args.synthetic_cet1 and args.synthetic_flair and not args.cet1
    ready.ui.completionCheckBox.checked = False
    args = arguments()
    assert args.completion is False and args.synthetic_t2 and args.synthetic_cet1 is None
    ready.ui.completionCheckBox.checked = True
    offer([])
    args = arguments()
    assert args.completion is False and args.model is None, "the model is gone, and another one does not fit"
    for index, completes in enumerate((True, True, False, False)):
        ready.ui.engineSelector.currentIndex = index
        assert ready.ui.completionCheckBox.enabled is completes


def test_the_figures_and_take_back_name_their_registration(slicer, paired, scenes, child, moved):
    tip = paired.ui.undoButton.toolTip
    paired.ui.registerButton.click()
    end(paired, child, moved)
    name = "preop_T2w to ultrasound (MMHVAE)"
    paired.ui.t2Preop.setCurrentNode(scenes.volume("T2 of somebody else"))
    first, *figures = paired.ui.registrationState.text.splitlines()
    assert first == f"'{name}':" and "0.250 → 0.750" in figures[0]
    assert paired.ui.undoButton.toolTip == f"'{name}': {tip}"
    paired.panel.registration._last().SetName("Doe's")
    settle()
    assert paired.ui.registrationState.text.startswith("'Doe's':")
    assert paired.ui.undoButton.toolTip.startswith("'Doe's': ")
    paired.ui.undoButton.click()
    assert paired.ui.undoButton.toolTip == tip


def test_what_was_completed_is_told_with_the_figures(paired, child, moved):
    paired.ui.registerButton.click()
    contrast = {"modality": "cet1", "before": 0.1, "after": 0.2, "completed": True}
    end(paired, child, moved, contrasts=[contrast], completed=["cet1"], completed_from=["t2"])
    assert "Similarity of ceT1 (completed from T2) (LNCC): 0.100 → 0.200" in paired.ui.registrationState.text
    transform = paired.panel.registration._last()
    assert transform.GetAttribute("MMHVAE.completedFrom") == '["t2"]'


def test_landmarks_give_the_error_before_and_after(slicer, paired, child, moved):
    for name, shift in (("fixedLandmarks", (0, 0, 0)), ("movingLandmarks", (-3.0, 2.0, 1.0))):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
        for point in ((0, 0, 0), (10, 0, 0), (0, 20, 5), (7, 7, 7)):
            node.AddControlPoint(np.add(point, shift).tolist())
        getattr(paired.ui, name).setCurrentNode(node)
    paired.ui.registerButton.click()
    end(paired, child, moved)
    assert "Landmark error, mean of 4 points: 3.74 → 0.00 mm" in paired.ui.registrationState.text


def test_register_follows_the_landmarks_as_they_are_placed_and_removed(slicer, paired):
    names = ("fixedLandmarks", "movingLandmarks")
    nodes = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name) for name in names]
    for node in nodes:
        getattr(paired.ui, node.GetName()).setCurrentNode(node)
    assert paired.ui.registerButton.enabled is False

    def can_register(change, *arguments):
        change(*arguments)
        settle()
        return paired.ui.registerButton.enabled

    assert not can_register(nodes[0].AddControlPoint, [0, 0, 0])
    assert can_register(nodes[1].AddControlPoint, [1, 2, 3])
    assert not can_register(nodes[1].UnsetNthControlPointPosition, 0)
    assert can_register(nodes[1].SetNthControlPointPosition, 0, 1, 2, 4)
    assert not can_register(nodes[0].RemoveNthControlPoint, 0)
    assert "1 in the MR" in paired.ui.registrationState.text
    paired.exit()
    assert paired.panel.registration.Observations == []


def test_a_registration_of_a_synthetic_volume_says_so(paired, child, moved):
    paired.ui.t2Preop.currentNode().SetAttribute("MMHVAE.synthetic", "1")
    paired.ui.registerButton.click()
    end(paired, child, moved, warnings=["Odd."])
    text = paired.ui.warningsLabel.text
    assert "Odd." in text and "'preop_T2w' is itself synthetic" in text


def test_cancel_and_failure_leave_everything_where_it_is(paired, scenes, child):
    before = scenes.picture()
    paired.ui.registerButton.click()
    cancel(paired)
    child.process.code = 8
    poll(paired)
    assert scenes.picture() == before and paired.ui.registerButton.enabled is True
    paired.ui.registerButton.click()
    child.process.say(error="No overlap.", kind="InputError", exit_code=3)
    child.process.code = 3
    poll(paired)
    assert paired.ui.statusLabel.text.startswith("No overlap.") and scenes.picture() == before


def test_mr_that_was_moved_meanwhile_is_told(paired, scenes, child, moved):
    paired.ui.registerButton.click()
    scenes.parent(paired.ui.t2Preop.currentNode(), scenes.rotation(5))
    before = scenes.picture()
    end(paired, child, moved)
    assert "was moved during the registration" in paired.ui.statusLabel.text and scenes.picture() == before


def test_a_doubtful_choice_is_told_before_register_is_pressed(paired, scenes, child):
    assert "⚠" not in paired.ui.registrationState.text
    paired.ui.t2Synthetic.setCurrentNode(paired.ui.cet1Synthetic.currentNode())
    paired.ui.cet1Synthetic.setCurrentNode(None)
    assert "⚠ 'Doe-US synthetic ceT1 (MMHVAE)' is given as the synthetic T2" in paired.ui.registrationState.text
    assert paired.ui.registerButton.enabled is True
    paired.ui.t2Synthetic.setCurrentNode(None)
    assert "⚠" not in paired.ui.registrationState.text


@pytest.mark.parametrize("which", ["t2Preop", "t2Synthetic"])
def test_a_registration_ends_with_the_volumes_that_it_is_of(slicer, paired, child, which):
    """Its result would have no place: who waits for it waits for nothing, and cannot begin another."""
    paired.ui.registerButton.click()
    slicer.mrmlScene.RemoveNode(getattr(paired.ui, which).currentNode())
    assert "left the scene meanwhile" in paired.ui.statusLabel.text
    assert child.process.deeds == ["ask_to_stop"] and paired.ui.applyButton.text == "Apply"


def test_the_fade_goes_from_the_synthetic_to_the_mr(slicer, paired, child, moved):
    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    paired.ui.registerButton.click()
    end(paired, child, moved)
    shown = [
        slicer.mrmlScene.GetNodeByID(each)
        for each in (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID())
    ]
    assert [each.GetName() for each in shown] == ["Doe-US synthetic T2 (MMHVAE)", "preop_T2w"]
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    other.SetForegroundVolumeID(composite.GetForegroundVolumeID())
    other.SetForegroundOpacity(0.3)
    paired.ui.fadeSlider.value = 0.8
    assert composite.GetForegroundOpacity() == pytest.approx(0.8)
    assert other.GetForegroundOpacity() == pytest.approx(0.3), "a view that shows something else is the user's own"
    paired.ui.beforeCheckBox.checked = True
    paired.ui.fadeSlider.value = 0.6
    assert composite.GetForegroundOpacity() == pytest.approx(0.6)


def composite_of(slicer):
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")


def test_the_last_registration_is_looked_at_before_and_after(slicer, paired, child, moved):
    composite, ui = composite_of(slicer), paired.ui
    for widget in (ui.lookSelector, ui.beforeCheckBox, ui.fadeSlider):
        assert widget.enabled is False, "there is nothing to look at yet"
    ui.registerButton.click()
    end(paired, child, moved)
    mr, place = ui.t2Preop.currentNode(), ui.t2Preop.currentNode().GetTransformNodeID()

    def shown(layer):
        node_id = getattr(composite, f"Get{layer}VolumeID")()
        return slicer.mrmlScene.GetNodeByID(node_id) if node_id else None

    assert shown("Foreground") is mr and ui.fadeSlider.enabled is True
    assert "preop_T2w" in ui.fadeSlider.toolTip
    ui.beforeCheckBox.checked = True
    assert shown("Foreground").GetName() == "preop_T2w before the registration" and mr.GetTransformNodeID() == place
    ui.lookSelector.currentIndex = 1
    assert shown("Background") is ui.t2Synthetic.currentNode() and "and preop_T2w" in shown("Foreground").GetName()
    assert ui.fadeSlider.enabled is False
    ui.lookSelector.currentIndex = 0
    ui.beforeCheckBox.checked = False
    assert shown("Foreground") is mr
    ui.lookSelector.currentIndex = 1
    ui.undoButton.click()
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
    assert not any("before the registration" in name or " and " in name for name in names)
    assert shown("Background") is ui.t2Synthetic.currentNode(), "the views do not go blank"
    assert ui.lookSelector.enabled is False


def test_the_look_says_what_the_views_show_in_another_scene_and_after_taking_back(
    slicer, paired, child, moved, tmp_path
):
    ui, composite = paired.ui, composite_of(slicer)
    for look in (0, 1):
        ui.registerButton.click()
        end(paired, child, moved)
        ui.beforeCheckBox.checked = True
        ui.lookSelector.currentIndex = look
        paired.exit()
        paired.enter()
        assert ui.beforeCheckBox.checked is True and ui.lookSelector.currentIndex == look, "the views show it still"
        if look == 0:
            ui.undoButton.click()
            assert ui.beforeCheckBox.checked is False and ui.undoButton.enabled is False
    slicer.util.saveScene(str(tmp_path / "case.mrb"), {})
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "case.mrb"), {})
    assert ui.beforeCheckBox.checked is False and ui.lookSelector.currentIndex == 0
    assert ui.undoButton.enabled is True and composite is not None


def test_what_was_synthesised_from_the_mr_is_proposed_to_move_with_it(paired, scenes, child, moved):
    from qt import Qt

    from MMHVAESynthesisLib.scene import outputs

    t2 = paired.ui.t2Preop.currentNode()
    made = outputs.add(scenes.result({"t2": t2}, targets=("flair",)), {"t2": t2})["flair"]
    settle()
    items = paired.ui.alsoList
    listed = {items.item(row).text(): items.item(row) for row in range(items.count)}
    assert paired.ui.t2Synthetic.currentNode().GetName() not in listed
    assert listed[made.GetName()].checkState() == Qt.Checked
    other = scenes.volume("other_T2")
    ticks = []
    for mr in (other, t2):
        paired.ui.t2Preop.setCurrentNode(mr)
        listed = {items.item(row).text(): items.item(row) for row in range(items.count)}
        ticks.append(listed[made.GetName()].checkState())
    assert ticks == [Qt.Unchecked, Qt.Checked]
    paired.ui.registerButton.click()
    end(paired, child, moved)
    assert made.GetTransformNodeID() == t2.GetTransformNodeID() is not None


def test_a_look_that_is_not_possible_any_more_is_told(slicer, paired, child, moved):
    paired.ui.registerButton.click()
    end(paired, child, moved)
    paired.ui.t2Preop.currentNode().SetAndObserveTransformNodeID(None)
    paired.ui.beforeCheckBox.checked = True
    assert "lies no longer under" in paired.ui.statusLabel.text


def test_the_engine_that_needs_pytorch_says_so_where_there_is_none(paired):
    paired.panel._torch = "PyTorch is not installed."
    paired.panel.update()
    assert paired.ui.registerButton.enabled is True, "there are other engines"
    paired.ui.engineSelector.currentIndex = 1
    assert paired.ui.registerButton.enabled is False
    assert "PyTorch is not installed. Or choose another engine." in paired.ui.registrationState.text


def test_a_slicer_without_brainsfit_says_so_and_what_else_to_choose(paired):
    paired.ui.engineSelector.currentIndex = 3
    assert paired.ui.registerButton.enabled is False
    assert (
        "has no module BRAINSFit" in paired.ui.registrationState.text and "'lncc'" in paired.ui.registrationState.text
    )
    paired.ui.engineSelector.currentIndex = 0
    assert paired.ui.registerButton.enabled is True


def test_the_child_gets_the_whole_path_of_a_model_file(module, monkeypatch, tmp_path):
    from app.fakes import FakeStart
    from MMHVAESynthesisLib.app.registration_job import RegistrationJob
    from MMHVAESynthesisLib.request import RegistrationRequest
    from registration import phantom

    (tmp_path / "own.pth").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    head, start = phantom.head(size=24), FakeStart()
    field = phantom.field(head, size=(12, 12, 12))
    RegistrationJob(RegistrationRequest({"t2": field}, {"t2": head}, model="own.pth"), start).kill()
    assert start.option("--model") == str(tmp_path / "own.pth")


def test_the_child_registers_as_the_library_does(module):
    import time

    from MMHVAESynthesisLib.app import process
    from MMHVAESynthesisLib.app.jobs import DONE, RUNNING
    from MMHVAESynthesisLib.app.registration_job import RegistrationJob
    from MMHVAESynthesisLib.registration.engine import register
    from MMHVAESynthesisLib.registration.transforms import matrix_of
    from MMHVAESynthesisLib.request import RegistrationRequest
    from registration import phantom

    head = phantom.head(size=96)
    field = phantom.noisy(phantom.field(head, size=(36, 34, 32)), 0.3)
    request = RegistrationRequest({"t2": field}, {"t2": head}, engine="mattes", starts=1, names={"t2": "MR"})
    job = RegistrationJob(request, process.starter())
    stop = time.monotonic() + 180
    while job.poll() == RUNNING:
        assert time.monotonic() < stop, job.log()
        time.sleep(0.05)
    assert job.state == DONE, job.log()
    direct = register(request)
    np.testing.assert_allclose(matrix_of(job.made.fixed_to_moving), matrix_of(direct.fixed_to_moving), atol=1e-6)
    assert job.made.metric_after == pytest.approx(direct.metric_after) and job.made.provenance["moving"] == {"t2": "MR"}
    assert json.dumps(job.made.provenance)
