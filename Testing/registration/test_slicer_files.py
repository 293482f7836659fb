"""The transform's files, read and written by Slicer's own code."""

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.registration import transforms

from . import phantom

MOTION = phantom.motion((5, -8, 12), (4, -3, 6))
RAS = np.array([-1.0, -1.0, 1.0])


@pytest.fixture
def path(tmp_path, request):
    return transforms.write(transforms.transform_of(MOTION, phantom.CENTRE), tmp_path / f"T{request.param}")


@pytest.mark.parametrize("path", transforms.WRITABLE, indirect=True)
@pytest.mark.parametrize("parent_shift", [(0, 0, 0), (30, -20, 10)], ids=["", "under a parent"])
def test_put_over_the_moving_volume_it_moves_a_marked_voxel_onto_the_fixed_one(scene, slicer, path, parent_shift):
    fixed_point = phantom.CENTRE + [11, -7, 5]
    moving_point = MOTION[:3, :3] @ fixed_point + MOTION[:3, 3]
    node = slicer.util.loadTransform(str(path))
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    volume.SetAndObserveTransformNodeID(node.GetID())
    parent = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = parent_shift
    slicer.util.updateTransformMatrixFromArray(parent, matrix)
    node.SetAndObserveTransformNodeID(parent.GetID())
    world = [0.0, 0.0, 0.0]
    volume.TransformPointToWorld((moving_point * RAS).tolist(), world)
    assert np.allclose(world, fixed_point * RAS + parent_shift, atol=1e-4)


@pytest.mark.parametrize("path", [".h5"], indirect=True)
def test_what_slicer_saves_is_read_back_the_same(scene, slicer, path, tmp_path):
    node = slicer.util.loadTransform(str(path))
    for ending in (".h5", ".tfm"):
        again = tmp_path / f"again{ending}"
        assert slicer.util.saveNode(node, str(again), {})
        read = transforms.read(again)
        assert np.allclose(transforms.matrix_of(read), MOTION, atol=1e-6)
        assert isinstance(read, sitk.Transform)
