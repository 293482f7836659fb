"""A synthesis from the scene into the scene: what is the same whoever computes it, this process or a child."""

import logging
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence

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
    """

    request: Optional[SynthesisRequest]
    sources: Dict[str, Any]
    given: Dict[str, Any]

    def without_images(self) -> "SceneSynthesis":
        """Return what :meth:`add` needs, so that the copies of the inputs can be freed while a child works."""
        return replace(self, request=None)

    def needed(self) -> List[Any]:
        """Return the nodes without which a result has no place: the reference input and those to overwrite."""
        reference = next(self.sources[modality] for modality in MODALITIES if modality in self.sources)
        return [reference, *self.given.values()]

    def input_warnings(self) -> List[str]:
        """Return what is to be said of the inputs, as nodes of the scene, beside what the engine says of them."""
        return provenance.input_warnings(self.sources)

    def add(self, result: Any) -> Dict[str, Any]:
        """Add a ``SynthesisResult`` of the request to the scene, log its warnings, and return ``{modality: node}``.

        :raises InputError: when a node that is needed has left the scene; the scene is then left as it was.
        """
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
    return SceneSynthesis(request, sources, given)
