"""Items of the subject hierarchy.

In Slicer the plugin logic of the module SubjectHierarchy, a Qt class, gives every data node an item when it enters the
scene and takes it away when the node leaves. It makes no item for hidden nodes, nor while a scene is read: then the
items come from the file, and what lacks one is given one at the end.
"""

import vtk

_DATA_NODES = (
    "vtkMRMLVolumeNode",
    "vtkMRMLTransformNode",
    "vtkMRMLModelNode",
    "vtkMRMLMarkupsNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLTableNode",
    "vtkMRMLTextNode",
    "vtkMRMLSequenceNode",
)


class Hierarchy:
    """Keeps the items of one scene in step with its nodes, as long as it lives."""

    def __init__(self, scene):
        self._scene = scene
        events = {
            scene.NodeAddedEvent: self._on_added,
            scene.NodeAboutToBeRemovedEvent: self._on_about_to_be_removed,
            scene.EndImportEvent: self._on_completed,
            scene.EndCloseEvent: self._on_completed,
        }
        self._observers = [scene.AddObserver(event, callback) for event, callback in events.items()]
        self._on_completed(scene, None)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_added(self, scene, _, node):
        if not scene.IsImporting():
            self._add(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_about_to_be_removed(self, scene, _, node):
        if scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
            return
        hierarchy = scene.GetSubjectHierarchyNode()
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.RemoveItem(item, False, False)

    def _on_completed(self, scene, _):
        scene.GetSubjectHierarchyNode()
        for index in range(scene.GetNumberOfNodes()):
            self._add(scene.GetNthNode(index))

    def _add(self, node):
        if node is None or node.GetHideFromEditors() or not any(node.IsA(name) for name in _DATA_NODES):
            return
        hierarchy = self._scene.GetSubjectHierarchyNode()
        if not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
