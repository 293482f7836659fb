"""Slicer's widgets that follow a MRML scene."""

import vtk
from PySide6.QtCore import Property, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QWidget
from shiboken6 import isValid

from .ctk_widgets import stored

_PRIORITY = -10.0
"""Of the observer of nodes that leave."""


class qMRMLWidget(QWidget):  # noqa: N801
    """A widget that has a scene and tells when it gets one."""

    mrmlSceneChanged = Signal(object)
    SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}
    SLOTS = ("setMRMLScene(vtkMRMLScene*)",)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qMRMLNodeComboBox(qMRMLWidget):  # noqa: N801
    """Lists the scene's nodes of some classes; without a scene it stays empty.

    Nothing is selected by itself, but when the selected node leaves the scene the row before it is, and that is told as
    if the user had chosen it. Slicer's takes the row out before the node is gone, with an observer of a low priority.
    """

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    SIGNALS = {
        **qMRMLWidget.SIGNALS,
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentNodeIDChanged(QString)": "currentNodeIDChanged",
    }
    SLOTS = (*qMRMLWidget.SLOTS, "setCurrentNode(vtkMRMLNode*)", "setCurrentNodeID(QString)")

    def __init__(self, parent=None):
        super().__init__(parent)
        self._box, self._nodes, self._current, self._observers = QComboBox(self), [], None, []
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.activated.connect(self._on_activated)

    def setMRMLScene(self, scene):
        self._unobserve()
        super().setMRMLScene(scene)
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent, scene.EndCloseEvent)
            self._observers = [scene.AddObserver(event, self._on_scene_changed) for event in events]
            leaving = scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._on_node_leaves, _PRIORITY)
            self._observers.append(leaving)
        self._refresh()

    def _unobserve(self):
        for tag in self._observers:
            self._scene.RemoveObserver(tag)
        self._observers = []

    def _on_scene_changed(self, *_):
        if not isValid(self):
            self._unobserve()
        elif not self._scene.IsBatchProcessing():
            self._refresh()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_leaves(self, scene, _event, node):
        if isValid(self) and node in self._nodes and not scene.IsClosing():
            row = self._nodes.index(node)
            del self._nodes[row]
            self._box.removeItem(row)
            # QComboBox's own choice.
            row = self._box.currentIndex
            self._select(self._nodes[row] if row >= 0 else None)

    def _shown(self, node) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        kinds = self._types
        return node.GetClassName() in kinds or (self.showChildNodeTypes and any(node.IsA(kind) for kind in kinds))

    def _refresh(self):
        scene = self._scene
        every = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())] if scene is not None else []
        self._nodes = [None] * bool(self.noneEnabled) + [node for node in every if self._shown(node)]
        self._box.clear()
        self._box.addItems([self.noneDisplay if node is None else node.GetName() for node in self._nodes])
        self._select(self._current if self._current in self._nodes else None)

    def _select(self, node):
        changed = node is not self._current
        self._current = node
        self._box.setCurrentIndex(self._nodes.index(node) if node in self._nodes else -1)
        if changed:
            self.currentNodeChanged.emit(node)
            self.currentNodeIDChanged.emit(self._get_id())

    def _on_activated(self, index):
        self._select(self._nodes[index])

    def currentNode(self):
        return self._current

    def setCurrentNode(self, node):
        self._select(node if node in self._nodes else None)

    def setCurrentNodeID(self, node_id):
        self.setCurrentNode(self._scene.GetNodeByID(node_id) if self._scene is not None and node_id else None)

    def nodeCount(self):
        return len([node for node in self._nodes if node is not None])

    def nodeFromIndex(self, index):
        return [node for node in self._nodes if node is not None][index]

    def _get_id(self):
        return self._current.GetID() if self._current is not None else ""

    def _get_types(self):
        return self.__dict__.get("_types", [])

    def _set_types(self, types):
        self.__dict__["_types"] = list(types)
        self._refresh()

    def _kept(kind, key, default):  # noqa: N805
        def keep(self, value):
            self.__dict__[key] = value
            self._refresh()

        return Property(kind, lambda self: self.__dict__.get(key, default), keep)

    _types = []
    currentNodeID = Property(str, _get_id, setCurrentNodeID)
    nodeTypes = Property("QStringList", _get_types, _set_types)
    noneEnabled = _kept(bool, "_none_enabled", False)
    noneDisplay = _kept(str, "_none_display", "None")
    showHidden = _kept(bool, "_show_hidden", False)
    showChildNodeTypes = _kept(bool, "_show_child_node_types", True)
    addEnabled = stored(bool, "_add_enabled", True)
    removeEnabled = stored(bool, "_remove_enabled", True)
    editEnabled = stored(bool, "_edit_enabled", False)
    renameEnabled = stored(bool, "_rename_enabled", False)
    selectNodeUponCreation = stored(bool, "_select_upon_creation", True)
    baseName = stored(str, "_base_name", "")


class qSlicerWidget(qMRMLWidget):  # noqa: N801
    """The parent that Slicer gives to a module's panel."""
