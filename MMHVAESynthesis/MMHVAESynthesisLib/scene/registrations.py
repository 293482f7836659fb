"""The registrations of a scene, found again from what is noted on their transform nodes.

Without :mod:`.registration`, which makes them: it brings SimpleITK with it, and most scenes have none.
"""

from typing import Any, List

import slicer

from .provenance import PREFIX, references

REGISTRATION = PREFIX + "registration"


def is_registration(node: Any) -> bool:
    """Return whether a node is the transform of a registration.

    A copy that a user made of one has its attributes, but leads to nothing that was registered: it is none.
    """
    if not node.IsA("vtkMRMLLinearTransformNode") or node.GetAttribute(REGISTRATION) != "1":
        return False
    return bool(references(node))


def registrations() -> List[Any]:
    """Return the transform nodes of the registrations in the scene, in the order in which they were made.

    Those of another scene that was added lie behind in the scene, whenever they were made.
    """
    found = [node for node in slicer.util.getNodesByClass("vtkMRMLLinearTransformNode") if is_registration(node)]
    return sorted(found, key=lambda node: node.GetAttribute(PREFIX + "created") or "")
