"""Which weights a run has written: their digests are kept with its state."""

import json
from pathlib import Path
from typing import Any, List, Mapping

from ..errors import InputError, ModelError
from ..models.header import read_header
from ..outputs import put_in_place
from . import config as configurations
from . import state

FILE = "exported.json"
"""In the folder of the state: the digests of all weights that the run has written."""


def begin(folder: Path) -> None:
    """Note that a run which begins has written no weights yet.

    :raises OutputError: when the file cannot be written.
    """
    if not (folder / FILE).exists():
        _write([], folder)


def add(digest: str, folder: Path) -> None:
    """Note that a run has written weights.

    :raises OutputError: when the file cannot be written.
    """
    _write([*(former for former in _digests(folder) if former != digest), digest], folder)


def is_of_run(path: Path, folder: Path) -> bool:
    """Return whether a file holds weights that the run whose state is in ``folder`` has written.

    A run that an earlier version began has noted nothing: there the weights must say of their training what the state
    says.

    :raises OutputError: when there is a state that cannot be read.
    """
    try:
        header = read_header(path)[0]
    except (OSError, ModelError):
        return False
    if (folder / FILE).exists():
        return header.digest in _digests(folder)
    found = state.load_values(folder)
    return found is not None and _agree(header.training, found)


def _agree(training: Mapping[str, Any], saved: Mapping[str, Any]) -> bool:
    """Return whether weights and a state, which may be some steps further, are of one training."""
    try:
        if configurations.from_dict(training["config"]) != configurations.from_dict(saved["config"]):
            return False
        if training["steps"] > saved["step"]:
            return False
    except (InputError, KeyError, TypeError, ValueError):
        return False
    # The earliest versions did not keep them.
    pairs = (("cases", "names"), ("started_from", "origin"))
    return all(training[ours] == saved[theirs] for ours, theirs in pairs if ours in training and theirs in saved)


def _digests(folder: Path) -> List[str]:
    try:
        return list(json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return []


def _write(digests: List[str], folder: Path) -> None:
    file = folder / FILE
    with put_in_place([file]) as parts:
        parts[file].write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
