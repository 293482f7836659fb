"""What shows a registration of the scene: how far it moved the MR, in mm over the field of view, as a volume."""

from contextlib import ExitStack
from typing import Any, Union

import numpy as np
import SimpleITK as sitk
import slicer

from ..errors import InputError
from ..registration.figures import LINEAR_ONLY, displacement
from ..registration.transforms import affine_of
from . import display, provenance
from .nodes import RAS_TO_LPS, set_voxels, to_image
from .registration import DISPLACEMENT, checked, space_of, synthetic_of
from .removal import remove


def add_displacement(registration: Union[str, Any]) -> Any:
    """Add a volume of how far a registration moves the MR, and return its node: the one there is, brought up to date.

    It lies on the grid and under the parent transform of the first synthetic MR that the registration was made to, and
    is in mm, 0 outside the field of view. Its description says what a linear transform cannot show. Undoing the
    registration takes it away.

    :param registration: The transform node, or its name or ID.
    :raises InputError: when it is not the transform of a registration, lies under a non-linear one, or its synthetic MR
        left the scene.
    """
    transform = checked(registration)
    reference = synthetic_of(transform)
    if reference is None:
        raise InputError(
            f"The synthetic MR of '{transform.GetName()}' is not in the scene any more, and with it the field of view: "
            "register again."
        )
    space = space_of(transform)
    moving_to_fixed = space @ slicer.util.arrayFromTransformMatrix(transform) @ np.linalg.inv(space)
    fixed_to_moving = affine_of(RAS_TO_LPS @ moving_to_fixed @ RAS_TO_LPS).GetInverse()
    image = displacement(fixed_to_moving, to_image(reference, "The synthetic MR"))
    former = transform.GetNodeReference(DISPLACEMENT)
    if former is not None:
        set_voxels(former, image, reference)
        former.SetAndObserveTransformNodeID(reference.GetTransformNodeID())
        return former
    with ExitStack() as undo:
        node = _added(image, transform, reference, undo)
        undo.pop_all()
    return node


def _added(image: sitk.Image, transform: Any, reference: Any, undo: ExitStack) -> Any:
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName(f"{transform.GetName()} displacement in mm")
    node.SetDescription(LINEAR_ONLY)
    set_voxels(node, image, reference)
    slicer.mrmlScene.AddNode(node)
    undo.callback(remove, node)
    node.SetAndObserveTransformNodeID(reference.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    display.show(node.GetDisplayNode(), display.common_window([image]), display.HOT)
    node.SetAttribute(provenance.PREFIX + "role", provenance.ROLE_DISPLACEMENT)
    transform.SetNodeReferenceID(DISPLACEMENT, node.GetID())
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(transform))
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), folder)
    return node
