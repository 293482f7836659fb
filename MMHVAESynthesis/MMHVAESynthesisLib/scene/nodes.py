"""Volume nodes to SimpleITK images in world coordinates, and results back to volume nodes.

Slicer keeps volumes in RAS and lets a node lie under parent transforms; SimpleITK images are in LPS and know no
parents. An image made here has its parents' transforms applied to its placement, not to its voxels.
"""

import zlib
from typing import Any, Dict, Mapping, Optional, Tuple, Union

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import get_vtk_array_type, vtk_to_numpy

from ..errors import InputError
from ..modalities import label
from . import provenance

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

_NOT_ONE_VOLUME = {
    "vtkMRMLLabelMapVolumeNode": "is a label map: choose the image that it was drawn on.",
    "vtkMRMLSegmentationNode": "is a segmentation: choose the image that it was drawn on.",
    "vtkMRMLSequenceNode": "is a sequence of volumes: choose one of its frames, as the sequence browser shows it.",
    "vtkMRMLMultiVolumeNode": "holds several frames: extract one of them as a scalar volume and choose that.",
    "vtkMRMLDiffusionWeightedVolumeNode": "is a diffusion-weighted series: choose a single anatomical volume.",
    "vtkMRMLDiffusionTensorVolumeNode": "holds diffusion tensors: choose a single anatomical volume.",
}
"""What to say of nodes that cannot be an input, by class, derived classes first."""


def found(node: Union[str, Any], what: str) -> Any:
    """Return the node that a user means.

    :param node: A MRML node, or the name or ID of one in the scene.
    :param what: What the node is for, as the message begins: ``The iUS``.
    :raises InputError: when there is no such node, or several of that name, or it has left the scene.
    """
    if not isinstance(node, str):
        if not isinstance(node, slicer.vtkMRMLNode):
            raise InputError(f"{what} must be a volume node or the name of one, not {type(node).__name__}.")
        if node.GetScene() is None:
            raise InputError(f"{what} '{node.GetName()}' is not in the scene any more: choose another volume.")
        check_scene(node, what)
        return node
    by_id = slicer.mrmlScene.GetNodeByID(node)
    if by_id is not None:
        return by_id
    named = [each for each in slicer.util.getNodesByClass("vtkMRMLVolumeNode") if each.GetName() == node]
    if len(named) != 1:
        count = "no volume" if not named else f"{len(named)} volumes"
        raise InputError(f"{what}: the scene has {count} named '{node}'. Give the node itself or its ID.")
    return named[0]


def check_scene(node: Any, what: str) -> None:
    """Raise InputError where a node lies in another scene than the open one: there its ID may be another node's."""
    if node.GetScene() is not slicer.mrmlScene:
        raise InputError(
            f"{what} '{node.GetName()}' lies in another scene than the one that is open, as frames inside a sequence "
            "do: give the volume that the sequence browser shows, or add a copy to the scene."
        )


def to_image(node: Any, what: str) -> sitk.Image:
    """Return a volume node as an image in world coordinates (LPS, mm); the voxels are copied once.

    Rotation, scale, reflection and shear of the parent transforms go into the image's origin, spacing and direction;
    with a sheared parent the columns of its direction are of length 1 but not at right angles. 64-bit integers become
    float64.

    :param what: What the node is for, as messages begin: ``The iUS``.
    :raises InputError: when the node is not a scalar volume with voxels, or lies under a non-linear transform.
    """
    _check_kind(node, what)
    scalars = node.GetImageData().GetPointData().GetScalars()
    array = vtk_to_numpy(scalars)
    if scalars.GetDataType() == vtk.VTK_BIT:
        array = array.astype(np.uint8)
    elif array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        array = array.astype(np.float64)
    image = sitk.GetImageFromArray(array.reshape(node.GetImageData().GetDimensions()[::-1]))
    place(image, RAS_TO_LPS @ world_matrix(node, what))
    return image


def check(node: Any, what: str) -> None:
    """Raise InputError where a volume cannot be an input; copies nothing."""
    _check_kind(node, what)
    provenance.check_image(node, what)
    world_matrix(node, what)


def _check_kind(node: Any, what: str) -> None:
    """Raise InputError unless ``node`` is a volume of one component with voxels."""
    named = f"{what} '{node.GetName()}'"
    for class_name, sentence in _NOT_ONE_VOLUME.items():
        if node.IsA(class_name):
            raise InputError(f"{named} {sentence}")
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        raise InputError(f"{named} is not a volume: choose a scalar volume.")
    data = node.GetImageData()
    if data is None or data.GetPointData().GetScalars() is None or data.GetNumberOfPoints() == 0:
        raise InputError(f"{named} has no voxels: load it again or choose another volume.")
    components = data.GetNumberOfScalarComponents()
    if components != 1:
        raise InputError(
            f"{named} has {components} values in each voxel (colour, vectors or frames): choose a volume of grey "
            "values, or make one of it with the module Vector to Scalar Volume."
        )


def state(node: Any) -> Tuple[Optional[Tuple[int, int, int]], Optional[int]]:
    """Return a volume's size and a checksum of its voxels, None where it has none: others where it was changed."""
    data = node.GetImageData()
    return None if data is None else data.GetDimensions(), checksum(node)


def checksum(node: Any) -> Optional[int]:
    """Return a checksum of a volume's voxels, None where it has none."""
    data = node.GetImageData()
    scalars = None if data is None else data.GetPointData().GetScalars()
    return None if scalars is None else zlib.crc32(np.ascontiguousarray(vtk_to_numpy(scalars)))


def world_matrix(node: Any, what: str) -> np.ndarray:
    """Return the (4, 4) float64 matrix from a volume's voxel indices (i, j, k) to world RAS in mm.

    :raises InputError: under a non-linear transform, or one that flattens the volume.
    """
    ijk_to_ras = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(ijk_to_ras)
    matrix = slicer.util.arrayFromVTKMatrix(ijk_to_ras)
    parent = node.GetParentTransformNode()
    if parent is not None:
        if not parent.IsTransformToWorldLinear():
            raise InputError(
                f"{what} '{node.GetName()}' lies under a non-linear transform ('{parent.GetName()}'): harden the "
                "transform (module Transforms, or a right click on the volume in module Data), or take the volume out "
                "of it."
            )
        to_world = vtk.vtkMatrix4x4()
        parent.GetMatrixTransformToWorld(to_world)
        matrix = slicer.util.arrayFromVTKMatrix(to_world) @ matrix
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.isfinite(matrix).all() or not lengths.all() or abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-6:
        raise InputError(f"{what} '{node.GetName()}' is flattened by its transform or has no valid placement.")
    return matrix


def place(image: sitk.Image, ijk_to_lps: np.ndarray) -> None:
    """Set origin, spacing and direction of ``image`` from a (4, 4) matrix of voxel indices to LPS."""
    spacing = np.linalg.norm(ijk_to_lps[:3, :3], axis=0)
    image.SetOrigin(ijk_to_lps[:3, 3].tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection((ijk_to_lps[:3, :3] / spacing).ravel().tolist())


def inputs_of(given: Mapping[str, Union[str, Any, None]]) -> Dict[str, Any]:
    """Return ``{modality: node}`` of what a user gave: nodes, names or IDs; modalities without a volume are left out.

    :raises InputError: as :func:`found`, and where one is a map that goes with another volume.
    """
    inputs = {str(key): found(node, f"The {label(str(key))}") for key, node in given.items() if node is not None}
    for modality, node in inputs.items():
        provenance.check_image(node, f"The {label(modality)}")
    return inputs


def to_images(nodes: Mapping[str, Any]) -> Dict[str, sitk.Image]:
    """Return ``{modality: image}`` of ``{modality: node}``.

    A node that is given twice gives the same image object twice, so that the request sees it.

    :raises InputError: as :func:`to_image`.
    """
    images: Dict[str, sitk.Image] = {}
    for modality, node in nodes.items():
        same = next((images[other] for other in images if nodes[other] is node), None)
        images[modality] = to_image(node, f"The {label(modality)}") if same is None else same
    return images


def set_voxels(node: Any, image: sitk.Image, reference: Any) -> None:
    """Give ``node`` the voxels of ``image`` and the exact grid of ``reference``; its parent transform is left alone.

    The former image data of ``node`` is let go, not written into, so that whoever holds it can put it back.

    :param image: A result on the grid of ``reference``, voxel for voxel.
    """
    size = tuple(reference.GetImageData().GetDimensions())
    if image.GetSize() != size:
        raise ValueError(f"The result has {image.GetSize()} voxels, its reference {size}.")
    voxels = sitk.GetArrayViewFromImage(image)
    data = vtk.vtkImageData()
    data.SetDimensions(size)
    data.AllocateScalars(get_vtk_array_type(voxels.dtype), 1)
    vtk_to_numpy(data.GetPointData().GetScalars()).reshape(voxels.shape)[:] = voxels
    copy_grid(node, reference)
    node.SetAndObserveImageData(data)


def copy_grid(node: Any, reference: Any) -> None:
    """Give ``node`` the spacing, origin and directions of ``reference`` to the last bit.

    CopyOrientation and SetIJKToRASMatrix go through one matrix, which costs the last bit when it is taken apart again.
    """
    directions = vtk.vtkMatrix4x4()
    reference.GetIJKToRASDirectionMatrix(directions)
    node.SetIJKToRASDirectionMatrix(directions)
    node.SetSpacing(reference.GetSpacing())
    node.SetOrigin(reference.GetOrigin())
