"""Results of registrations, and a picture of where everything in a scene lies, for the suites of registration."""

from typing import Any, Dict

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

from MMHVAESynthesisLib.registration.result import ContrastSimilarity, RegistrationResult
from MMHVAESynthesisLib.registration.transforms import transform_of

from . import scenes

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def motion(degrees=15.0, shift=(6.0, -4.0, 3.0), axis=(1, -2, 3)) -> np.ndarray:
    """A (4, 4) rigid matrix from moving to fixed points, RAS mm."""
    matrix = scenes.rotation(degrees, axis)
    matrix[:3, 3] = shift
    return matrix


def result(matrix: np.ndarray, modalities=("t2",), warnings=()) -> RegistrationResult:
    """What an engine would return that found ``matrix`` (RAS, moving to fixed)."""
    to_fixed = LPS @ matrix @ LPS
    return RegistrationResult(
        fixed_to_moving=transform_of(np.linalg.inv(to_fixed), np.array([1.0, 2.0, 3.0])),
        moving_to_fixed=transform_of(to_fixed, np.array([1.0, 2.0, 3.0])),
        metric_before=0.25,
        metric_after=0.75,
        confidence=0.4375,
        overlap=0.96875,
        moved=7.5,
        kept_start=False,
        contrasts=[ContrastSimilarity(modality, 0.25, 0.75) for modality in modalities],
        warnings=list(warnings),
        seconds=1.5,
        provenance={
            "software": "MMHVAE for 3D Slicer",
            "version": "0.1.0",
            "engine": "lncc",
            "kind": "rigid",
            "seconds": 1.5,
        },
    )


def to_world(node) -> np.ndarray:
    """The (4, 4) matrix by which Slicer itself shows a node's points, RAS; point by point through all parents."""
    general = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, general)
    points = [general.TransformPoint(point) for point in np.vstack([np.zeros(3), np.eye(3)]).tolist()]
    matrix = np.eye(4)
    matrix[:3, :3] = (np.array(points[1:]) - points[0]).T
    matrix[:3, 3] = points[0]
    return matrix


def voxel_in_world(node, ijk) -> np.ndarray:
    """Where Slicer shows a voxel, RAS mm."""
    return (to_world(node) @ scenes.matrix_of(node) @ [*ijk, 1.0])[:3]


def everything() -> Dict[str, Any]:
    """The scene's picture, with the matrix of every linear transform."""
    picture = scenes.picture()
    picture["matrices"] = {
        node.GetID(): slicer.util.arrayFromTransformMatrix(node).tobytes()
        for node in slicer.util.getNodesByClass("vtkMRMLLinearTransformNode")
    }
    return picture


def volume_of(image: sitk.Image, name: str, placed: np.ndarray = None):
    """A volume node that shows an image (LPS) at its place, under a new transform ``placed`` (RAS) if one is given."""
    to_lps = np.eye(4)
    to_lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    to_lps[:3, 3] = image.GetOrigin()
    matrix = LPS @ to_lps
    if placed is not None:
        matrix = np.linalg.inv(placed) @ matrix
    node = slicer.util.addVolumeFromArray(sitk.GetArrayFromImage(image), matrix, name)
    if placed is not None:
        scenes.parent(node, placed, f"Placement of {name}")
    return node


def markups(name: str, points, placed: np.ndarray = None):
    """A list of points at world positions (RAS mm), under a new transform if one is given."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    if placed is not None:
        scenes.parent(node, placed, f"Placement of {name}")
    for point in points:
        node.AddControlPointWorld(*point)
    return node


def non_linear():
    """A grid transform node in the scene."""
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Brain shift")
    grid = vtk.vtkImageData()
    grid.SetDimensions(4, 4, 4)
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    grid.GetPointData().GetScalars().Fill(1.0)
    vtk_grid = slicer.vtkOrientedGridTransform()
    vtk_grid.SetDisplacementGridData(grid)
    transform.SetAndObserveTransformFromParent(vtk_grid)
    return transform
