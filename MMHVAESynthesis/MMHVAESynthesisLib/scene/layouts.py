"""Volumes side by side: one linked slice view each, at the same slice, with crosshair; and the way back."""

import math
from typing import Any, List, Optional, Sequence
from xml.sax.saxutils import quoteattr

import slicer

_FIRST_ID = 5070
"""Layouts of ours have this number plus that of their views."""

_FORMER = "MMHVAE.formerLayout"
_VIEW = "MMHVAE{}"
_MOST_VIEWS = 12


def compare(nodes: Sequence[Any]) -> None:
    """Show each volume in a slice view of its own, all in the plane of the first volume's voxels.

    :param nodes: 1 to 12 volume nodes; more are left out.
    """
    nodes = list(nodes)[:_MOST_VIEWS]
    layout = layout_node()
    if not is_comparing():
        layout.SetAttribute(_FORMER, str(layout.GetViewArrangement()))
    register()
    layout.SetViewArrangement(_FIRST_ID + len(nodes))
    for index, node in enumerate(nodes):
        _show(_VIEW.format(index + 1), node, nodes[0])
    # Linked only now: until here each view would have changed all the others.
    for composite in _composites(len(nodes)):
        composite.SetLinkedControl(True)
        composite.SetHotLinkedControl(True)
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    if crosshair is not None:
        crosshair.SetCrosshairMode(slicer.vtkMRMLCrosshairNode.ShowBasic)


def register() -> None:
    """Make the layouts known, so that a scene that was saved in one of them opens in it."""
    layout = layout_node()
    for views in range(1, _MOST_VIEWS + 1):
        if layout is not None and not layout.IsLayoutDescription(_FIRST_ID + views):
            layout.AddLayoutDescription(_FIRST_ID + views, _description(views))
    if is_comparing():
        # Slicer may have come up in a layout that it did not know yet: only setting it again makes its views.
        layout.SetViewArrangement(layout.GetViewArrangement())


def is_comparing() -> bool:
    """Return whether one of our layouts is shown."""
    layout = layout_node()
    return layout is not None and _FIRST_ID < layout.GetViewArrangement() <= _FIRST_ID + _MOST_VIEWS


def layout_node() -> Optional[Any]:
    """Return the scene's layout node, None where there is none."""
    return slicer.mrmlScene.GetSingletonNode("vtkMRMLLayoutNode", "vtkMRMLLayoutNode")


def restore() -> None:
    """Go back to the layout from before :func:`compare`; does nothing where another one is shown."""
    if is_comparing():
        former = layout_node().GetAttribute(_FORMER)
        fallback = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
        layout_node().SetViewArrangement(int(former) if former else fallback)


def _description(views: int) -> str:
    """Return the XML of a layout of so many slice views in rows."""
    columns = min(views, 4) if views <= 8 else math.ceil(math.sqrt(views))
    names = [_VIEW.format(index + 1) for index in range(views)]
    rows = [names[start : start + columns] for start in range(0, views, columns)]
    items = "".join(f'<item><layout type="horizontal">{"".join(map(_view, row))}</layout></item>' for row in rows)
    return f'<layout type="vertical" split="true">{items}</layout>'


def _view(name: str) -> str:
    return (
        f'<item><view class="vtkMRMLSliceNode" singletontag={quoteattr(name)}>'
        '<property name="orientation" action="default">Axial</property>'
        f'<property name="viewlabel" action="default">{name[len("MMHVAE") :]}</property></view></item>'
    )


def _logic(name: str) -> Optional[Any]:
    logics = slicer.app.applicationLogic().GetSliceLogics()
    every = (logics.GetItemAsObject(index) for index in range(logics.GetNumberOfItems()))
    return next((logic for logic in every if logic.GetSliceNode().GetLayoutName() == name), None)


def _composites(views: int) -> List[Any]:
    logics = (_logic(_VIEW.format(index + 1)) for index in range(views))
    return [logic.GetSliceCompositeNode() for logic in logics if logic is not None]


def _show(name: str, node: Any, first: Any) -> None:
    logic = _logic(name)
    if logic is None:
        return
    composite, view = logic.GetSliceCompositeNode(), logic.GetSliceNode()
    composite.SetLinkedControl(False)
    composite.SetBackgroundVolumeID(node.GetID())
    composite.SetForegroundVolumeID(None)
    composite.SetLabelVolumeID(None)
    view.RotateToVolumePlane(first)
    # All views are fitted to the first volume, so that they show the same piece of the world.
    composite.SetBackgroundVolumeID(first.GetID())
    logic.FitSliceToBackground(*view.GetDimensions()[:2])
    logic.SnapSliceOffsetToIJK()
    composite.SetBackgroundVolumeID(node.GetID())
