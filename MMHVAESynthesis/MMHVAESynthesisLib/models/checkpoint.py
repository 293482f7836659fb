"""Checkpoint files in and out: the authors' .pth and this software's own safetensors with a header."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Dict, Optional, Sequence, Tuple

import torch
from torch import Tensor

from ..errors import ModelError
from ..network.model import MMHVAE
from . import safetensors_file
from .header import METADATA_KEY, ModelHeader, read_header
from .layout import check_shapes
from .released import infer_sizes, modality_order, names_in_published_order, network_names, published_names
from .torch_archive import read_state_dict

_TYPES = {"F16": torch.float16, "F32": torch.float32}

State = Dict[str, Tensor]


def read_pth(path: Path, modalities: Optional[Sequence[str]] = None) -> Tuple[ModelHeader, State]:
    """Read a published checkpoint; its sizes are inferred, its spacing is 0.5 mm.

    :param modalities: The order of the modalities where the file does not say it, or says it wrongly; the same
        modalities as in the file.
    :return: The header, and the tensors under this network's names, float32.
    :raises ModelError: when the file is damaged, malicious or foreign.
    """
    source = str(path)
    tensors = read_state_dict(path)
    published = published_names(list(tensors), source, modalities)
    order = modality_order(list(tensors), source, modalities)
    shapes = {published[name]: tuple(tensor.shape) for name, tensor in tensors.items()}
    sizes = infer_sizes(shapes, order if modalities is not None else names_in_published_order(order), source)
    own, foreign = network_names(list(shapes), order[0])
    check_shapes({own[name]: shape for name, shape in shapes.items() if name in own}, sizes, source, foreign)
    if len(shapes) != len(tensors):
        raise ModelError(f"'{path}' is no MMHVAE checkpoint: it holds tensors twice, under an old and a new name.")
    state = _as_float32({own[published[name]]: tensors.pop(name) for name in list(tensors)}, source)
    return ModelHeader(name=path.stem, sizes=sizes, digest=digest(state), source=source), state


def read_safetensors(path: Path) -> Tuple[ModelHeader, State]:
    """Read a checkpoint that :func:`save` wrote.

    :return: The header, and the tensors under this network's names, float32.
    :raises ModelError: when the file is cut off, damaged, foreign or newer than this software.
    """
    header, layout = read_header(path)
    check_shapes({name: entry.shape for name, entry in layout.entries.items()}, header.sizes, str(path))
    buffers = safetensors_file.read_tensors(path, layout)
    state = {
        name: torch.frombuffer(buffers.pop(name), dtype=_TYPES[entry.dtype]).view(entry.shape)
        for name, entry in layout.entries.items()
    }
    if digest(state) != header.digest:
        raise ModelError(f"'{path}' is damaged: its tensors do not have the digest that it states. Get the file again.")
    return header, _as_float32(state, str(path))


def save(path: Path, header: ModelHeader, network: MMHVAE, half: bool = False) -> ModelHeader:
    """Write a network's weights with their header: beside, read back, then renamed.

    :param half: Keep the weights in float16, which halves the file.
    :return: The header as written, with its digest and source.
    :raises ModelError: when the weights are not finite (in float16: too large).
    :raises OutputError: when the file cannot be written.
    :raises ValueError: when the header's sizes are not the network's.
    """
    if header.sizes != network.sizes:
        raise ValueError(f"the header states {header.sizes}, the network has {network.sizes}")
    path = Path(path)
    kind = "F16" if half else "F32"
    state = {name: tensor.detach().to("cpu", _TYPES[kind]) for name, tensor in sorted(network.state_dict().items())}
    _check_finite(state, "the network to be saved" + (" in half precision" if half else ""))
    header = replace(header, digest=digest(state), source=str(path))
    tensors = {name: (kind, tuple(tensor.shape), _bytes_of(tensor)) for name, tensor in state.items()}
    metadata = {"format": "pt", METADATA_KEY: header.to_json()}
    safetensors_file.write(path, metadata, tensors, read_safetensors)
    return header


def digest(state: State) -> str:
    """Return the sha256 over all tensors: name, type, shape and bytes of each, in the order of the names."""
    result = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        result.update(f"{name}|{str(tensor.dtype)[6:]}|{list(tensor.shape)}|".encode())
        result.update(_bytes_of(tensor))
    return result.hexdigest()


def _bytes_of(tensor: Tensor) -> bytearray:
    """Return a CPU tensor's elements, row by row; without numpy, which some torch cannot talk to."""
    buffer = bytearray(tensor.numel() * tensor.element_size())
    torch.frombuffer(buffer, dtype=tensor.dtype).view(tensor.shape).copy_(tensor)
    return buffer


def _as_float32(state: State, source: str) -> State:
    """Return copies in float32, each with its own memory, checked to be finite.

    Each tensor leaves ``state`` as it is copied, so that a model is never in memory twice.
    """
    result = {name: torch.empty(state[name].shape, dtype=torch.float32).copy_(state.pop(name)) for name in list(state)}
    _check_finite(result, f"'{source}'")
    return result


def _check_finite(state: State, what: str) -> None:
    faulty = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if faulty:
        raise ModelError(
            f"The weights of {what} are not all finite numbers ({len(faulty)} tensors, {faulty[0]} the first): "
            "the training diverged or the numbers are too large. Use an earlier checkpoint."
        )
