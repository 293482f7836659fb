"""What a checkpoint file says of its network, as JSON: sizes, spacing, training data, licence, digest."""

import dataclasses
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

from ..errors import ModelError
from ..network.sizes import NetworkSizes
from . import safetensors_file

FORMAT = 1
"""Version of the header. A file with a larger one was written by a newer version of this software."""

METADATA_KEY = "mmhvae"
"""Where the header stands in a safetensors file's metadata."""

INTENSITIES = "positive voxels: minimum to 99.95th percentile; background -1"
"""The intensity rule that this software applies to inputs; a network trained under another one cannot be used."""

DEFAULT_SPACING = 0.5
"""mm; what a checkpoint without a header means."""

_UPPER_BOUND = 8192
_MODALITY = re.compile(r"[A-Za-z0-9_-]{1,32}")
_MAX_MODALITIES = 16


@dataclass(frozen=True)
class ModelHeader:
    """Facts about a network and its file.

    :param name: For people and provenance.
    :param sizes: Of the network.
    :param spacing: Pixel spacing of its slices in mm.
    :param skull_stripped: Whether it was trained on brains without the skull; None where nobody says.
    :param training: Free facts about the training: data, epochs, ... JSON values.
    :param licence: Of the weights; empty where nobody says.
    :param digest: sha256 over the tensors, 64 hexadecimal figures; empty before they are known.
    :param source: The file it was read from.
    :raises ModelError: when a value is impossible.
    """

    name: str
    sizes: NetworkSizes
    spacing: float = DEFAULT_SPACING
    skull_stripped: Optional[bool] = None
    training: Dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    digest: str = ""
    source: str = ""

    def __post_init__(self):
        if not self.name:
            raise ModelError("A model needs a name.")
        if not (math.isfinite(self.spacing) and 0.01 <= self.spacing <= 100):
            raise ModelError(f"A model's spacing must lie between 0.01 and 100 mm, not {self.spacing}.")
        if self.digest and not re.fullmatch(r"[0-9a-f]{64}", self.digest):
            raise ModelError("A model's digest must be 64 hexadecimal figures.")

    @property
    def directions(self) -> int:
        """Across how many axes of a volume it was trained on slices: 3 where those were crops, else 1, as published."""
        config = self.training.get("config")
        data = config.get("data") if isinstance(config, dict) else None
        return 3 if isinstance(data, dict) and data.get("sampling") == "crops" else 1

    def to_json(self) -> str:
        """Return the header as one line of JSON; ``source`` is left out, since a file may be moved."""
        content = dataclasses.asdict(self)
        del content["source"]
        content["sizes"]["modalities"] = list(self.sizes.modalities)
        return json.dumps({"format": FORMAT, "intensities": INTENSITIES, **content}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, source: str) -> "ModelHeader":
        """Read what :meth:`to_json` wrote.

        :raises ModelError: when it is no such header, or one of a newer version.
        """
        content = _parsed(text, source)
        _check_version(content, source)
        try:
            return cls(
                name=_typed(content, "name", str),
                sizes=sizes_from_json(_typed(content, "sizes", dict)),
                spacing=float(_typed(content, "spacing", (int, float))),
                skull_stripped=_typed(content, "skull_stripped", (bool, type(None))),
                training=_typed(content, "training", dict),
                licence=_typed(content, "licence", str),
                digest=_typed(content, "digest", str),
                source=source,
            )
        except (ModelError, OverflowError) as error:
            raise ModelError(f"The header of '{source}' cannot be used: {error}") from error


def _refuse_constant(name: str) -> None:
    # Python writes and reads NaN and infinities, JSON has none.
    raise ValueError(name)


def _parsed(text: str, source: str) -> Dict[str, Any]:
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"The header of '{source}' is damaged: get the file again.") from error
    if not isinstance(content, dict):
        raise ModelError(f"The header of '{source}' is damaged: get the file again.")
    return content


def _check_version(content: Mapping[str, Any], source: str) -> None:
    version = content.get("format")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ModelError(f"The header of '{source}' states no version: the file is damaged or foreign.")
    if version > FORMAT:
        raise ModelError(
            f"'{source}' was written by a newer version of this software (header {version}, this one reads {FORMAT}): "
            "update the extension."
        )
    if content.get("intensities") != INTENSITIES:
        raise ModelError(
            f"'{source}' was trained with other input intensities than this version applies "
            f"({content.get('intensities')!r:.80}): update the extension, or use another model."
        )


def _typed(content: Mapping[str, Any], key: str, kind) -> Any:
    """Return an entry of the JSON, which must be there and of the kind; JSON's true is no number."""
    if key not in content:
        raise ModelError(f"'{key}' is missing.")
    value = content[key]
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ModelError(f"'{key}' is {value!r:.60}.")
    return value


def sizes_from_json(content: Mapping[str, Any]) -> NetworkSizes:
    """Return the sizes that a header states; those left out have their defaults.

    :raises ModelError: when one is unknown, of the wrong type or far out of range. What they cost in memory is bounded
        by comparing with the tensors before a network is built.
    """
    defaults = {entry.name: entry.default for entry in dataclasses.fields(NetworkSizes)}
    unknown = sorted(set(content) - set(defaults))
    if unknown:
        raise ModelError(f"the network has sizes unknown to this version ({unknown[0]!r:.60}); update the extension.")
    values: Dict[str, Any] = {}
    for name in content:
        if name == "modalities":
            values[name] = checked_modalities(_typed(content, name, list))
        else:
            values[name] = _typed(content, name, type(defaults[name]))
        if isinstance(values[name], int) and not 0 <= values[name] <= _UPPER_BOUND:
            raise ModelError(f"'{name}' is {values[name]}.")
    if values.get("halvings", 1) > math.log2(_UPPER_BOUND):
        raise ModelError(f"'halvings' is {values['halvings']}.")
    sizes = NetworkSizes(**values)
    if sizes.base_features > sizes.max_features:
        raise ModelError("'base_features' is larger than 'max_features'.")
    return sizes


def checked_modalities(keys) -> tuple:
    """Return modality keys as a tuple.

    :raises ModelError: when one cannot be a key, or there are too many.
    """
    if len(keys) > _MAX_MODALITIES:
        raise ModelError(f"A network of {len(keys)} modalities is not supported ({_MAX_MODALITIES} at most).")
    for key in keys:
        if not isinstance(key, str) or not _MODALITY.fullmatch(key):
            raise ModelError(f"{key!r:.60} is no modality key.")
    return tuple(keys)


def read_header(path: Path) -> Tuple[ModelHeader, safetensors_file.Layout]:
    """Read the header of a safetensors file, and where its tensors lie; the tensors' bytes are not read.

    :raises ModelError: when the file is cut off, damaged, foreign or newer than this software.
    """
    layout = safetensors_file.read_layout(path)
    if METADATA_KEY not in layout.metadata:
        raise ModelError(
            f"'{path}' is a safetensors file of something else: it has no MMHVAE header. Give a MMHVAE checkpoint."
        )
    return ModelHeader.from_json(layout.metadata[METADATA_KEY], str(path)), layout
