"""The state of a run in a folder: two generations of one safetensors file, each written beside, checked and renamed."""

import json
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

import torch
from torch import Tensor

from ..errors import ModelError, OutputError
from ..models import safetensors_file
from ..paths import move

log = logging.getLogger(__name__)

CURRENT, PREVIOUS, WRITTEN = "state.safetensors", "state-previous.safetensors", "state-next.safetensors"
_TREE = "tree"
_TENSOR = "tensor:"
_LONGEST_HEADER = 100_000_000
"""Bytes, as the format has it. The curves lie there: 2 MB after 130,000 steps of the published protocol."""


def _take_apart(value: Any, name: str, tensors: Dict[str, Tensor]) -> Any:
    """Replace the tensors of a tree of dicts, lists and plain values by their names; collect them in ``tensors``."""
    if isinstance(value, Tensor):
        if value.dtype != torch.float32:
            raise TypeError(f"{name} is {value.dtype}: a state holds float32 tensors and plain values")
        tensors[name] = value.detach().cpu().contiguous()
        return _TENSOR + name
    if isinstance(value, Mapping):
        # As pairs, because optimisers number their states and JSON has only names.
        return [[key, _take_apart(item, f"{name}/{key}", tensors)] for key, item in value.items()] + ["mapping"]
    if isinstance(value, (list, tuple)):
        return [_take_apart(item, f"{name}/{index}", tensors) for index, item in enumerate(value)] + ["sequence"]
    return value


def _put_together(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, str) and value.startswith(_TENSOR):
        return tensors[value[len(_TENSOR) :]]
    if isinstance(value, list):
        *items, kind = value
        if kind == "mapping":
            return {key: _put_together(item, tensors) for key, item in items}
        return [_put_together(item, tensors) for item in items]
    return value


def save(folder: Path, state: Mapping[str, Any]) -> None:
    """Write ``state``; the state that was there becomes the previous one.

    :param state: Dicts, lists, float32 tensors, numbers, texts.
    :raises OutputError: when it cannot be written; what was there stays.
    """
    tensors: Dict[str, Tensor] = {}
    tree = json.dumps(_take_apart(dict(state), "", tensors))
    content = {
        name: ("F32", tuple(tensor.shape), memoryview(tensor.reshape(-1).numpy()).cast("B"))
        for name, tensor in tensors.items()
    }
    safetensors_file.write(folder / WRITTEN, {_TREE: tree}, content, _layout)
    try:
        if (folder / CURRENT).exists():
            move(folder / CURRENT, folder / PREVIOUS)
        move(folder / WRITTEN, folder / CURRENT)
    except OSError as error:
        raise OutputError(f"The training state cannot be written to {folder}: {error}.") from error


def _read(path: Path) -> Dict[str, Any]:
    layout = _layout(path)
    tensors = {
        name: torch.frombuffer(buffer, dtype=torch.float32).reshape(layout.entries[name].shape)
        for name, buffer in safetensors_file.read_tensors(path, layout).items()
    }
    return _put_together(json.loads(layout.metadata[_TREE]), tensors)


def _layout(path: Path) -> safetensors_file.Layout:
    return safetensors_file.read_layout(path, _LONGEST_HEADER)


def _read_values(path: Path) -> Dict[str, Any]:
    tree = _layout(path).metadata[_TREE]
    return _put_together(json.loads(tree), defaultdict(lambda: None))


def load(folder: Path) -> Optional[Tuple[Dict[str, Any], Path]]:
    """Return the newest state that can be read and its file; None when the folder has none.

    :raises OutputError: when there are files but none can be read, so that no run is begun over them.
    """
    return _newest(folder, _read)


def load_values(folder: Path) -> Optional[Dict[str, Any]]:
    """Return the newest state with None for its tensors, which are not read; None when the folder has no state.

    :raises OutputError: when there are files but none can be read.
    """
    found = _newest(folder, _read_values)
    return found and found[0]


def _newest(folder: Path, read: Callable[[Path], Dict[str, Any]]) -> Optional[Tuple[Dict[str, Any], Path]]:
    found = [folder / name for name in (WRITTEN, CURRENT, PREVIOUS) if (folder / name).exists()]
    for path in found:
        try:
            return read(path), path
        except (OSError, ModelError, ValueError, KeyError) as error:
            log.warning("%s cannot be read (%s), trying the generation before", path, error)
    if found:
        raise OutputError(f"No training state in {folder} can be read: move it away to begin anew.")
    return None
