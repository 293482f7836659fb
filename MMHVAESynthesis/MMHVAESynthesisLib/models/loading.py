"""From the name of a model or a file to a network that is ready to run."""

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional, Sequence, Set, Tuple

import torch
from torch.nn import init
from torch.overrides import TorchFunctionMode

from ..errors import ModelError
from ..network.model import MMHVAE
from ..request import modality_of
from . import catalogue, identify, licences
from .checkpoint import State, read_pth, read_safetensors
from .header import ModelHeader

log = logging.getLogger(__name__)

_KEPT = 2
"""How many files' weights stay in memory, so that preview after preview does not read them anew."""


@dataclass(frozen=True)
class Model:
    """A network (evaluation mode, float32, CPU, no gradients), the caller's own, and what is known of it."""

    header: ModelHeader
    network: MMHVAE


def load(model: Optional[str] = None, modalities: Optional[Sequence[str]] = None, keep: bool = True) -> Model:
    """Load a model.

    :param model: Name in the catalogue, or a file; None means the default model.
    :param modalities: The order of the modalities, for checkpoints of 2023 that do not say it.
    :param keep: Keep the file's weights in memory for the next call; they are then there twice.
    :raises ModelError: when there is no such model, or its file cannot be used.
    """
    entry = catalogue.find(model)
    header, state = _read(entry, None if modalities is None else tuple(modalities), keep)
    _tell_licence(entry)
    header, state = _in_requests_words(header, state)
    return Model(header, build(header, {name: tensor.clone() for name, tensor in state.items()} if keep else state))


def _in_requests_words(header: ModelHeader, state: State) -> Tuple[ModelHeader, State]:
    """Return a model whose modalities are called as requests call them: where a file says ``t1ce``, ``cet1``."""
    theirs = header.sizes.modalities
    ours = tuple(modality_of(name) for name in theirs)
    if ours == theirs or len(set(ours)) < len(ours):
        return header, state
    words = {f"{part}.{old}.": f"{part}.{new}." for part in ("encoders", "decoders") for old, new in zip(theirs, ours)}
    renamed = {}
    for name, tensor in state.items():
        old = next((word for word in words if name.startswith(word)), "")
        renamed[words.get(old, "") + name[len(old) :]] = tensor
    return replace(header, sizes=replace(header.sizes, modalities=ours)), renamed


_told: Set[str] = set()


def _tell_licence(entry: catalogue.ModelEntry) -> None:
    """Log a licence that restricts the use, once in a process."""
    notice, identity = licences.notice(entry), licences.identity(entry)
    if notice and identity not in _told:
        _told.add(identity)
        log.info("%s", notice)


def build(header: ModelHeader, state: State) -> MMHVAE:
    """Build the network of a header from tensors under its own names; they become its own.

    :raises ModelError: when the network cannot be built of them.
    """
    try:
        with _NoStartingWeights():
            network = MMHVAE(header.sizes)
        network.load_state_dict(state, strict=True, assign=True)
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"The network of '{header.source}' cannot be built: {error}") from error
    return network.eval().requires_grad_(False)


class _NoStartingWeights(TorchFunctionMode):
    """Leaves new layers unfilled: drawing weights that are overwritten at once takes time and random numbers.

    The device "meta" would do so too, but weight normalisation on it imports SymPy: 2 s and 64 MB.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (init.kaiming_uniform_, init.uniform_, torch.Tensor.uniform_):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def read(path: Path, modalities: Optional[Tuple[str, ...]] = None) -> Tuple[ModelHeader, State]:
    """Read a checkpoint of either kind.

    :raises ModelError: when it cannot be used; the message says which kind of wrong file it is.
    """
    if identify.identify(path) == identify.TORCH:
        return read_pth(path, modalities)
    header, state = read_safetensors(path)
    if modalities is not None and modalities != header.sizes.modalities:
        raise ModelError(
            f"'{path}' states its modalities itself ({', '.join(header.sizes.modalities)}): give no others, or none."
        )
    return header, state


class _Cache:
    """The weights of the files read last, for as long as a file's size and time stay the same."""

    def __init__(self):
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple, Tuple[ModelHeader, State]] = OrderedDict()

    def get(self, entry: catalogue.ModelEntry, path: Path, modalities: Optional[Tuple[str, ...]]):
        with self._lock:
            identify.identify(path)
            stat = path.stat()
            key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns, entry.name, modalities)
            if key not in self._kept:
                self._kept[key] = _verified(entry, path, modalities)
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return self._kept[key]


_cache = _Cache()


def _verified(entry: catalogue.ModelEntry, path: Path, modalities: Optional[Tuple[str, ...]]):
    identify.identify(path)
    catalogue.verify(entry, path)
    return read(path, modalities)


def _read(entry: catalogue.ModelEntry, modalities: Optional[Tuple[str, ...]], keep: bool):
    if entry.path is None:
        raise ModelError(catalogue.how_to_get(entry))
    header, state = (_cache.get if keep else _verified)(entry, entry.path, modalities)
    if entry.in_catalogue:
        header = replace(header, name=entry.name, licence=header.licence or entry.licence)
    return header, state
