"""An input that is not what it was when its run began: another frame of a sequence, edited, or moved."""

import numpy as np
import pytest

from .driving import apply, poll


def another_frame(us):
    us.SetOrigin(30.0, -20.0, 10.0)


def of_another_size(us):
    import slicer

    slicer.util.updateVolumeFromArray(us, np.ones((2, 3, 4), np.uint8))


def emptied(us):
    us.SetAndObserveImageData(None)


def hardened(us):
    us.HardenTransform()


def under_another_transform(us):
    import slicer

    us.SetAndObserveTransformNodeID(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode").GetID())


@pytest.fixture
def run(slicer, ready, scenes, child):
    """Has an input changed during its run, and returns what that brought: a volume, or None, and the input."""
    us = ready.ui.usSelector.currentNode()
    scenes.parent(us, scenes.rotation(20))

    def change(how):
        made = scenes.result({"us": us}, ("t2",))
        apply(ready)
        how(us)
        child.finish(made.images)
        poll(ready)
        return slicer.mrmlScene.GetFirstNodeByName("Doe-US synthetic T2 (MMHVAE)"), us

    return change


@pytest.mark.parametrize("how", [another_frame, of_another_size, emptied])
def test_nothing_is_put_where_the_input_has_come_to_lie_since(ready, run, how):
    made, _us = run(how)
    assert made is None and ready.ui.applyButton.text == "Apply"
    assert "'Doe-US' was changed while" in ready.ui.statusLabel.text and "Apply again" in ready.ui.statusLabel.text


@pytest.mark.parametrize("how", [hardened, under_another_transform])
def test_a_result_goes_with_its_input_as_that_is_moved_as_a_whole(slicer, run, how):
    import vtk

    made, us = run(how)
    matrices = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    for node, matrix in zip((made, us), matrices):
        node.GetIJKToRASMatrix(matrix)
    assert made.GetTransformNodeID() == us.GetTransformNodeID()
    np.testing.assert_array_equal(*(slicer.util.arrayFromVTKMatrix(matrix) for matrix in matrices))


def another_frame_of_the_same_grid(us, _flair):
    import slicer

    slicer.util.updateVolumeFromArray(us, slicer.util.arrayFromVolume(us) + 1)


def moved_beside_the_reference(_us, flair):
    flair.SetOrigin(30.0, -20.0, 10.0)


def moved_together(us, flair):
    import slicer

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    slicer.util.updateTransformMatrixFromArray(transform, np.diag([1.0, -1.0, -1.0, 1.0]))
    for node in (us, flair):
        node.SetAndObserveTransformNodeID(transform.GetID())


def bent(_us, flair):
    import slicer

    flair.SetAndObserveTransformNodeID(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode").GetID())


@pytest.mark.parametrize(
    ("how", "name"),
    [
        (another_frame_of_the_same_grid, "Doe-US"),
        (moved_beside_the_reference, "Doe-FLAIR"),
        (bent, "Doe-FLAIR"),
        (moved_together, None),
    ],
)
def test_a_result_of_what_an_input_no_longer_is_says_so(slicer, ready, scenes, child, how, name):
    us, flair = ready.ui.usSelector.currentNode(), scenes.volume("Doe-FLAIR")
    ready.ui.flairSelector.setCurrentNode(flair)
    apply(ready)
    how(us, flair)
    child.finish(scenes.result({"us": us}, ("t2",)).images)
    poll(ready)
    made = slicer.mrmlScene.GetFirstNodeByName("Doe-US synthetic T2 (MMHVAE)")
    said = "" if ready.ui.warningsLabel.isHidden() else ready.ui.warningsLabel.text
    assert made is not None and (f"'{name}' has changed since" in said if name else said == "")
    assert ("Doe" in made.GetAttribute("MMHVAE.warnings")) is bool(name), "it is noted on the volume too"
