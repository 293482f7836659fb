"""The uncertainty of synthetic volumes in colour on top of them, in whatever views show them."""

from typing import Any, Optional

import slicer

from .provenance import PREFIX, ROLE_UNCERTAINTY, noted, uncertainty_node

_FORMER, _OPACITY = PREFIX + "underOverlay", PREFIX + "underOverlayOpacity"
"""Reference and attribute of the views that show a map: their foreground, and its opacity, from before it."""

_MAP = PREFIX + "overlay"
"""Attribute of these views: the map's ID, known though it was deleted."""


def show(opacity: Optional[float]) -> None:
    """Lay the uncertainty maps over the synthetic volumes that are shown as background.

    :param opacity: 0 to 1; None takes the maps away.
    """
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        background = _node(composite.GetBackgroundVolumeID())
        wanted = None if opacity is None or background is None else uncertainty_node(background)
        is_on = _is_map(_node(composite.GetForegroundVolumeID()))
        if wanted is not None:
            if not is_on:
                composite.SetNodeReferenceID(_FORMER, composite.GetForegroundVolumeID())
                composite.SetAttribute(_OPACITY, str(composite.GetForegroundOpacity()))
            composite.SetForegroundVolumeID(wanted.GetID())
            composite.SetForegroundOpacity(opacity)
            composite.SetAttribute(_MAP, wanted.GetID())
        elif is_on or _is_deleted(composite):
            _give_back(composite)
        else:
            _forget(composite)


def _give_back(composite: Any) -> None:
    """Show again what the map lay in place of, where that is still in the scene."""
    former, was = composite.GetNodeReference(_FORMER), composite.GetAttribute(_OPACITY)
    composite.SetForegroundVolumeID(None if former is None else former.GetID())
    if former is not None and was is not None:
        composite.SetForegroundOpacity(float(was))
    _forget(composite)


def _forget(composite: Any) -> None:
    """Note no longer what the map lay in place of: another volume was chosen since, or none."""
    composite.SetNodeReferenceID(_FORMER, None)
    composite.RemoveAttribute(_OPACITY)
    composite.RemoveAttribute(_MAP)


def _is_deleted(composite: Any) -> bool:
    """Return whether nothing lies over the background because the map that lay there has left the scene."""
    shown = composite.GetAttribute(_MAP)
    return shown is not None and _node(shown) is None and not composite.GetForegroundVolumeID()


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
