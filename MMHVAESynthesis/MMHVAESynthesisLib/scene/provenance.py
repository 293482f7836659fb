"""What this software notes on the volumes that it makes: node attributes and references, kept in .mrml and .mrb files.

Attributes begin with ``MMHVAE.``: ``synthetic`` ("1"), ``role`` (image, uncertainty or displacement), ``modality``,
``run`` (the same for all volumes of a run), ``created`` (UTC), and every entry of the result's provenance: ``model``,
``modelDigest``, ``inputs`` (JSON, the inputs' names by modality), ``temperature``, ``samples``, ``seed``, ``version``
and more.
References lead to the inputs (``MMHVAE.input.us``) and from an image to its uncertainty map (``MMHVAE.uncertainty``),
as long as these are in the scene.
"""

import dataclasses
import json
import re
import uuid
from datetime import datetime, timezone
from typing import Any, Dict, Iterable, List, Mapping, Optional

from ..errors import InputError
from ..modalities import MODALITIES, US, is_synthetic_name, of_synthetic_input

PREFIX = "MMHVAE."
UNCERTAINTY = PREFIX + "uncertainty"
INPUT = PREFIX + "input."
ROLE_IMAGE, ROLE_UNCERTAINTY, ROLE_DISPLACEMENT = "image", "uncertainty", "displacement"


def of_run(provenance: Mapping[str, Any]) -> Dict[str, str]:
    """Return the attributes that all volumes of one run share, from a result's ``provenance``; the ID is made here."""
    attributes = {_camel_case(key): _text(value) for key, value in provenance.items()}
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {**attributes, "synthetic": "1", "run": uuid.uuid4().hex, "created": created}


def note(node: Any, attributes: Mapping[str, str], inputs: Mapping[str, Any]) -> None:
    """Write ``attributes`` and references to the ``inputs`` (``{modality: node}``) on a node that is in the scene.

    What an earlier run noted on the node goes away.
    """
    forget(node)
    for key, value in attributes.items():
        node.SetAttribute(PREFIX + key, value)
    for modality, source in inputs.items():
        node.SetNodeReferenceID(INPUT + modality, source.GetID())


def forget(node: Any) -> None:
    """Remove everything that this software noted on ``node``."""
    for name in _attribute_names(node):
        node.RemoveAttribute(name)
    for role in _roles(node):
        node.SetNodeReferenceID(role, None)


def noted(node: Any) -> Dict[str, str]:
    """Return the attributes on ``node`` without their prefix; {} for a volume that this software did not make."""
    return {name[len(PREFIX) :]: node.GetAttribute(name) for name in _attribute_names(node)}


def parsed(text: Any, otherwise: Any) -> Any:
    """Return what a note says; a note that is no JSON, as the model's name, is a text."""
    if text is None:
        return otherwise
    try:
        return json.loads(text)
    except ValueError:
        return text


def references(node: Any) -> Dict[str, str]:
    """Return ``{role: node ID}`` of the references that this software made on ``node``."""
    return {role: node.GetNodeReferenceID(role) for role in _roles(node) if node.GetNodeReferenceID(role)}


def is_synthetic(node: Any) -> bool:
    """Return whether this software made the volume: as it notes, or, loaded from a file without notes, by its name."""
    return node.GetAttribute(PREFIX + "synthetic") == "1" or is_synthetic_name(node.GetName() or "")


def is_map(node: Any) -> bool:
    """Return whether a volume is no image, but an uncertainty map or a displacement."""
    return noted(node).get("role", ROLE_IMAGE) != ROLE_IMAGE


def check_image(node: Any, what: str) -> None:
    """Raise :class:`InputError` where :func:`is_map` is true."""
    if is_map(node):
        raise InputError(
            f"{what} '{node.GetName()}' is a map that goes with another volume or with a registration: choose an image."
        )


def mr_behind(node: Any) -> List[Any]:
    """Return the MR that a synthetic volume was made from and lies on; none where an ultrasound was among the inputs.

    Such a volume belongs to the MR, not to the ultrasound: it moves with it.
    """
    inputs = parsed(noted(node).get("inputs"), None)
    if not is_synthetic(node) or not isinstance(inputs, dict) or US in inputs:
        return []
    sources = [node.GetNodeReference(INPUT + modality) for modality in MODALITIES if modality != US]
    return [source for source in sources if source is not None]


def uncertainty_node(node: Any) -> Optional[Any]:
    """Return the uncertainty map (voxelwise standard deviation) of a synthetic volume, None where it has none."""
    found = node.GetNodeReference(UNCERTAINTY)
    # A map that another run's result was written into is none any more.
    notes = {} if found is None else noted(found)
    is_its_own = notes.get("role") == ROLE_UNCERTAINTY and notes.get("run") == noted(node).get("run")
    return found if is_its_own else None


def input_warnings(inputs: Mapping[str, Any]) -> List[str]:
    """Return a warning for every input (``{modality: node}``) that is itself synthetic."""
    return [of_synthetic_input(modality, node.GetName()) for modality, node in inputs.items() if is_synthetic(node)]


def with_input_warnings(result: Any, inputs: Mapping[str, Any]) -> Any:
    """Return ``result`` with :func:`input_warnings`, but those that it has already."""
    return with_warnings(result, [each for each in input_warnings(inputs) if each not in result.warnings])


def with_warnings(result: Any, more: Iterable[str]) -> Any:
    """Return ``result`` with more warnings, in its provenance too."""
    warnings = [*result.warnings, *more]
    return dataclasses.replace(result, warnings=warnings, provenance={**result.provenance, "warnings": warnings})


def _attribute_names(node) -> List[str]:
    return [name for name in node.GetAttributeNames() or () if name.startswith(PREFIX)]


def _roles(node) -> List[str]:
    roles: List[str] = []
    node.GetNodeReferenceRoles(roles)
    return [role for role in roles if role.startswith(PREFIX)]


def _camel_case(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match.group(1).upper(), name)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
