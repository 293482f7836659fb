"""The uncertainty of synthetic volumes in colour on top of them, in whatever views show them."""

from typing import Any, Optional

import slicer

from .provenance import ROLE_UNCERTAINTY, noted, uncertainty_node


def show(opacity: Optional[float]) -> None:
    """Lay the uncertainty maps over the synthetic volumes that are shown as background.

    :param opacity: 0 to 1; None takes the maps away.
    """
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        background = _node(composite.GetBackgroundVolumeID())
        wanted = None if opacity is None or background is None else uncertainty_node(background)
        if wanted is not None:
            composite.SetForegroundVolumeID(wanted.GetID())
            composite.SetForegroundOpacity(opacity)
        elif _is_map(_node(composite.GetForegroundVolumeID())):
            composite.SetForegroundVolumeID(None)


def is_shown() -> bool:
    """Return whether an uncertainty map lies over what a view of the layout shows."""
    views = [node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode") if node.IsMappedInLayout()]
    names = {view.GetLayoutName() for view in views}
    return any(
        _is_map(_node(composite.GetForegroundVolumeID()))
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        if composite.GetLayoutName() in names
    )


def _node(node_id: Optional[str]) -> Optional[Any]:
    return slicer.mrmlScene.GetNodeByID(node_id) if node_id else None


def _is_map(node: Optional[Any]) -> bool:
    return node is not None and noted(node).get("role") == ROLE_UNCERTAINTY
