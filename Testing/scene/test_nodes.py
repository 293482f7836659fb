import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.errors import InputError

vtk = pytest.importorskip("vtk", reason="not installed: vtk, which comes with slicer-core")

CORNERS = [(0, 0, 0), (6, 0, 0), (0, 5, 0), (0, 0, 4), (6, 5, 4), (3, 2, 1)]


@pytest.fixture
def nodes(scene):
    from MMHVAESynthesisLib.scene import nodes

    return nodes


def world_ras(slicer, node, ijk):
    """Where Slicer itself puts a voxel: through the volume's matrix, then point by point through the parents."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    point = matrix.MultiplyPoint([*map(float, ijk), 1.0])[:3]
    out = [0.0, 0.0, 0.0]
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, transform)
    transform.TransformPoint(point, out)
    return np.array(out)


def assert_lies_where_slicer_shows_it(slicer, node, image):
    for ijk in CORNERS:
        expected = world_ras(slicer, node, ijk) * (-1, -1, 1)
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(ijk), expected, atol=1e-9)
    i, j, k = 4, 1, 3
    assert image[i, j, k] == slicer.util.arrayFromVolume(node)[k, j, i]


def shear():
    matrix = np.eye(4)
    matrix[0, 1], matrix[2, 0] = 0.3, -0.15
    return matrix


@pytest.mark.parametrize("left_handed", [False, True])
def test_an_oblique_anisotropic_volume_keeps_its_place(slicer, nodes, scenes, left_handed):
    node = scenes.volume(matrix=scenes.oblique(left_handed=left_handed))
    image = nodes.to_image(node, "The iUS")
    assert_lies_where_slicer_shows_it(slicer, node, image)
    np.testing.assert_allclose(image.GetSpacing(), (0.7, 1.1, 2.9), rtol=1e-12)
    assert (np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) < 0) == left_handed


@pytest.mark.parametrize("kind", ["translation", "rotation", "scale", "reflection", "shear"])
def test_a_linear_parent_moves_the_image(slicer, nodes, scenes, kind):
    matrices = {
        "translation": np.eye(4) + np.array([[0, 0, 0, 10], [0, 0, 0, -3], [0, 0, 0, 4.5], [0, 0, 0, 0]]),
        "rotation": scenes.rotation(71, (3, -1, 2)),
        "scale": np.diag([1.5, 0.5, 2.0, 1.0]),
        "reflection": np.diag([-1.0, 1.0, 1.0, 1.0]),
        "shear": shear(),
    }
    node = scenes.volume()
    before = nodes.to_image(node, "The iUS")
    scenes.parent(node, matrices[kind])
    image = nodes.to_image(node, "The iUS")
    assert_lies_where_slicer_shows_it(slicer, node, image)
    assert not np.allclose(
        image.TransformIndexToPhysicalPoint((6, 5, 4)), before.TransformIndexToPhysicalPoint((6, 5, 4))
    )


def test_nested_parents_act_together(slicer, nodes, scenes):
    node = scenes.volume()
    inner = scenes.parent(node, scenes.rotation(20))
    outer = scenes.parent(inner, shear() @ np.diag([2.0, 1.0, 1.0, 1.0]))
    outer_most = scenes.parent(outer, scenes.oblique())
    assert outer_most is not None
    assert_lies_where_slicer_shows_it(slicer, node, nodes.to_image(node, "The iUS"))


def test_a_hardened_transform_gives_the_same_image(slicer, nodes, scenes):
    node = scenes.volume()
    scenes.parent(node, scenes.rotation(20) @ scenes.oblique())
    under = nodes.to_image(node, "The iUS")
    node.HardenTransform()
    hardened = nodes.to_image(node, "The iUS")
    for ijk in CORNERS:
        np.testing.assert_allclose(
            under.TransformIndexToPhysicalPoint(ijk), hardened.TransformIndexToPhysicalPoint(ijk), atol=1e-6
        )


def grid_transform(slicer):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Brain shift")
    grid = vtk.vtkImageData()
    grid.SetDimensions(4, 4, 4)
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    grid.GetPointData().GetScalars().Fill(1.0)
    vtk_grid = slicer.vtkOrientedGridTransform()
    vtk_grid.SetDisplacementGridData(grid)
    transform.SetAndObserveTransformFromParent(vtk_grid)
    return transform


@pytest.mark.parametrize("depth", [1, 2])
def test_a_non_linear_parent_is_refused_with_what_to_do(slicer, nodes, scenes, depth):
    node = scenes.volume()
    transform = grid_transform(slicer)
    child = node
    if depth == 2:
        child = scenes.parent(node, scenes.rotation(5))
    child.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match="(?s)The iUS 'Case27-US'.*non-linear.*harden the transform"):
        nodes.to_image(node, "The iUS")


def test_a_parent_that_flattens_is_refused(nodes, scenes):
    node = scenes.volume()
    scenes.parent(node, np.diag([1.0, 1.0, 0.0, 1.0]))
    with pytest.raises(InputError, match="flattened"):
        nodes.to_image(node, "The iUS")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
def test_voxel_types_come_as_they_are(slicer, nodes, scenes, dtype):
    node = scenes.volume(dtype=dtype)
    array = slicer.util.arrayFromVolume(node)
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    array[1, 1, 1], array[1, 1, 2] = limits.min, limits.max
    image = nodes.to_image(node, "The T2")
    assert sitk.GetArrayViewFromImage(image).dtype == dtype
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(image), array)


@pytest.mark.parametrize("kind", [vtk.VTK_LONG_LONG, vtk.VTK_LONG, vtk.VTK_UNSIGNED_LONG_LONG, vtk.VTK_BIT])
def test_64_bit_and_single_bit_voxels_are_cast_without_loss(slicer, nodes, scenes, kind):
    node = scenes.volume()
    data = vtk.vtkImageData()
    data.SetDimensions(3, 4, 5)
    data.AllocateScalars(kind, 1)
    for index in range(60):
        data.GetPointData().GetScalars().SetTuple1(index, index % 2 if kind == vtk.VTK_BIT else index * 10**9)
    node.SetAndObserveImageData(data)
    image = nodes.to_image(node, "The T2")
    assert image.GetPixelID() == (sitk.sitkUInt8 if kind == vtk.VTK_BIT else sitk.sitkFloat64)
    assert [image[index % 3, index // 3 % 4, index // 12] for index in (0, 7, 59)] == (
        [0, 1, 1] if kind == vtk.VTK_BIT else [0.0, 7e9, 59e9]
    )


def test_the_image_does_not_share_memory_with_the_node(slicer, nodes, scenes):
    node = scenes.volume()
    image = nodes.to_image(node, "The iUS")
    before = image[2, 2, 2]
    slicer.util.arrayFromVolume(node)[:] = 255
    assert image[2, 2, 2] == before != 255


def test_a_single_slice_and_a_one_component_vector_volume_are_taken(slicer, nodes, scenes):
    single = scenes.volume(shape=(1, 6, 7))
    assert nodes.to_image(single, "The T2").GetSize() == (7, 6, 1)
    vector = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "grey in RGB clothes")
    vector.SetAndObserveImageData(scenes.volume().GetImageData())
    assert nodes.to_image(vector, "The iUS").GetSize() == (7, 6, 5)


@pytest.mark.parametrize(
    ("class_name", "sentence"),
    [
        ("vtkMRMLLabelMapVolumeNode", "label map"),
        ("vtkMRMLSegmentationNode", "segmentation"),
        ("vtkMRMLSequenceNode", "one of its frames"),
        ("vtkMRMLDiffusionWeightedVolumeNode", "anatomical"),
        ("vtkMRMLDiffusionTensorVolumeNode", "anatomical"),
        ("vtkMRMLModelNode", "not a volume"),
        ("vtkMRMLScalarVolumeNode", "no voxels"),
    ],
)
def test_nodes_that_cannot_serve_say_what_to_choose(slicer, nodes, class_name, sentence):
    node = slicer.mrmlScene.AddNewNodeByClass(class_name, "Odd one")
    with pytest.raises(InputError, match=f"(?s)The FLAIR 'Odd one'.*{sentence}"):
        nodes.to_image(node, "The FLAIR")


def test_a_colour_volume_is_refused_with_its_number_of_components(slicer, nodes):
    colour = slicer.util.addVolumeFromArray(
        np.zeros((3, 4, 5, 3), np.uint8), name="Photo", nodeClassName="vtkMRMLVectorVolumeNode"
    )
    assert colour.GetImageData().GetNumberOfScalarComponents() == 3
    with pytest.raises(InputError, match="'Photo' has 3 values in each voxel"):
        nodes.to_image(colour, "The iUS")


def test_nodes_are_found_by_themselves_by_name_and_by_id(nodes, scenes):
    node = scenes.volume("A")
    assert nodes.found(node, "x") is nodes.found("A", "x") is nodes.found(node.GetID(), "x")


def test_a_missing_ambiguous_or_removed_node_is_refused(slicer, nodes, scenes):
    first, _ = scenes.volume("A"), scenes.volume("A")
    with pytest.raises(InputError, match="2 volumes named 'A'"):
        nodes.found("A", "The iUS")
    with pytest.raises(InputError, match="no volume named 'B'"):
        nodes.found("B", "The iUS")
    with pytest.raises(InputError, match="must be a volume node"):
        nodes.found(7, "The iUS")
    slicer.mrmlScene.RemoveNode(first)
    with pytest.raises(InputError, match="not in the scene any more"):
        nodes.found(first, "The iUS")


def test_a_node_given_twice_gives_one_image(nodes, scenes):
    node, other = scenes.volume("A"), scenes.volume("B")
    images = nodes.to_images({"us": node, "t2": other, "flair": node})
    assert images["us"] is images["flair"] is not images["t2"]


def test_voxels_of_another_size_are_a_fault(nodes, scenes):
    with pytest.raises(ValueError, match="voxels"):
        nodes.set_voxels(scenes.volume("B"), sitk.Image(3, 3, 3, sitk.sitkFloat32), scenes.volume("A"))


def test_the_grid_is_copied_to_the_last_bit(slicer, nodes, scenes):
    random = np.random.default_rng(1)
    reference, node = scenes.volume("A", shape=(2, 2, 2)), scenes.volume("B", shape=(2, 2, 2))
    image = sitk.Image(2, 2, 2, sitk.sitkFloat32)
    for _ in range(200):
        reference.SetIJKToRASDirections(*scenes.rotation(random.uniform(0, 360), random.normal(size=3))[:3, :3].ravel())
        reference.SetSpacing(*random.uniform(0.3, 3, 3))
        reference.SetOrigin(*random.normal(size=3) * 100)
        nodes.set_voxels(node, image, reference)
        assert np.abs(scenes.matrix_of(node) - scenes.matrix_of(reference)).max() == 0
