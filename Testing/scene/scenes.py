"""Volumes, transforms and results for the suites of the scene and the module, and a picture of a scene to compare."""

from dataclasses import dataclass, field
from typing import Any, Dict, List

import numpy as np
import SimpleITK as sitk
import slicer
import vtk


@dataclass(frozen=True)
class Result:
    """Has the fields of a SynthesisResult, whose own module needs torch."""

    images: Dict[str, sitk.Image]
    uncertainty: Dict[str, sitk.Image]
    reference: str
    provenance: Dict[str, Any]
    warnings: List[str] = field(default_factory=list)


def rotation(degrees: float, axis=(1, 2, 3)) -> np.ndarray:
    transform = vtk.vtkTransform()
    transform.RotateWXYZ(degrees, *axis)
    return slicer.util.arrayFromVTKMatrix(transform.GetMatrix())


def oblique(spacing=(0.7, 1.1, 2.9), left_handed=False) -> np.ndarray:
    matrix = rotation(37) @ np.diag([*spacing, 1.0])
    matrix[:3, 3] = 12.5, -40.25, 7.125
    if left_handed:
        matrix[:3, 2] *= -1
    return matrix


def volume(name="Case27-US", matrix=None, shape=(5, 6, 7), dtype=np.uint8, seed=0):
    """A volume node of random voxels (1 to 200) with a frame of zeros in its first plane."""
    array = np.random.default_rng(seed).integers(1, 200, shape).astype(dtype)
    array[0] = 0
    return slicer.util.addVolumeFromArray(array, oblique() if matrix is None else matrix, name)


def linear(name, matrix):
    """A new linear transform."""
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    slicer.util.updateTransformMatrixFromArray(transform, matrix)
    return transform


def parent(node, matrix, name="Placement"):
    """Put a node under a new linear transform."""
    transform = linear(name, matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def folder_of(node):
    """The item of the subject hierarchy that a node lies in."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    return hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))


def result(inputs, targets=("t2", "cet1"), samples=1, seed=0) -> Result:
    """What the engine would return for ``{modality: node}``, with random voxels."""
    reference = next(iter(inputs))
    shape = inputs[reference].GetImageData().GetDimensions()[::-1]
    random = np.random.default_rng(seed)

    def images(scale):
        return {key: sitk.GetImageFromArray((random.random(shape) * scale).astype(np.float32)) for key in targets}

    provenance = {
        "software": "MMHVAE",
        "version": "0.1.0",
        "model": "demo; a:b",
        "model_digest": "ab" * 32,
        "inputs": {key: node.GetName() for key, node in inputs.items()},
        "temperature": 0.7,
        "samples": samples,
        "seed": seed,
        "warnings": [],
    }
    return Result(images(255), images(20) if samples > 1 else {}, reference, provenance)


def picture(ignore=()) -> Dict[str, Any]:
    """Everything of the scene that a run could change, comparable with ==."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    nodes = [slicer.mrmlScene.GetNthNode(index) for index in range(slicer.mrmlScene.GetNumberOfNodes())]
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    ids = [items.GetId(index) for index in range(items.GetNumberOfIds())]
    return {
        "nodes": {node.GetID(): _node_picture(node) for node in nodes if node.GetID() not in ignore},
        "items": [(item, hierarchy.GetItemName(item), hierarchy.GetItemParent(item)) for item in ids],
    }


def _node_picture(node) -> Dict[str, Any]:
    roles: List[str] = []
    node.GetNodeReferenceRoles(roles)
    picture = {
        "name": node.GetName(),
        "attributes": {name: node.GetAttribute(name) for name in node.GetAttributeNames()},
        "references": {role: node.GetNodeReferenceID(role) for role in roles if node.GetNodeReferenceID(role)},
    }
    if node.IsA("vtkMRMLVolumeNode") and node.GetImageData() is not None:
        picture["voxels"] = slicer.util.arrayFromVolume(node).tobytes()
        picture["grid"] = matrix_of(node).tobytes()
    if node.IsA("vtkMRMLScalarVolumeDisplayNode"):
        picture["window"] = (node.GetWindow(), node.GetLevel(), node.GetAutoWindowLevel(), node.GetColorNodeID())
    return picture


def matrix_of(node) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)
