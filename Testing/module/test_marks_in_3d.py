"""SYNTHETIC in 3D views: in the pixels that Slicer's own displayable managers draw."""

import numpy as np
import pytest

from .driving import marks_on_views


@pytest.fixture
def layout(layout, module):
    """The views, with the marks put on them as at Slicer's start."""
    with marks_on_views(module):
        yield layout


@pytest.fixture
def view(layout):
    return layout.threeDWidget(0)


def is_marked(view):
    """Whether the upper right corner of the picture has the yellow of the word."""
    from vtk.util.numpy_support import vtk_to_numpy

    image = view.picture()
    width, height, _ = image.GetDimensions()
    pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3]
    corner = pixels[: height // 5, width // 3 :].astype(int)
    return int(((corner[..., 0] > 150) & (corner[..., 1] > 120) & (corner[..., 2] < 120)).sum()) > 50


@pytest.fixture
def volume(slicer, scene):
    """A bright box, of which a mark says whether it is synthetic."""

    def make(synthetic):
        voxels = np.zeros((20, 20, 20), np.float32)
        voxels[5:15, 5:15, 5:15] = 200
        node = slicer.util.addVolumeFromArray(voxels, np.diag([2.0, 2.0, 2.0, 1.0]), "Box")
        if synthetic:
            node.SetAttribute("MMHVAE.synthetic", "1")
        return node

    return make


def rendered(slicer, node):
    """Show a volume by volume rendering, and return the display node."""
    display = slicer.modules.volumerendering.logic().CreateDefaultVolumeRenderingNodes(node)
    display.SetVisibility(True)
    return display


def test_volume_rendering_is_marked_as_long_as_it_is_shown_there(slicer, view, volume):
    assert not is_marked(view)
    rendered(slicer, volume(False))
    assert not is_marked(view), "an acquired volume is none"
    display = rendered(slicer, volume(True))
    assert is_marked(view)
    display.SetVisibility(False)
    assert not is_marked(view)
    display.SetVisibility(True)
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLViewNode", "Another view")
    display.RemoveAllViewNodeIDs()
    display.AddViewNodeID(other.GetID())
    assert not is_marked(view), "it is shown in another view only"


def test_slices_shown_in_3d_are_marked(slicer, layout, view, volume):
    slicer.util.setSliceViewerLayers(background=volume(True), fit=True)
    assert not is_marked(view)
    slices = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    slices[0].SetSliceVisible(True)
    assert is_marked(view)
    slicer.util.setSliceViewerLayers(background=volume(False))
    assert not is_marked(view)
    slicer.util.setSliceViewerLayers(foreground=volume(True), foregroundOpacity=0.5)
    assert is_marked(view)
    slices[0].SetSliceVisible(False)
    assert not is_marked(view)


def test_a_volume_that_becomes_synthetic_while_it_is_rendered_gets_its_mark(slicer, view, volume):
    node = volume(False)
    rendered(slicer, node)
    assert not is_marked(view)
    node.SetAttribute("MMHVAE.synthetic", "1")
    assert is_marked(view)


def test_marks_come_once_go_with_a_closed_scene_and_leave_with_the_module(slicer, layout, view, volume, module):
    from MMHVAESynthesisLib.scene import annotations

    module.prepareViews()
    module.prepareViews()
    rendered(slicer, volume(True))
    assert is_marked(view)
    props = view.renderWindow().GetRenderers().GetFirstRenderer().GetViewProps()
    texts = [props.GetItemAsObject(index) for index in range(props.GetNumberOfItems())]
    assert len([each for each in texts if each.IsA("vtkTextActor") and each.GetInput() == "SYNTHETIC"]) == 1
    slicer.mrmlScene.Clear(0)
    assert not is_marked(view)
    rendered(slicer, volume(True))
    assert is_marked(view)
    annotations.uninstall()
    assert not is_marked(view)
