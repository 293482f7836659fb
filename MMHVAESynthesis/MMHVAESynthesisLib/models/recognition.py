"""Which model made what is noted as made by a name and a digest."""

from pathlib import Path
from typing import Optional

from ..errors import ModelError
from . import catalogue, identify
from .header import read_header


def is_same(model: Optional[str], name: str, digest: str) -> bool:
    """Return whether a model is the one that a run notes by ``name`` and ``digest``.

    :param model: Name in the catalogue, a file, or None for the default.
    """
    try:
        entry = catalogue.find(model)
        if entry.path is None:
            return False
        if identify.identify(entry.path) == identify.SAFETENSORS:
            return read_header(entry.path)[0].digest == digest
    except ModelError:
        return False
    # A run with a file of the user's notes its name without the ending.
    return name == (entry.name if entry.in_catalogue else Path(entry.file).stem)


def recognised(name: str, digest: str) -> Optional[str]:
    """Return what requests call the model that a run notes; None where it is not on this machine."""
    try:
        entries = catalogue.list_models()
    except ModelError:
        return None
    return next((entry.name for entry in entries if is_same(entry.name, name, digest)), None)
