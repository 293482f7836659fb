"""Nodes out of the scene, with what belongs to them alone."""

from typing import Any

import slicer


def remove(node: Any) -> None:
    """Take a node out of the scene with its storage and display nodes; what is not in the scene is left alone."""
    own = [node]
    if node.IsA("vtkMRMLStorableNode"):
        own += [node.GetNthStorageNode(index) for index in range(node.GetNumberOfStorageNodes())]
    if node.IsA("vtkMRMLDisplayableNode"):
        own += [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    for each in own:
        if each is not None and each.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(each)
