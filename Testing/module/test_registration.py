"""The section Registration, with children that the test plays, and the job with a real one."""

import json

import numpy as np
import pytest

from .driving import apply, cancel, finish, poll


@pytest.fixture
def moved():
    """A (4, 4) matrix from fixed to moving points, LPS mm."""
    matrix = np.eye(4)
    matrix[:3, 3] = 3.0, -2.0, 1.0
    return matrix


def end(panel, child, matrix, **more):
    """Let the child end with a transform."""
    child.process.say(
        result={
            "metric_before": 0.25,
            "metric_after": 0.75,
            "confidence_mm": 0.4,
            "moved_mm": 3.7,
            "overlap": 0.9,
            "kept_start": False,
            "contrasts": [{"modality": "t2", "before": 0.25, "after": 0.75}],
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
    paired.ui.registerButton.click()
    from MMHVAESynthesisLib.__main__ import parser

    args = parser().parse_args(child.calls[-1])
    assert args.command == "register" and args.synthetic_t2 and args.t2 and args.us and args.cet1
    assert (args.kind, args.engine, args.flair) == ("affine", "mattes", None)
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


def test_landmarks_give_the_error_before_and_after(slicer, paired, child, moved):
    for name, shift in (("fixedLandmarks", (0, 0, 0)), ("movingLandmarks", (-3.0, 2.0, 1.0))):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
        for point in ((0, 0, 0), (10, 0, 0), (0, 20, 5), (7, 7, 7)):
            node.AddControlPoint(np.add(point, shift).tolist())
        getattr(paired.ui, name).setCurrentNode(node)
    paired.ui.registerButton.click()
    end(paired, child, moved)
    assert "Landmark error, mean: 3.74 → 0.00 mm" in paired.ui.registrationState.text


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


def test_the_fade_goes_from_the_synthetic_to_the_mr(slicer, paired, child, moved):
    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    paired.ui.registerButton.click()
    end(paired, child, moved)
    shown = [
        slicer.mrmlScene.GetNodeByID(each)
        for each in (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID())
    ]
    assert [each.GetName() for each in shown] == ["Doe-US synthetic T2 (MMHVAE)", "preop_T2w"]
    paired.ui.fadeSlider.value = 0.8
    assert composite.GetForegroundOpacity() == pytest.approx(0.8)


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
