"""``slicer.app``: what code outside Slicer's own windows asks of the application."""

import os
from pathlib import Path

from .files import FileManager


class LayoutManager:
    """The views: slice views that a test makes, and after :meth:`start` those of the scene's layout."""

    def __init__(self, slice_logics):
        self._slice_logics = slice_logics
        self._layout_logic = None
        self._widgets, self._spatial, self._listeners = {}, {}, []

    def start(self, size=(160, 160)):
        """Keep a view, drawn offscreen, for each slice or view node that the layout node puts into the layout."""
        import slicer

        self._layout_logic = slicer.vtkMRMLLayoutLogic()
        self._layout_logic.SetMRMLScene(slicer.mrmlScene)
        self._size = size
        node = self._layout_logic.GetLayoutNode()
        self._observed = node, node.AddObserver("ModifiedEvent", self._on_layout)
        self._on_layout()

    def stop(self):
        """Close the views and forget the layout."""
        self._observed[0].RemoveObserver(self._observed[1])
        for view in self._widgets.values():
            self._slice_logics.RemoveItem(view.sliceLogic())
            view.close()
        for view in self._spatial.values():
            view.close()
        self._layout_logic.SetMRMLScene(None)
        self._widgets, self._spatial, self._listeners, self._layout_logic = {}, {}, [], None

    def _on_layout(self, *_):
        import slicer

        from .views import SliceView, ThreeDView

        in_layout = self._layout_logic.GetViewNodes()
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            name, shown = node.GetLayoutName(), bool(in_layout.IsItemPresent(node))
            node.SetMappedInLayout(shown)
            if shown and name not in self._widgets:
                self._widgets[name] = SliceView(name, self._size, node=node)
                self._slice_logics.AddItem(self._widgets[name].sliceLogic())
        for node in slicer.util.getNodesByClass("vtkMRMLViewNode"):
            if in_layout.IsItemPresent(node) and node.GetLayoutName() not in self._spatial:
                self._spatial[node.GetLayoutName()] = ThreeDView(node, self._size)
        for listener in list(self._listeners):
            listener(self._observed[0].GetViewArrangement())

    def layoutLogic(self):
        return self._layout_logic

    def connect(self, signal, function):
        if signal != "layoutChanged(int)":
            raise AttributeError(f"no signal {signal}")
        self._listeners.append(function)
        return True

    def disconnect(self, signal, function):
        self._listeners.remove(function)
        return True

    @property
    def threeDViewCount(self):  # noqa: N802
        return len(self._spatial)

    def threeDWidget(self, index):
        return list(self._spatial.values())[index]

    def sliceWidget(self, name):
        return self._widgets.get(name)

    def mrmlSliceLogics(self):
        return self._slice_logics

    def sliceViewNames(self):
        logics = (self._slice_logics.GetItemAsObject(i) for i in range(self._slice_logics.GetNumberOfItems()))
        return tuple(logic.GetSliceNode().GetName() for logic in logics)

    def resetSliceViews(self):
        for index in range(self._slice_logics.GetNumberOfItems()):
            self._slice_logics.GetItemAsObject(index).FitSliceToAll()


class ProcessEnvironment:
    """Has the methods of QProcessEnvironment that ``slicer.util`` calls."""

    def keys(self):
        return tuple(os.environ)

    def value(self, name):
        return os.environ[name]


class MainWindow:
    """Slicer's main window: shown until it is closed, which is not the end of Slicer while work goes on in an event."""

    objectName = "qSlicerMainWindow"
    visible = True

    def close(self):
        self.visible = False


class Application:
    """The running application. Always in testing mode, so that nothing waits for a click."""

    applicationName = "Slicer"
    majorVersion, minorVersion = 5, 13
    slicerHome = ""
    documentationBaseUrl = "https://slicer.readthedocs.io/en/latest/"

    def __init__(self, logic, temporary_path: Path, keep_alive: list):
        self.temporaryPath = str(temporary_path)
        self._logic, self._keep_alive = logic, keep_alive
        self._files = FileManager()
        self._layout = LayoutManager(logic.GetSliceLogics())
        self._rendering_paused = 0
        self.cursors = []
        """Override cursors that are in force: empty once every wait cursor was taken back."""
        self.main_window = None
        """A :class:`MainWindow` where a test gives Slicer one; at first it runs as with ``--no-main-window``."""

    def applicationLogic(self):
        return self._logic

    def mrmlScene(self):
        return self._logic.GetMRMLScene()

    def coreIOManager(self):
        return self._files

    def layoutManager(self):
        return self._layout

    def testingEnabled(self):
        return True

    def startupEnvironment(self):
        """Return the environment without what a launcher would have added: there is no launcher here."""
        return ProcessEnvironment()

    def moduleDocumentationUrl(self, module_name):
        return f"{self.documentationBaseUrl}user_guide/modules/{module_name.lower()}.html"

    def processEvents(self, *_):
        import sys

        if "qt" in sys.modules:
            sys.modules["qt"].QCoreApplication.processEvents()

    def palette(self):
        import qt

        return qt.QApplication.palette()

    def topLevelWidgets(self):
        return () if self.main_window is None else (self.main_window,)

    def pauseRender(self):
        self._rendering_paused += 1

    def resumeRender(self):
        self._rendering_paused -= 1

    def setOverrideCursor(self, cursor):
        self.cursors.append(cursor)

    def restoreOverrideCursor(self):
        self.cursors.pop()

    def connect(self, *_):
        """Accept ``startupCompleted()`` and the like: there is no start-up to wait for here."""
        return True
