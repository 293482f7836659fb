import numpy as np
import pytest


@pytest.fixture
def views(scene):
    from slicer_headless import views

    return views


def pixels(path):
    vtk = pytest.importorskip("vtk")
    from vtk.util.numpy_support import vtk_to_numpy

    reader = vtk.vtkPNGReader()
    reader.SetFileName(str(path))
    reader.Update()
    image = reader.GetOutput()
    width, height, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, 3)[::-1]


def steps(slicer, name, window, colours="vtkMRMLColorTableNodeGrey"):
    """A volume whose left half is 50 and whose right half is 150, as seen in an axial view."""
    array = np.full((3, 40, 40), 50, np.float32)
    array[:, :, 20:] = 150
    node = slicer.util.addVolumeFromArray(array, np.diag([-1.0, -1.0, 1.0, 1.0]), name)
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevelMinMax(*window)
    node.GetDisplayNode().SetAndObserveColorNodeID(colours)
    return node


def test_each_volume_is_drawn_with_its_own_window_and_colours(slicer, views, tmp_path):
    nodes = [
        steps(slicer, "a", (0, 200)),
        steps(slicer, "b", (100, 200)),
        steps(slicer, "c", (0, 200), "vtkMRMLColorTableNodeRed"),
    ]
    before = slicer.mrmlScene.GetNumberOfNodes()
    views.save_slices(nodes, tmp_path / "views.png", size=(100, 100))
    picture = pixels(tmp_path / "views.png")
    assert picture.shape == (100, 300, 3)
    left, right = picture[50, 25::100], picture[50, 75::100]
    np.testing.assert_allclose(left[0], 64, atol=3)
    np.testing.assert_allclose(right[0], 191, atol=3)
    np.testing.assert_allclose(left[1], 0, atol=3)
    np.testing.assert_allclose(right[1], 127, atol=3)
    assert right[2][0] > 150 and right[2][1] < 30 and right[2][2] < 30
    assert slicer.mrmlScene.GetNumberOfNodes() == before, "the views leave nothing behind"


def test_a_volume_under_a_transform_is_shown_and_rows_are_filled(slicer, views, tmp_path):
    from scene import scenes

    nodes = [steps(slicer, str(index), (0, 200)) for index in range(3)]
    scenes.parent(nodes[2], scenes.rotation(30))
    views.save_slices(nodes, tmp_path / "views.png", size=(100, 100), columns=2)
    picture = pixels(tmp_path / "views.png")
    assert picture.shape == (200, 200, 3)
    assert picture[130:170, 30:70].mean() > 50 and picture[110:190, 110:190].max() == 0
