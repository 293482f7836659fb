"""The word SYNTHETIC in a corner of every view that shows a synthetic volume, so that a screenshot says it too.

Slice views show volumes in their layers, 3D views by volume rendering and in the slices that they show.

Independent of the module's panel and of Slicer's own corner annotations, which the user may switch off.
"""

from contextlib import suppress
from typing import Any, Callable, Dict, List, Optional, TypeVar

import slicer
import vtk

from .provenance import is_synthetic

TEXT = "SYNTHETIC"
_KEEPER = "mmhvaeSyntheticMarks"
"""Where the marks are kept: as an attribute of the module ``slicer``, which outlives a reload of this one."""

_FONT_SIZE = 15
_MARGIN = 0.98


def shown_volumes(composite: Any) -> list:
    """Return the volume nodes that a slice composite node shows: background, and what is laid over it visibly."""
    ids = [composite.GetBackgroundVolumeID()]
    if composite.GetForegroundOpacity() > 0:
        ids.append(composite.GetForegroundVolumeID())
    if composite.GetLabelOpacity() > 0:
        ids.append(composite.GetLabelVolumeID())
    # Slicer 5.8 knows these three layers only.
    if hasattr(composite, "GetNumberOfAdditionalLayers"):
        first = composite.Layer_Last
        layers = range(first, first + composite.GetNumberOfAdditionalLayers())
        ids += [composite.GetNthLayerVolumeID(layer) for layer in layers if composite.GetNthLayerOpacity(layer) > 0]
    nodes = (slicer.mrmlScene.GetNodeByID(each) for each in ids if each)
    return [node for node in nodes if node is not None]


def shows_synthetic(composite: Any) -> bool:
    """Return whether a slice composite node shows a synthetic volume."""
    return any(is_synthetic(node) for node in shown_volumes(composite))


def shown_in_space(view: Any) -> List[Any]:
    """Return the volume nodes that a 3D view (its view node) shows: rendered, or in slices."""
    rendered = [
        display.GetVolumeNode()
        for display in slicer.util.getNodesByClass("vtkMRMLVolumeRenderingDisplayNode")
        if display.GetVisibility() and display.IsDisplayableInView(view.GetID())
    ]
    slices = {
        node.GetLayoutName()
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode")
        if node.GetSliceVisible() and node.IsDisplayableInThreeDView(view.GetID())
    }
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode") if slices else []
    in_slices = [node for each in composites if each.GetLayoutName() in slices for node in shown_volumes(each)]
    return [node for node in [*rendered, *in_slices] if node is not None]


def shows_synthetic_in_space(view: Any) -> bool:
    """Return whether a 3D view (its view node) shows a synthetic volume."""
    return any(is_synthetic(node) for node in shown_in_space(view))


def install() -> Optional["SyntheticMarks"]:
    """Put the marks on the application's views, in place of those that were there; None where there are no views."""
    if not hasattr(slicer, _KEEPER):
        # Before Slicer takes its views down, not after.
        slicer.app.connect("aboutToQuit()", uninstall)
    uninstall()
    manager = slicer.app.layoutManager()
    marks = SyntheticMarks(manager) if manager is not None else None
    setattr(slicer, _KEEPER, marks)
    return marks


def uninstall() -> None:
    """Take the marks away, where there are any."""
    marks = getattr(slicer, _KEEPER, None)
    # First, so that what goes wrong with these marks does so once.
    setattr(slicer, _KEEPER, None)
    if marks is not None:
        marks.close()


def refresh() -> None:
    """Look at all views anew, where the marks are installed: a volume that is shown became synthetic."""
    marks = getattr(slicer, _KEEPER, None)
    if marks is not None:
        marks.refresh()


class _Mark:
    """The word in one view. Its widget may be gone: Slicer deletes it with the view node."""

    def __init__(self, view: Any):
        self._view = view
        self._actor = _text_actor()
        self._renderer = renderer_of(view)
        self._renderer.AddViewProp(self._actor)

    def show(self, shown: bool) -> None:
        if bool(self._actor.GetVisibility()) != shown:
            self._actor.SetVisibility(shown)
            self._draw()

    def is_in(self, view: Any) -> bool:
        return renderer_of(view) is self._renderer

    def remove(self) -> None:
        self._renderer.RemoveViewProp(self._actor)
        self._draw()

    def _draw(self) -> None:
        with suppress(ValueError):  # PythonQt's, of a widget that is gone
            self._view.scheduleRender()


class _MarkInSpace(_Mark):
    """The word in one 3D view. Whether it is due is looked at whenever the view is drawn: much can change it."""

    def __init__(self, view: Any):
        super().__init__(view)
        self._tag = self._renderer.AddObserver("StartEvent", self._on_render)

    def remove(self) -> None:
        self._renderer.RemoveObserver(self._tag)
        super().remove()

    def _on_render(self, *_args) -> None:
        # Nothing but the actor may be touched here: the view is being drawn already.
        with suppress(ValueError):
            node = self._view.mrmlViewNode()
            self._actor.SetVisibility(node is not None and shows_synthetic_in_space(node))


_AMark = TypeVar("_AMark", bound=_Mark)


def _keep_in(marks: Dict[str, _AMark], name: str, view: Any, make: Callable[[Any], _AMark]) -> None:
    """Have a mark of that name in a view, in place of one in a former view."""
    if name in marks and not marks[name].is_in(view):
        marks.pop(name).remove()
    if name not in marks:
        marks[name] = make(view)


def renderer_of(view: Any) -> Any:
    """Return the renderer of a slice view or 3D view that draws its content."""
    return view.renderWindow().GetRenderers().GetFirstRenderer()


def _text_actor() -> Any:
    actor = vtk.vtkTextActor()
    actor.SetInput(TEXT)
    actor.SetVisibility(False)
    actor.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
    actor.GetPositionCoordinate().SetValue(_MARGIN, _MARGIN)
    style = actor.GetTextProperty()
    style.SetFontSize(_FONT_SIZE)
    style.SetBold(True)
    style.SetColor(1.0, 0.85, 0.3)
    style.SetBackgroundColor(0.0, 0.0, 0.0)
    style.SetBackgroundOpacity(0.6)
    style.SetJustificationToRight()
    style.SetVerticalJustificationToTop()
    return actor


class SyntheticMarks:
    """Keeps the marks of all views in step with what the views show, until :meth:`close`.

    :param manager: The layout manager.
    """

    def __init__(self, manager: Any):
        self._manager = manager
        self._marks: Dict[str, _Mark] = {}
        self._marks_in_space: Dict[str, _MarkInSpace] = {}
        self._observed: list = []
        self._composites: Dict[str, Any] = {}
        scene = slicer.mrmlScene
        for event in (scene.EndImportEvent, scene.EndCloseEvent, scene.EndBatchProcessEvent):
            self._observed.append((scene, scene.AddObserver(event, self.refresh)))
        manager.connect("layoutChanged(int)", self.refresh)
        self.refresh()

    def refresh(self, *_args) -> None:
        """Look at all views anew: after the layout changed, or a volume that is shown became synthetic."""
        for name in self._manager.sliceViewNames():
            widget = self._manager.sliceWidget(name)
            if widget is None:
                continue
            _keep_in(self._marks, name, widget.sliceView(), _Mark)
            composite = widget.sliceLogic().GetSliceCompositeNode()
            if composite is not None and self._composites.get(name) is not composite:
                self._composites[name] = composite
                self._observed.append((composite, composite.AddObserver("ModifiedEvent", self._on_composite)))
            self._marks[name].show(composite is not None and shows_synthetic(composite))
        self._refresh_in_space()

    def _refresh_in_space(self) -> None:
        for index in range(self._manager.threeDViewCount):
            view = self._manager.threeDWidget(index).threeDView()
            node = view.mrmlViewNode()
            if node is None:
                continue
            _keep_in(self._marks_in_space, node.GetLayoutName(), view, _MarkInSpace)
            view.scheduleRender()

    def close(self) -> None:
        """Take all marks away."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._manager.disconnect("layoutChanged(int)", self.refresh)
        for mark in [*self._marks.values(), *self._marks_in_space.values()]:
            mark.remove()
        self._observed, self._marks, self._marks_in_space, self._composites = [], {}, {}, {}

    def _on_composite(self, composite, _event) -> None:
        for name, each in self._composites.items():
            if each is composite:
                self._marks[name].show(shows_synthetic(composite))
