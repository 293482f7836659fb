"""The two lists of landmarks in the section Registration."""

import numpy as np

from .driving import apply, finish
from .test_registration import end


def test_one_list_chosen_twice_is_followed_once_and_refused(slicer, panel, scenes):
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Sulci")
    panel.ui.t2Synthetic.setCurrentNode(scenes.volume("Synthetic"))
    panel.ui.t2Preop.setCurrentNode(scenes.volume("MR", seed=1))
    panel.ui.fixedLandmarks.setCurrentNode(points)
    panel.ui.movingLandmarks.setCurrentNode(points)
    panel.panel.update()
    for place in np.eye(3).tolist():
        points.AddControlPoint(place)
    panel.panel.update()
    said = "'Sulci' is given as the landmarks in the ultrasound and as those in the MR: give two lists"
    assert said in panel.ui.registrationState.text
    assert panel.ui.registerButton.enabled is False
    watched = panel.panel.registration._watched
    assert [node for node in watched if node is points] == [points]
    of_points = [each for each in panel.panel.registration.Observations if each[0] is points]
    assert len(of_points) == 5, "changes, and four events of points"


def test_lists_that_share_some_labels_only_are_warned_of_with_the_result(slicer, ready, scenes, child):
    apply(ready)
    finish(ready, child)
    scenes.volume("preop_T2w")
    ready.ui.proposeButton.click()
    for selector, labels in ((ready.ui.fixedLandmarks, "AB"), (ready.ui.movingLandmarks, "AC")):
        points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"Sulci {labels}")
        for place, label in zip(np.eye(3).tolist(), labels):
            points.SetNthControlPointLabel(points.AddControlPoint(place), label)
        selector.setCurrentNode(points)
    ready.ui.registerButton.click()
    end(ready, child, np.eye(4))
    text = ready.ui.warningsLabel.text
    assert text.count("('B' in the ultrasound was paired with 'C' in the MR, by their order)") == 1
    assert not ready.ui.warningsLabel.isHidden()
