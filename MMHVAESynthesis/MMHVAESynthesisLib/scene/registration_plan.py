"""What a registration of the scene is about: which nodes are registered, which move, which stay."""

from dataclasses import dataclass, field
from itertools import product
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import SimpleITK as sitk
import slicer

from ..errors import InputError
from ..modalities import MODALITIES, US, label, of_other_modalities
from ..registration.landmarks import PointList, paired, target_registration_error
from ..registration.maker import completing, why_not_completed
from ..request import RegistrationRequest
from ..volumes.checks import checked
from . import nodes, placement
from .loaded import of_several_patients
from .nodes import RAS_TO_LPS, found, to_image, to_images, world_matrix
from .provenance import INPUT, check_image, is_synthetic, mr_behind, noted, parsed
from .registration_report import Landmarks

_APART_MM = 0.1
"""From here on an ultrasound and what was made from it do not lie on one another."""


@dataclass(frozen=True)
class Plan:
    """What a registration of the scene is about, checked.

    :param synthetic: ``{modality: node}``, which stay; so does ``us``, the field of view.
    :param moving: ``{modality: node}``, the pre-operative MR.
    :param carried: All nodes that will move, the MR first.
    :param staying: All nodes that must not move: the synthetic MR, the ultrasound, the landmarks in it.
    :param places: World matrices of what is registered, by node ID, as they were when this was made.
    :param states: Their voxels' sizes and checksums, by node ID, as they were when the request was made.
    :param warnings: What the user has to know of the choice and, once asked for, of the request; a sentence each.
    """

    synthetic: Mapping[str, Any]
    moving: Mapping[str, Any]
    us: Optional[Any]
    carried: Sequence[Any]
    staying: Sequence[Any]
    landmarks: Optional[Landmarks]
    places: Mapping[str, np.ndarray]
    warnings: List[str] = field(default_factory=list)
    states: Dict[str, Tuple[Any, Optional[int]]] = field(default_factory=dict)

    def registered(self) -> List[Any]:
        """Return the volumes that are registered."""
        return [*self.synthetic.values(), *self.moving.values(), *([] if self.us is None else [self.us])]

    def needed(self) -> List[Any]:
        """Return the nodes without which a result has no place."""
        return [*self.registered(), *self.carried, *self.staying]

    def request(self, **settings) -> RegistrationRequest:
        """Return the request to the engine, with the volumes in world coordinates.

        :param settings: ``kind``, ``engine``, ``starts``, ``seed``, ``device``, ``completion``, ``model`` of
            :class:`RegistrationRequest`. Where no model is given it is the one that made the synthetic MR; where that
            is not here any more nothing is completed.
        :raises InputError: when a volume or a setting cannot be used.
        """
        wanted = settings.get("completion", True)
        makers = [(noted(node).get("model"), noted(node).get("modelDigest")) for node in self.synthetic.values()]
        settings.update(completing(makers, settings.get("model")))
        us = None
        if self.us is not None:
            what = f"The iUS '{self.us.GetName()}'"
            us = checked(to_image(self.us, "The iUS"), what, ultrasound=True)
        request = RegistrationRequest(
            fixed=to_images(self.synthetic),
            moving=to_images(self.moving),
            us=us,
            names={modality: node.GetName() for modality, node in self.moving.items()},
            **settings,
        )
        self.states.update(_states(self.registered()))
        self.warnings.extend(self._of_other_frames())
        reason = why_not_completed(request, makers) if wanted else ""
        if reason:
            self.warnings.append(reason)
        return request

    def _of_other_frames(self) -> List[str]:
        """Return a warning where the ultrasound's voxels are not those that the synthetic MR was made from."""
        states = [parsed(noted(node).get("inputStates"), {}) for node in self.synthetic.values()]
        made_from = {each[US] for each in states if isinstance(each, dict) and US in each}
        if self.us is None or made_from <= {self.states[self.us.GetID()][1]}:
            return []
        sources = [node.GetNodeReference(INPUT + US) for node in self.synthetic.values()]
        if not any(source is self.us for source in sources):
            return []
        return [
            f"'{self.us.GetName()}' has other voxels than when the synthetic MR was made from it (another frame of a "
            "sequence, or edited): choose that frame again, or synthesise anew."
        ]


def plan(
    synthetic: Mapping[str, Union[str, Any, None]],
    moving: Mapping[str, Union[str, Any, None]],
    us: Union[str, Any, None] = None,
    also: Union[None, str, Any, Sequence[Union[str, Any]]] = (),
    fixed_landmarks: Union[str, Any, None] = None,
    moving_landmarks: Union[str, Any, None] = None,
) -> Plan:
    """Return what to register and what to move, checked before any work is done. Nodes, or their names or IDs.

    :param synthetic: ``{modality: volume}``: the synthetic MR, which lie on the ultrasound.
    :param moving: ``{modality: volume}``: the pre-operative MR. All are moved, also those that have no synthetic one.
    :param us: The ultrasound, whose field of view counts, and which is registered to iUS made of the MR; None
        means the synthetic MR's field.
    :param also: What else to move with the MR: volumes, segmentations, models, markups, transforms with all that is
        under them.
    :param fixed_landmarks: Markups in the ultrasound, and ``moving_landmarks`` the same ones in the MR, in the same
        order or under the same labels: give the landmarks' error. The moving ones are moved with the MR.
    :raises InputError: when something cannot be registered or moved; the message says why and what to do.
    """
    fixed = _volumes(synthetic, "The synthetic")
    mr = _volumes(moving, "The pre-operative")
    us = None if us is None else transformable(found(us, "The iUS"), "The iUS")
    if us is not None and not us.IsA("vtkMRMLVolumeNode"):
        raise InputError(f"The iUS '{us.GetName()}' is not a volume: choose the ultrasound.")
    _check_differ(fixed, mr, us)
    registered = [*fixed.values(), *mr.values(), *([] if us is None else [us])]
    for node in registered:
        check_image(node, "The volume")
    warnings = [
        *_of_other_kinds(fixed, mr),
        *_made_from_mr(fixed, mr),
        *_of_several_sweeps(fixed),
        *_lying_apart(fixed, us),
    ]
    warnings += of_several_patients(registered)
    lists = [
        None if node is None else transformable(node, f"The list of landmarks in the {where}")
        for node, where in ((fixed_landmarks, "ultrasound"), (moving_landmarks, "MR"))
    ]
    landmarks, how_paired = _landmarks(*lists)
    warnings += [how_paired] if how_paired else []
    named = [transformable(node, "What is to be moved") for node in _several(also)]
    carried = {node.GetID(): node for node in [*mr.values(), *named, *lists[1:]] if node is not None}
    staying = [node for node in [*fixed.values(), us, lists[0]] if node is not None]
    warnings += _left_of_the_mr(carried.values(), staying)
    _check_can_move(list(carried.values()), staying)
    return Plan(fixed, mr, us, list(carried.values()), staying, landmarks, _places(registered), warnings)


def _several(also: Union[None, str, Any, Sequence[Union[str, Any]]]) -> List[Union[str, Any]]:
    """Return what else is to be moved as a list, though it be a single node or name."""
    if also is None or isinstance(also, (str, slicer.vtkMRMLNode)):
        return [] if also is None else [also]
    try:
        return list(also)
    except TypeError:
        kind = type(also).__name__
        raise InputError(f"What is to be moved, 'also', is a list of nodes, names or IDs, not {kind}.") from None


def _volumes(given: Mapping[str, Union[str, Any, None]], what: str) -> Dict[str, Any]:
    """Return ``{modality: node}``; whether a node has voxels that can be used is seen when they are read."""
    unknown = [str(key) for key in given if key not in MODALITIES]
    if unknown:
        raise InputError(f"{what} {', '.join(unknown)}: there is no such contrast. Name {', '.join(MODALITIES)}.")
    named = {str(key): (node, f"{what} {label(str(key))}") for key, node in given.items() if node is not None}
    return {key: transformable(found(node, name), name) for key, (node, name) in named.items()}


def _check_differ(fixed: Mapping[str, Any], moving: Mapping[str, Any], us: Optional[Any]) -> None:
    uses: Dict[str, str] = {}
    given = [(f"the synthetic {label(m)}", node) for m, node in fixed.items()]
    given += [(f"the pre-operative {label(m)}", node) for m, node in moving.items()]
    # The synthetic iUS itself will do as a field of view.
    given += [("the ultrasound", us)] if us is not None and us is not fixed.get(US) else []
    for use, node in given:
        if node.GetID() in uses:
            raise InputError(
                f"'{node.GetName()}' is given as {uses[node.GetID()]} and as {use}: choose different volumes."
            )
        uses[node.GetID()] = use


def _of_other_kinds(fixed: Mapping[str, Any], moving: Mapping[str, Any]) -> List[str]:
    """Return a warning of each volume that seems to be of another contrast, or as synthetic MR none of this software's.

    What is noted on a synthetic volume counts before its name.
    """
    warnings = [
        f"'{node.GetName()}' is given as the synthetic {label(modality)}, but was not made by this software: choose "
        "what was synthesised from the ultrasound, or make sure that it lies on that."
        for modality, node in fixed.items()
        if not is_synthetic(node) and node.IsA("vtkMRMLVolumeNode")
    ]
    known = {modality: noted(node).get("modality") for modality, node in fixed.items()}
    warnings += [
        f"'{fixed[modality].GetName()}' is given as the synthetic {label(modality)}, but was synthesised as "
        f"{label(other)}: is it the right volume?"
        for modality, other in known.items()
        if other not in (None, modality)
    ]
    names = {modality: fixed[modality].GetName() or "" for modality, noted_as in known.items() if noted_as is None}
    warnings += of_other_modalities(names, "volume")
    return warnings + of_other_modalities({m: node.GetName() or "" for m, node in moving.items()}, "volume")


def _made_from_mr(fixed: Mapping[str, Any], moving: Mapping[str, Any]) -> List[str]:
    """Return warnings of synthetic MR that was made from MR too: it shows the brain where that MR has it.

    :raises InputError: when that MR is what is to be registered: it would be found to lie right, wherever it lies.
    """
    warnings: List[str] = []
    for modality, node in fixed.items():
        sources = {m: node.GetNodeReference(INPUT + m) for m in MODALITIES if m != US}
        for source in [each for each in sources.values() if each is not None]:
            if any(source is mr for mr in moving.values()):
                raise InputError(
                    f"The synthetic {label(modality)} '{node.GetName()}' was made from '{source.GetName()}' itself, so "
                    "that this MR would be found to lie right wherever it lies. Synthesise from the ultrasound alone, "
                    "then register to that."
                )
            warnings.append(
                f"The synthetic {label(modality)} was made from the MR '{source.GetName()}' too: only if that lies on "
                "the ultrasound is this a registration to the ultrasound."
            )
    return list(dict.fromkeys(warnings))


def _of_several_sweeps(fixed: Mapping[str, Any]) -> List[str]:
    """Return a warning of synthetic MR that shows the brain at different times: made from several ultrasounds."""
    of_each = [(node, node.GetNodeReference(INPUT + US)) for node in fixed.values()]
    made = [(node, source) for node, source in of_each if source is not None]
    if all(source is made[0][1] for _, source in made):
        return []
    names = ", ".join(f"'{node.GetName()}' from '{source.GetName()}'" for node, source in made)
    return [
        f"The synthetic MR was made from different ultrasounds ({names}): if the brain moved between them, no one "
        "placement fits all. Choose what was made from one."
    ]


def _left_of_the_mr(carried: Iterable[Any], staying: Sequence[Any]) -> List[str]:
    """Return a warning of what was synthesised from MR that moves, and stays where that was."""
    moving = list(carried)
    left = [
        node.GetName()
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        if any(source is each for source in mr_behind(node) for each in moving)
        and not any(each is over for each in moving for over in (node, *placement.above(node)))
        and not any(node is each for each in staying)
    ]
    if not left:
        return []
    names = ", ".join(f"'{name}'" for name in left)
    return [
        f"{names}: synthesised from MR that is moved, but not moved with it. Move it too ('Also move'; in the console "
        "'also'), or synthesise it again."
    ]


def _lying_apart(fixed: Mapping[str, Any], us: Optional[Any]) -> List[str]:
    """Return a warning of the ultrasound where synthetic MR that was made from it lies elsewhere in the world now."""
    if us is None or us.GetImageData() is None:
        return []
    for node in [each for each in fixed.values() if each.GetNodeReference(INPUT + US) is us]:
        ends = [(0, length - 1) for length in us.GetImageData().GetDimensions()]
        corners = np.array([(*corner, 1) for corner in product(*ends)], float)
        change = world_matrix(us, "The iUS") - world_matrix(node, "The synthetic MR")
        apart = float(np.linalg.norm((corners @ change.T)[:, :3], axis=1).max())
        if apart > _APART_MM:
            return [
                f"'{us.GetName()}' and '{node.GetName()}', which was made from it, lie up to {apart:.1f} mm apart: one "
                "of them was moved since. Synthesise again, or put both under the same transform."
            ]
    return []


def _check_can_move(carried: Sequence[Any], staying: Sequence[Any]) -> None:
    for node in carried:
        parent = node.GetParentTransformNode()
        if parent is not None and not parent.IsTransformToWorldLinear():
            raise InputError(
                f"'{node.GetName()}' lies under a non-linear transform ('{parent.GetName()}'), and a registration "
                "cannot go on top of that: harden the transform (module Transforms), or take the node out of it."
            )
    for node in staying:
        moved = [each for each in carried if each is node or any(each is over for over in placement.above(node))]
        if moved:
            raise InputError(
                f"'{node.GetName()}' lies on the ultrasound and must stay, but '{moved[0].GetName()}' is to be moved "
                "with the MR: choose only what belongs to the MR."
            )


def check_unchanged(planned: Plan) -> List[str]:
    """Return a warning for each registered volume whose voxels are others than those that were registered.

    :raises InputError: if the scene is not any more what a plan was made for.
    """
    volumes = planned.registered()
    for node in planned.needed():
        if node.GetScene() is None:
            raise InputError(f"'{node.GetName()}' left the scene during the registration: nothing was moved.")
    for key, matrix in _places(volumes).items():
        if not np.allclose(matrix, planned.places[key], atol=1e-6):
            raise InputError(
                f"'{slicer.mrmlScene.GetNodeByID(key).GetName()}' was moved during the registration, so that its "
                "result does not fit: register again. Nothing was moved."
            )
    _check_can_move(planned.carried, planned.staying)
    warnings = []
    for key, (size, checksum) in _states(volumes).items():
        name = slicer.mrmlScene.GetNodeByID(key).GetName()
        was = planned.states.get(key, (size, checksum))
        if size != was[0]:
            raise InputError(
                f"'{name}' has another size than when the registration was begun, so that its result may not fit: "
                "register again. Nothing was moved."
            )
        if checksum != was[1]:
            warnings.append(
                f"The voxels of '{name}' have changed since the registration was begun: placement and figures are of "
                "what they were then. Register again for what they are now."
            )
    return warnings


def _states(volumes: Iterable[Any]) -> Dict[str, Tuple[Any, Optional[int]]]:
    """Return the size and the voxels' checksum of each volume by its ID; None for what is not there."""
    return {node.GetID(): nodes.state(node) for node in volumes if node.IsA("vtkMRMLVolumeNode")}


def _places(nodes: Sequence[Any]) -> Dict[str, np.ndarray]:
    return {node.GetID(): world_matrix(node, "The volume") for node in nodes if node.IsA("vtkMRMLVolumeNode")}


def transformable(node: Union[str, Any], what: str) -> Any:
    """Return the node that a user means, which can lie under a transform.

    :raises InputError: when there is none, or it cannot.
    """
    if isinstance(node, str):
        named = slicer.util.getNodesByClass("vtkMRMLTransformableNode")
        named = [each for each in named if node in (each.GetID(), each.GetName())]
        if len(named) != 1:
            count = "nothing" if not named else f"{len(named)} nodes"
            raise InputError(f"{what}: the scene has {count} named '{node}' to choose. Give the node itself or its ID.")
        return named[0]
    if not isinstance(node, slicer.vtkMRMLTransformableNode):
        name = f"'{node.GetName()}'" if isinstance(node, slicer.vtkMRMLNode) else type(node).__name__
        raise InputError(
            f"{what}: {name} cannot lie under a transform: choose a volume, model, segmentation or markup."
        )
    if node.GetScene() is None:
        raise InputError(f"{what}: '{node.GetName()}' is not in the scene any more.")
    nodes.check_scene(node, f"{what}:")
    return node


def _landmarks(fixed: Optional[Any], moving: Optional[Any]) -> Tuple[Optional[Landmarks], str]:
    """Return the landmarks in pairs, and a warning where these go by their labels, or contradict them."""
    if fixed is None and moving is None:
        return None, ""
    if fixed is None or moving is None:
        raise InputError("Landmarks are given for one volume only: give those in the ultrasound and those in the MR.")
    if fixed is moving:
        raise InputError(
            f"'{fixed.GetName()}' is given as the landmarks in the ultrasound and as those in the MR: give two lists, "
            "with the same points in the same order."
        )
    *points, how_paired = paired(_points(fixed), _points(moving))
    # Its own checks of the two lists are what is wanted here.
    target_registration_error(sitk.Transform(3, sitk.sitkIdentity), *points)
    return (points[0], points[1]), how_paired


def _points(markups: Any) -> PointList:
    """Return the points of a markups node in the world."""
    if not markups.IsA("vtkMRMLMarkupsNode"):
        raise InputError(f"'{markups.GetName()}' is not a list of points: choose a markups node.")
    points = [
        markups.GetNthControlPointPositionWorld(index)
        if markups.GetNthControlPointPositionStatus(index) == markups.PositionDefined
        else (np.nan,) * 3
        for index in range(markups.GetNumberOfControlPoints())
    ]
    labels = [markups.GetNthControlPointLabel(index) for index in range(len(points))]
    return PointList(np.array(points, dtype=float).reshape(-1, 3) @ RAS_TO_LPS[:3, :3], labels)
