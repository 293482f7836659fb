"""Results of registration in the scene: one linear transform node, with what moves under it, and the way back.

The node's transform acts in the world, on top of the transforms that the moved nodes lie under already; see
:mod:`.placement` for how that leaves all other nodes where they are.
"""

import logging
from contextlib import ExitStack
from typing import Any, List, Optional, Union

import numpy as np
import slicer
import vtk

from ..errors import InputError
from ..registration.transforms import matrix_of
from . import placement, provenance
from .nodes import RAS_TO_LPS
from .registration_plan import Plan, check_unchanged, transformable
from .registration_report import attributes, errors_at, rows, table_node
from .registrations import REGISTRATION, is_registration, registrations
from .removal import remove

log = logging.getLogger(__name__)

FIXED = provenance.PREFIX + "fixed."
CARRIED = provenance.PREFIX + "carried"
HELD = provenance.PREFIX + "held"
TABLE = provenance.PREFIX + "table"
DISPLACEMENT = provenance.PREFIX + "displacement"
"""Roles of a transform node's references: to the synthetic MR by modality, to what it moves, to the transforms that lie
between it and that, to the table, to the volume of displacement that :mod:`.registration_figures` makes."""


def add(result: Any, planned: Plan) -> Any:
    """Put a result into the scene and return its linear transform node, with what was planned to move under it.

    The transform lies in a folder beside the MR, with a table of how good it is; both are found by the attributes and
    references that :mod:`.registration_report` and this module name. The result's warnings are logged. When anything
    fails, the scene is left as it was.

    :param result: A ``RegistrationResult``.
    :raises InputError: when a node left the scene meanwhile, was moved, or has another size.
    """
    changes = check_unchanged(planned)
    result = provenance.with_warnings(result, [*planned.warnings, *changes, *_left_behind(planned)])
    result = provenance.with_input_warnings(result, planned.moving)
    for warning in result.warnings:
        log.warning(warning)
    with ExitStack() as reversal:
        transform = _Run(result, planned, reversal).add()
        reversal.pop_all()
    return transform


def undo(transform: Union[str, Any]) -> None:
    """Take a registration back: what it moved lies where it lay before; all that was made for it leaves the scene.

    Whatever else was put under the transform since then goes back with it. Where the transform itself was put under
    another one since, all that would lie in the world lies under that one. A node that the user put under another
    transform stays as it is.

    :raises InputError: when the node is not the transform of a registration, a later one builds on it, or a node that
        it moved, be it a transform with what is under it, was hardened since, or taken out of it into the world: that
        would stay, and no longer fit the others.
    """
    node = checked(transform)
    lost = _no_longer_under(node)
    if lost is not None:
        raise InputError(
            f"'{lost.GetName()}' was hardened or taken out of '{node.GetName()}' since: it would stay where it is "
            "while the rest goes back. Nothing was changed. Put it under the transform again first (where it was "
            "hardened, apply the inverse to it before: module Transforms, Invert), or delete the transform yourself."
        )
    later = _built_upon(node)
    if later is not None:
        raise InputError(
            f"The registration '{later.GetName()}' was made on top of '{node.GetName()}': undo that one first."
        )
    for spent in [*release(node), node]:
        remove(spent)
    remove_empty_folders()


def release(transform: Any) -> List[Any]:
    """Put back what a registration moved, and return the nodes that were made for it and serve no more without it.

    Where a former parent moves with a later registration now, what lay under it keeps the copy of it: it would move
    with that one too, of which it is no part.
    """
    for stand_in in placement.under(transform):
        if _later_over(stand_in, transform) is not None:
            stand_in.SetNodeReferenceID(placement.STANDS_FOR, None)
    made = [transform.GetNodeReference(role) for role in (TABLE, DISPLACEMENT)]
    return [*placement.take_out(transform), *(node for node in made if node is not None)]


def remove_empty_folders() -> None:
    """Remove the folders of registrations in which nothing is left."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    for item in [items.GetId(index) for index in range(items.GetNumberOfIds())]:
        if hierarchy.HasItemAttribute(item, REGISTRATION) and hierarchy.GetNumberOfItemChildren(item) == 0:
            hierarchy.RemoveItem(item, False, False)


def _no_longer_under(transform: Any) -> Optional[Any]:
    """Return a node that the registration moved and that lies in the world now, not under its transform."""
    nodes = [
        transform.GetNthNodeReference(role, index)
        for role in (CARRIED, HELD)
        for index in range(transform.GetNumberOfNodeReferences(role))
    ]
    return next((node for node in nodes if node is not None and node.GetParentTransformNode() is None), None)


def _left_behind(planned: Plan) -> List[str]:
    """Return warnings of shared parents that what moves will no longer follow: it gets copies of them."""
    shared = {unit.parent.GetID(): unit for unit in placement.units(planned.carried) if unit.parent is not None}
    return [
        f"'{unit.node.GetName()}' lies under a copy of '{unit.parent.GetName()}' now and no longer follows it, since "
        "other nodes that stay lie under it too: register again when it changes."
        for unit in shared.values()
    ]


def checked(transform: Union[str, Any]) -> Any:
    """Return the transform node of a registration that a user means, by its name or ID or itself.

    :raises InputError: when it is none.
    """
    node = transformable(transform, "The registration")
    if not is_registration(node):
        raise InputError(f"'{node.GetName()}' is not the transform of a registration: choose one that is.")
    return node


def space_of(transform: Any) -> np.ndarray:
    """Return the (4, 4) matrix, RAS mm, from the world as it was for a registration to the world as it is now.

    They differ where the user put the transform under another one since. A later registration on top of it is none of
    these: what it moves, it moves within the world.

    :raises InputError: when such a transform is not linear.
    """
    matrix = np.eye(4)
    for over in placement.above(transform):
        if not over.IsLinear():
            raise InputError(
                f"'{transform.GetName()}' lies under a non-linear transform ('{over.GetName()}'): take it out of that "
                "first (module Transforms)."
            )
        if not is_registration(over):
            matrix = slicer.util.arrayFromTransformMatrix(over) @ matrix
    return matrix


def synthetic_of(transform: Any) -> Optional[Any]:
    """Return the first synthetic MR in the scene that a registration was made to, None where all have left it."""
    roles: List[str] = []
    transform.GetNodeReferenceRoles(roles)
    nodes = [transform.GetNodeReference(role) for role in roles if role.startswith(FIXED)]
    return next((node for node in nodes if node is not None), None)


class _Run:
    """One result on its way into the scene; every change leaves its reversal on ``undo``."""

    def __init__(self, result: Any, planned: Plan, undo: ExitStack):
        self.result, self.plan, self.undo = result, planned, undo
        self.first = next(iter(planned.moving.values()))

    def add(self) -> Any:
        errors = errors_at(self.result, self.plan.landmarks)
        moving = placement.units(self.plan.carried)
        name = _free_name(f"{self.first.GetName()} to ultrasound (MMHVAE)")
        transform = slicer.vtkMRMLLinearTransformNode()
        transform.SetName(name)
        matrix = RAS_TO_LPS @ matrix_of(self.result.moving_to_fixed) @ RAS_TO_LPS
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        table = table_node(f"{name} quality", rows(self.result, errors))
        folder = self._folder(name)
        for node in (transform, table):
            self._add_node(node, folder)
        self._note(transform, table, errors)
        for stand_in in placement.put(moving, transform, self.undo):
            self._into(folder, stand_in)
        for between in placement.transforms_under(transform):
            transform.AddNodeReferenceID(HELD, between.GetID())
        return transform

    def _add_node(self, node: Any, folder: int) -> None:
        slicer.mrmlScene.AddNode(node)
        self.undo.callback(remove, node)
        self._into(folder, node)

    def _folder(self, name: str) -> int:
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        beside = hierarchy.GetItemByDataNode(self.first)
        parent = hierarchy.GetItemParent(beside) if beside else hierarchy.GetSceneItemID()
        folder = hierarchy.CreateFolderItem(parent, name)
        hierarchy.SetItemAttribute(folder, REGISTRATION, "1")
        self.undo.callback(remove_empty_folders)
        return folder

    @staticmethod
    def _into(folder: int, node: Any) -> None:
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), folder)

    def _note(self, transform: Any, table: Any, errors) -> None:
        names = {
            "fixed": {modality: node.GetName() for modality, node in self.plan.synthetic.items()},
            "moving": {modality: node.GetName() for modality, node in self.plan.moving.items()},
            "us": None if self.plan.us is None else self.plan.us.GetName(),
            "carried": [node.GetName() for node in self.plan.carried],
        }
        provenance.note(transform, attributes(self.result, errors, names), self.plan.moving)
        for modality, node in self.plan.synthetic.items():
            transform.SetNodeReferenceID(FIXED + modality, node.GetID())
        for node in self.plan.carried:
            transform.AddNodeReferenceID(CARRIED, node.GetID())
        transform.SetNodeReferenceID(TABLE, table.GetID())


def _built_upon(transform: Any) -> Optional[Any]:
    """Return a registration made later that has this one, or a stand-in of it, beneath or in a copy.

    Or that moves what this one would put nodes back under.
    """
    own = [transform, *placement.transforms_under(transform)]
    for over in placement.above(transform):
        if is_registration(over):
            return over
    for stand_in in placement.under(transform):
        over = _later_over(stand_in, transform)
        if over is not None:
            return over
    for other in _later(transform):
        copied = [node.GetNodeReference(placement.STANDS_FOR) for node in placement.under(other)]
        if any(node is each for node in copied if node is not None for each in own):
            return other
    return None


def _later_over(stand_in: Any, transform: Any) -> Optional[Any]:
    """Return a registration made after ``transform`` with which the original of one of its stand-ins moves now."""
    original = stand_in.GetNodeReference(placement.STANDS_FOR)
    over = [] if original is None else [original, *placement.above(original)]
    return next((each for each in _later(transform) if any(each is node for node in over)), None)


def _later(transform: Any) -> List[Any]:
    """Return the registrations made after ``transform``."""
    made = registrations()
    return made[made.index(transform) + 1 :]


def _free_name(name: str) -> str:
    number, free = 1, name
    while slicer.mrmlScene.GetFirstNodeByName(free) is not None:
        number += 1
        free = f"{name} {number}"
    return free
