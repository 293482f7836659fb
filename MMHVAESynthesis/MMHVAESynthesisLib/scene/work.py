"""A synthesis from the scene into the scene: what is the same whoever computes it, this process or a child."""

import logging
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import slicer
import vtk

from ..errors import InputError
from ..modalities import MODALITIES, label, of_other_modalities
from ..request import SynthesisRequest
from . import annotations, nodes, provenance
from . import outputs as results
from .loaded import of_several_patients

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SceneSynthesis:
    """A request with the nodes that it came from.

    :param request: Its inputs are images in world coordinates; None once they are no longer needed.
    :param sources: ``{modality: input node}``.
    :param given: ``{modality: node to overwrite}``.
    :param grid: Of the reference input when its voxels were copied; see :func:`_grid`.
    :param states: Of all inputs then; see :func:`_states`.
    :param former: Sizes and checksums of what is to be overwritten, by modality.
    """

    request: Optional[SynthesisRequest]
    sources: Dict[str, Any]
    given: Dict[str, Any]
    grid: Tuple[Any, np.ndarray, np.ndarray]
    states: Dict[str, Tuple[Any, Any]]
    former: Dict[str, Tuple[Any, Optional[int]]]

    def without_images(self) -> "SceneSynthesis":
        """Return what :meth:`add` needs, so that the copies of the inputs can be freed while a child works."""
        return replace(self, request=None)

    def needed(self) -> List[Any]:
        """Return the nodes without which a result has no place: the reference input and those to overwrite."""
        return [_reference(self.sources), *self.given.values()]

    def input_warnings(self) -> List[str]:
        """Return what is to be said of the inputs, as nodes of the scene, beside what the engine says of them."""
        return [*provenance.input_warnings(self.sources), *self._doubts()]

    def add(self, result: Any) -> Dict[str, Any]:
        """Add a ``SynthesisResult`` of the request to the scene, log its warnings, and return ``{modality: node}``.

        :raises InputError: when a node that is needed has left the scene, the reference input has another grid now, or
            a node that would be overwritten holds other voxels; the scene is then left as it was.
        """
        reference = _reference(self.sources)
        if reference.GetScene() is not None and not _lies_as_before(reference, self.grid):
            raise InputError(
                f"'{reference.GetName()}' was changed while this was computed from it (moved in place, or another "
                "frame of a sequence was chosen): the result has no place now, and nothing was added. Apply again."
            )
        self._check_given()
        result = provenance.with_input_warnings(result, self.sources)
        result = provenance.with_warnings(result, [*self._doubts(), *self._changes()])
        for warning in result.warnings:
            log.warning(warning)
        voxels = {modality: state[0] for modality, state in self.states.items()}
        result = replace(result, provenance={**result.provenance, "input_states": voxels})
        added = results.add(result, self.sources, self.given)
        # A volume of the user's that is shown may have become synthetic.
        annotations.refresh()
        return added

    def _check_given(self) -> None:
        """Raise InputError where a node that was given cannot be overwritten any more as it was agreed to be."""
        here = {modality: node for modality, node in self.given.items() if node.GetScene() is not None}
        results.checked(here, self.sources)
        for modality, node in here.items():
            if nodes.state(node) != self.former[modality]:
                raise InputError(
                    f"'{node.GetName()}', which was chosen for the {label(modality)}, has changed since this was begun "
                    "and would have been overwritten as it is now: nothing was added. Choose another volume, or apply "
                    "again."
                )

    def _doubts(self) -> List[str]:
        """Return a warning for every input that is called as another modality, and one where patients are mixed."""
        names = {modality: node.GetName() or "" for modality, node in self.sources.items()}
        here = [node for node in self.sources.values() if node.GetScene() is not None]
        return [*of_other_modalities(names, "volume"), *of_several_patients(here)]

    def _changes(self) -> List[str]:
        """Return a warning for every input that is still in the scene and not what was copied of it."""
        here = {modality: node for modality, node in self.sources.items() if node.GetScene() is not None}
        if _reference(self.sources) not in here.values():
            return []
        return [
            f"'{here[modality].GetName()}' has changed since this was begun (its voxels, or how it lies to the other "
            "inputs): the result is made of what it was then. Apply again for what it is now."
            for modality, state in _states(here).items()
            if not _are_same(state, self.states[modality])
        ]


def prepare(
    inputs: Mapping[str, Any],
    targets: Optional[Sequence[str]] = None,
    outputs: Optional[Mapping[str, Any]] = None,
    **settings: Any,
) -> SceneSynthesis:
    """Check what a user asks for and copy the input volumes.

    :param inputs: ``{modality: volume node, or the name or ID of one}``.
    :param outputs: ``{modality: scalar volume node to overwrite}``.
    :param settings: As :class:`SynthesisRequest`.
    :raises InputError: before any work is done.
    """
    sources = nodes.inputs_of(inputs)
    if sources and not any(modality in sources for modality in MODALITIES):
        given = ", ".join(sources)
        raise InputError(f"{given}: there is no such contrast. Give the inputs as {', '.join(MODALITIES)}.")
    given = results.checked(outputs, sources, targets)
    names = {modality: node.GetName() for modality, node in sources.items()}
    request = SynthesisRequest(nodes.to_images(sources), targets, names=names, **settings)
    former = {modality: nodes.state(node) for modality, node in given.items()}
    return SceneSynthesis(request, sources, given, _grid(_reference(sources)), _states(sources), former)


def _reference(sources: Mapping[str, Any]) -> Any:
    """Return the input on whose grid the results lie."""
    return next(sources[modality] for modality in MODALITIES if modality in sources)


def _grid(node: Any) -> Tuple[Any, np.ndarray, np.ndarray]:
    """Return a volume's size, and its (4, 4) matrices from voxel indices to RAS in mm: its own, and the world's."""
    return node.GetImageData().GetDimensions(), _own_matrix(node), nodes.world_matrix(node, "The input")


def _states(sources: Mapping[str, Any]) -> Dict[str, Tuple[Optional[int], Optional[np.ndarray]]]:
    """Return a checksum of each input's voxels, and its (4, 4) matrix from voxel indices to those of the reference.

    None stands for voxels that are not there, and for a place that no matrix tells.
    """
    reference = _reference(sources)
    to_world = _place(reference)
    states: Dict[str, Tuple[Optional[int], Optional[np.ndarray]]] = {}
    for modality, node in sources.items():
        place = None if to_world is None else _place(node)
        together = None if place is None else np.linalg.solve(to_world, place)
        # The results go with the reference, wherever it lies.
        states[modality] = nodes.checksum(node), np.eye(4) if node is reference else together
    return states


def _place(node: Any) -> Optional[np.ndarray]:
    try:
        return nodes.world_matrix(node, "The input")
    except InputError:
        return None


def _are_same(state: Tuple[Optional[int], Optional[np.ndarray]], before: Tuple[int, np.ndarray]) -> bool:
    voxels, place = state
    return voxels == before[0] and place is not None and _alike(place, before[1])


def _own_matrix(node: Any) -> np.ndarray:
    own = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(own)
    return slicer.util.arrayFromVTKMatrix(own)


def _lies_as_before(node: Any, before: Tuple[Any, np.ndarray, np.ndarray]) -> bool:
    """Return whether a volume has its former grid, in its own space, whatever moved it, or (hardened) in the world."""
    size, own, world = before
    data = node.GetImageData()
    if data is None or data.GetDimensions() != size:
        return False
    return _alike(_own_matrix(node), own) or _alike(nodes.world_matrix(node, "The input"), world)


def _alike(first: np.ndarray, second: np.ndarray) -> bool:
    return np.allclose(first, second, rtol=0, atol=1e-4)
