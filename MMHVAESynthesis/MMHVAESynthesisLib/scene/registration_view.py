"""A registration to look at: the synthetic and the pre-operative MR faded or in a checkerboard, before and after it.

What is shown beside the scene's own volumes are nodes that no list shows and no file keeps. A scene that is saved
meanwhile shows the volumes themselves once it is loaded: the checkerboard lies over the synthetic MR, and views note
which MR they show at its former place.
"""

from typing import Any, List, Optional, Tuple

import numpy as np
import SimpleITK as sitk
import slicer

from ..errors import InputError
from ..modalities import MODALITIES
from ..registration.figures import checkerboard_volume
from . import display, placement, provenance
from .nodes import RAS_TO_LPS, place, set_voxels, to_image, world_matrix
from .registration import FIXED, space_of
from .removal import remove

FADE, CHECKERBOARD = "fade", "checkerboard"
_FORMER = "former place"
_ROLE = provenance.PREFIX + "role"
_SHOWS = provenance.PREFIX + "shows"
"""Role of the reference to the volume that a node is shown in place of: from that node, and from the views that do."""
_BEFORE = provenance.PREFIX + "before"
"""Attribute of a checkerboard of how the MR lay before the registration."""
_OPACITY = provenance.PREFIX + "formerOpacity"
"""Attribute of the views that show the checkerboard: their foreground's opacity from before it."""


def show(transform: Any, kind: str, before: bool, opacity: float) -> Tuple[Any, Any]:
    """Show a registration in all slice views, and return the synthetic and the pre-operative MR that are compared.

    :param transform: The registration's transform node.
    :param kind: :data:`FADE`: the MR over the synthetic one; or :data:`CHECKERBOARD`.
    :param before: Show the MR where it lay before the registration.
    :param opacity: Of the MR in a fade, 0 to 1.
    :raises InputError: when a volume left the scene, or the MR lies no longer under the registration, or under a
        non-linear transform.
    """
    synthetic, moving = pair(transform)
    matrix = _former_place(transform, moving) if before else world_matrix(moving, "The pre-operative MR")
    if kind == CHECKERBOARD:
        clear(_FORMER)
        board = _checkerboard(synthetic, moving, matrix)
        board.SetAttribute(_BEFORE, "1" if before else None)
        _note_opacity()
        slicer.util.setSliceViewerLayers(background=synthetic, foreground=board, foregroundOpacity=1.0)
    else:
        clear(CHECKERBOARD)
        over = _at_former_place(moving, matrix) if before else moving
        slicer.util.setSliceViewerLayers(background=synthetic, foreground=over, foregroundOpacity=opacity)
        for composite in _composites():
            composite.SetNodeReferenceID(_SHOWS, moving.GetID() if before else None)
    return synthetic, moving


def looked_at() -> Tuple[Optional[str], bool]:
    """Return how the views show a registration: :data:`FADE` or :data:`CHECKERBOARD`, and whether before it.

    None where no node says so, as of the MR itself at its place after the registration, and in a scene just loaded.
    """
    board = _found(CHECKERBOARD)
    if board is not None:
        return CHECKERBOARD, board.GetAttribute(_BEFORE) is not None
    return (FADE, True) if _found(_FORMER) is not None else (None, False)


def fade(transform: Any, opacity: float) -> None:
    """Set the MR's opacity in the slice views that show it, where it is or was, over the synthetic one."""
    try:
        synthetic, moving = pair(transform)
    except InputError:
        return
    over = [node.GetID() for node in (moving, _found(_FORMER)) if node is not None]
    for composite in _composites():
        if composite.GetBackgroundVolumeID() == synthetic.GetID() and composite.GetForegroundVolumeID() in over:
            composite.SetForegroundOpacity(opacity)


def pair(transform: Any) -> Tuple[Any, Any]:
    """Return the synthetic and the pre-operative MR of the first contrast that a registration is about."""
    for modality in MODALITIES:
        nodes = [transform.GetNodeReference(role + modality) for role in (FIXED, provenance.INPUT)]
        if None not in nodes:
            return nodes[0], nodes[1]
    raise InputError("The volumes of this registration left the scene: there is nothing to compare.")


def clear(role: Optional[str] = None) -> None:
    """Take the nodes away that only serve to look: those of one role, or all. Views show the volumes themselves."""
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetAttribute(_ROLE) in ((_FORMER, CHECKERBOARD) if role is None else (role,)):
            _give_way(node)
            remove(node)


def recover() -> None:
    """Make good what views lack whose scene, now loaded, was saved while a registration was looked at.

    Those that showed the MR at its former place show the MR, those that showed a checkerboard get their opacity back.
    Each note counts once. While the MR is at its former place here, notes are this session's, and nothing is done.
    """
    if _found(_FORMER) is not None:
        return
    for composite in _composites():
        moving = composite.GetNodeReference(_SHOWS)
        composite.SetNodeReferenceID(_SHOWS, None)
        if not composite.GetForegroundVolumeID():
            composite.SetForegroundVolumeID(moving.GetID() if moving is not None else None)
            _give_opacity_back(composite)


def _composites() -> List[Any]:
    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")


def _give_way(node: Any) -> None:
    """Let slice views show the volume that a node is shown in place of: they would miss it."""
    for composite in _composites():
        composite.SetNodeReferenceID(_SHOWS, None)
        if composite.GetBackgroundVolumeID() == node.GetID():
            composite.SetBackgroundVolumeID(node.GetNodeReferenceID(_SHOWS))
        if composite.GetForegroundVolumeID() == node.GetID():
            composite.SetForegroundVolumeID(node.GetNodeReferenceID(_SHOWS))
            _give_opacity_back(composite)
        composite.RemoveAttribute(_OPACITY)


def _note_opacity() -> None:
    """Have the views remember the opacity of their foreground, until the checkerboard is left."""
    for composite in _composites():
        if composite.GetAttribute(_OPACITY) is None:
            composite.SetAttribute(_OPACITY, str(composite.GetForegroundOpacity()))


def _give_opacity_back(composite: Any) -> None:
    """Undo the checkerboard's full opacity: whatever comes into the foreground next would cover everything."""
    former = composite.GetAttribute(_OPACITY)
    if former is not None:
        composite.SetForegroundOpacity(float(former))
        composite.RemoveAttribute(_OPACITY)


def _former_place(transform: Any, moving: Any) -> np.ndarray:
    """Return the (4, 4) matrix from the MR's voxel indices to where these would lie without the registration, RAS mm.

    That is where they lay before it, brought along where the registration itself was put under a transform since.
    """
    if not any(node is transform for node in placement.above(moving)):
        raise InputError(
            f"'{moving.GetName()}' lies no longer under '{transform.GetName()}': where it lay before is not known."
        )
    space = space_of(transform)
    to_world = slicer.util.arrayFromTransformMatrix(transform, toWorld=True)
    return space @ np.linalg.inv(to_world) @ world_matrix(moving, "The pre-operative MR")


def _at_former_place(moving: Any, matrix: np.ndarray) -> Any:
    """Return a node with the MR's own voxels, not a copy, at another place."""
    node = _node(_FORMER, f"{moving.GetName()} before the registration", moving)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveImageData(moving.GetImageData())
    node.SetNodeReferenceID(_SHOWS, moving.GetID())
    return node


def _checkerboard(synthetic: Any, moving: Any, matrix: np.ndarray) -> Any:
    fixed, mr = to_image(synthetic, "The synthetic MR"), to_image(moving, "The pre-operative MR")
    place(mr, RAS_TO_LPS @ matrix)
    node = _node(CHECKERBOARD, f"{synthetic.GetName()} and {moving.GetName()}")
    set_voxels(node, checkerboard_volume(fixed, mr, sitk.Transform()), synthetic)
    node.SetAndObserveTransformNodeID(synthetic.GetTransformNodeID())
    display.show(node.GetDisplayNode(), (0.0, 255.0), display.GREY)
    # Half of what it shows is synthetic: its views have to say so.
    node.SetAttribute(provenance.PREFIX + "synthetic", "1")
    return node


def _found(role: str) -> Optional[Any]:
    """Return the node of a role, None where there is none."""
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return next((node for node in volumes if node.GetAttribute(_ROLE) == role), None)


def _node(role: str, name: str, like: Optional[Any] = None) -> Any:
    """Return the node of a role, made where there is none, displayed as ``like``."""
    node = _found(role)
    if node is None:
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        node.SetAttribute(_ROLE, role)
        slicer.mrmlScene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetSaveWithScene(False)
    node.SetName(name)
    if like is not None and like.GetDisplayNode() is not None:
        shown, source = node.GetDisplayNode(), like.GetDisplayNode()
        shown.SetAndObserveColorNodeID(source.GetColorNodeID())
        shown.AutoWindowLevelOff()
        shown.SetWindowLevel(source.GetWindow(), source.GetLevel())
    return node
