"""A synthesis from the scene into the scene: what is the same whoever computes it, this process or a child."""

import logging
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import slicer
import vtk

from ..errors import InputError
from ..modalities import MODALITIES
from ..request import SynthesisRequest
from . import annotations, nodes, provenance
from . import outputs as results

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SceneSynthesis:
    """A request with the nodes that it came from.

    :param request: Its inputs are images in world coordinates; None once they are no longer needed.
    :param sources: ``{modality: input node}``.
    :param given: ``{modality: node to overwrite}``.
    :param grid: Of the reference input when its voxels were copied; see :func:`_grid`.
    """

    request: Optional[SynthesisRequest]
    sources: Dict[str, Any]
    given: Dict[str, Any]
    grid: Tuple[Any, np.ndarray, np.ndarray]

    def without_images(self) -> "SceneSynthesis":
        """Return what :meth:`add` needs, so that the copies of the inputs can be freed while a child works."""
        return replace(self, request=None)

    def needed(self) -> List[Any]:
        """Return the nodes without which a result has no place: the reference input and those to overwrite."""
        return [_reference(self.sources), *self.given.values()]

    def input_warnings(self) -> List[str]:
        """Return what is to be said of the inputs, as nodes of the scene, beside what the engine says of them."""
        return provenance.input_warnings(self.sources)

    def add(self, result: Any) -> Dict[str, Any]:
        """Add a ``SynthesisResult`` of the request to the scene, log its warnings, and return ``{modality: node}``.

        :raises InputError: when a node that is needed has left the scene, or the reference input has another grid now;
            the scene is then left as it was.
        """
        reference = _reference(self.sources)
        if reference.GetScene() is not None and not _lies_as_before(reference, self.grid):
            raise InputError(
                f"'{reference.GetName()}' was changed while this was computed from it (moved in place, or another "
                "frame of a sequence was chosen): the result has no place now, and nothing was added. Apply again."
            )
        result = provenance.with_input_warnings(result, self.sources)
        for warning in result.warnings:
            log.warning(warning)
        added = results.add(result, self.sources, self.given)
        # A volume of the user's that is shown may have become synthetic.
        annotations.refresh()
        return added


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
    given = results.checked(outputs, sources, targets)
    names = {modality: node.GetName() for modality, node in sources.items()}
    request = SynthesisRequest(nodes.to_images(sources), targets, names=names, **settings)
    return SceneSynthesis(request, sources, given, _grid(_reference(sources)))


def _reference(sources: Mapping[str, Any]) -> Any:
    """Return the input on whose grid the results lie."""
    return next(sources[modality] for modality in MODALITIES if modality in sources)


def _grid(node: Any) -> Tuple[Any, np.ndarray, np.ndarray]:
    """Return a volume's size, and its (4, 4) matrices from voxel indices to RAS in mm: its own, and the world's."""
    return node.GetImageData().GetDimensions(), _own_matrix(node), nodes.world_matrix(node, "The input")


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
