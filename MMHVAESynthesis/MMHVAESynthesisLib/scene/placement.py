"""Nodes under a new transform that acts in the world, on top of the transforms that they lie under already.

A node without a parent goes straight under the new transform. A parent all of whose nodes are to move goes there as it
is, with what is above it where that too moves as a whole. A parent that other nodes use as well stays where it is, and
a copy of it, its stand-in, carries the nodes that move: so nothing moves that was not named.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Optional

import slicer
import vtk

from .provenance import PREFIX

STANDS_FOR = PREFIX + "standsFor"
"""Role of the reference from a stand-in to the transform node of which it is a copy."""


@dataclass(frozen=True)
class Unit:
    """A node that gets a new parent, and what moves with it.

    :param node: A node to move, or a transform node under which everything is to move.
    :param parent: The transform node that it lies under, which is not to move as a whole; None is the world.
    """

    node: Any
    parent: Optional[Any]


def units(nodes: Iterable[Any]) -> List[Unit]:
    """Return the fewest units that hold all ``nodes`` (transformable, in the scene) and nothing else.

    A transform node among ``nodes`` stands for everything under it.
    """
    children = _children_by_parent()
    chosen = {node.GetID(): node for node in nodes}

    def wholly(node: Any) -> bool:
        below = children.get(node.GetID(), [])
        return node.GetID() in chosen or (bool(below) and all(wholly(child) for child in below))

    found: Dict[str, Unit] = {}
    for node in chosen.values():
        top = [each for each in [node, *above(node)] if wholly(each)][-1]
        found[top.GetID()] = Unit(top, top.GetParentTransformNode())
    return list(found.values())


def above(node: Any) -> List[Any]:
    """Return the transform nodes that ``node`` lies under, the nearest first."""
    chain = []
    while node.GetParentTransformNode() is not None:
        node = node.GetParentTransformNode()
        chain.append(node)
    return chain


def under(transform: Any) -> List[Any]:
    """Return the nodes whose parent is ``transform``."""
    return _children_by_parent().get(transform.GetID(), [])


def transforms_under(transform: Any) -> List[Any]:
    """Return the transform nodes that lie under ``transform``, however deep."""
    found, waiting = [], [transform]
    children = _children_by_parent()
    while waiting:
        below = [node for node in children.get(waiting.pop().GetID(), []) if node.IsA("vtkMRMLTransformNode")]
        found += below
        waiting += below
    return found


def put(moving: Iterable[Unit], transform: Any, undo: ExitStack) -> List[Any]:
    """Put units under ``transform``, which lies in the world, and return the stand-ins made for it.

    :param undo: Gets the reversal of every change.
    """
    stand_ins: Dict[str, Any] = {}
    for unit in moving:
        target = transform
        if unit.parent is not None:
            key = unit.parent.GetID()
            stand_ins[key] = stand_ins.get(key) or _stand_in(unit.parent, transform, undo)
            target = stand_ins[key]
        undo.callback(unit.node.SetAndObserveTransformNodeID, unit.node.GetTransformNodeID())
        unit.node.SetAndObserveTransformNodeID(target.GetID())
    return list(stand_ins.values())


def take_out(transform: Any) -> List[Any]:
    """Give what lies under ``transform`` its former parents back, and return the stand-ins that serve no more.

    What had none, the world, goes to where ``transform`` itself lies: the world, or what it was put under since. So
    does a stand-in whose original has left the scene, and serves on in its place.
    """
    done = []
    for node in under(transform):
        node.SetAndObserveTransformNodeID(transform.GetTransformNodeID())
        if not is_stand_in(node):
            continue
        original = node.GetNodeReference(STANDS_FOR)
        if original is not None:
            for child in under(node):
                child.SetAndObserveTransformNodeID(original.GetID())
            done.append(node)
        else:
            node.SetNodeReferenceID(STANDS_FOR, None)
    return done


def is_stand_in(node: Any) -> bool:
    """Return whether ``node`` was made by :func:`put` as a copy of another transform."""
    return node.GetNodeReferenceID(STANDS_FOR) is not None


def _stand_in(parent: Any, transform: Any, undo: ExitStack) -> Any:
    node = slicer.vtkMRMLLinearTransformNode()
    node.SetName(f"{parent.GetName()} (for {transform.GetName()})")
    to_world = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(to_world)
    node.SetMatrixTransformToParent(to_world)
    slicer.mrmlScene.AddNode(node)
    undo.callback(slicer.mrmlScene.RemoveNode, node)
    node.SetNodeReferenceID(STANDS_FOR, parent.GetID())
    node.SetAndObserveTransformNodeID(transform.GetID())
    return node


def _children_by_parent() -> Dict[str, List[Any]]:
    children: Dict[str, List[Any]] = {}
    for node in slicer.util.getNodesByClass("vtkMRMLTransformableNode"):
        if node.GetParentTransformNode() is not None:
            children.setdefault(node.GetParentTransformNode().GetID(), []).append(node)
    return children
