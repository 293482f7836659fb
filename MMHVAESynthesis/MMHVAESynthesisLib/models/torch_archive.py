"""Tensors out of torch's zip checkpoints (.pth, .pt), without torch.load: no code in the file is ever run.

A checkpoint is a zip archive of one folder: ``data.pkl`` describes the tensors, ``data/<key>`` holds each storage, not
compressed (torch/serialization.py). Members are checked for their stated size before memory is taken, and read once.
"""

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

import torch
from torch import Tensor

from ..errors import ModelError
from .pickle_reader import PickleReader, Storage, TensorRecord

_MAX_PICKLE = 4 << 20
"""Bytes of ``data.pkl``; that of the released checkpoint has 0.1 MB."""

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)
"""What ``zipfile`` raises on damaged archives; names that are no text and impossible places are ``ValueError``."""

_NESTED = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts keep the weights beside an optimiser's state."""


def read_state_dict(path: Path) -> Dict[str, Tensor]:
    """Return the tensors of a checkpoint in the file's order, in the file's types, on the CPU.

    A state dict, or one under a key that is usual for it. Tensors that share a storage in the file share it here.

    :raises ModelError: when the file is cut off, damaged, no torch checkpoint, or contains anything but tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _Members(archive, path)
            records = _state_dict(PickleReader(members.pickle(), str(path)).read(), path)
            return _tensors(records, members)
    except _DAMAGE as error:
        raise ModelError(
            f"'{path}' is cut off or damaged ({error}): the download or the copy was not complete, get the file again."
        ) from error


class _Members:
    """The members of a checkpoint's archive.

    :raises ModelError: when the archive holds no checkpoint.
    """

    def __init__(self, archive: zipfile.ZipFile, path: Path):
        self._archive, self._path = archive, path
        self._left = path.stat().st_size
        names = archive.namelist()
        pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ModelError(
                f"'{path}' is a zip archive, but no checkpoint of torch: unpack it and give the file inside."
            )
        self._folder = pickles[0][: -len("data.pkl")]
        if self._folder + "constants.pkl" in names:
            raise ModelError(
                f"'{path}' is a TorchScript program, which contains code, and is not opened: save the weights alone, "
                "torch.save(network.state_dict(), ...)."
            )
        if self._folder + "byteorder" in names and self._read("byteorder", None) != b"little":
            raise ModelError(f"'{path}' was written on a big-endian machine, which is not supported.")

    def pickle(self) -> bytes:
        """Return the description of the tensors."""
        return bytes(self._read("data.pkl", None))

    def storage(self, storage: Storage) -> Tensor:
        """Return a storage as a flat tensor."""
        dtype = getattr(torch, storage.dtype)
        if storage.count == 0:
            return torch.empty(0, dtype=dtype)
        size = storage.count * torch.empty(0, dtype=dtype).element_size()
        return torch.frombuffer(self._read("data/" + storage.key, size), dtype=dtype)

    def _read(self, name: str, size: Optional[int]) -> bytearray:
        """Read a member of ``size`` bytes; None means a small one of any size."""
        try:
            member = self._archive.getinfo(self._folder + name)
        except KeyError as error:
            raise self._damaged(f"its part '{name:.60}' is missing") from error
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise ModelError(
                f"'{self._path}' was packed anew (compressed or encrypted): give the file as torch saved it."
            )
        # Members that overlap would make much out of little; together they cannot be larger than the file.
        self._left -= member.file_size
        allowed = range(_MAX_PICKLE + 1) if size is None else (size,)
        if member.file_size not in allowed or member.compress_size != member.file_size or self._left < 0:
            raise self._damaged(f"its part '{name:.60}' has an impossible size, {member.file_size} bytes")
        content = bytearray(member.file_size)
        with self._archive.open(member) as file:
            view, done = memoryview(content), 0
            while done < len(content):
                count = file.readinto(view[done:])
                if not count:
                    raise EOFError("a part ends early")
                done += count
        return content

    def _damaged(self, why: str) -> ModelError:
        return ModelError(f"'{self._path}' is damaged ({why}): get the file again.")


def _state_dict(content: Any, path: Path) -> Mapping[str, TensorRecord]:
    """Find the state dict: the object itself, or the only one under a usual key."""
    found: List[Mapping[str, TensorRecord]] = []
    if isinstance(content, dict):
        found = [c for c in (content, *(content.get(key) for key in _NESTED)) if _is_state_dict(c)]
    if len(found) != 1:
        raise ModelError(
            f"'{path}' is a file of torch, but holds no state dict, or several: it is no MMHVAE checkpoint."
        )
    return found[0]


def _is_state_dict(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(name, str) and isinstance(record, TensorRecord) for name, record in content.items())
    )


def _tensors(records: Mapping[str, TensorRecord], members: _Members) -> Dict[str, Tensor]:
    """Read the storages that are needed, each once, and lay the tensors over them."""
    storages: Dict[str, Tensor] = {}
    stated: Dict[str, Storage] = {}
    tensors: Dict[str, Tensor] = {}
    for name, record in records.items():
        storage = record.storage
        if stated.setdefault(storage.key, storage) != storage:
            raise ModelError(
                "The checkpoint is damaged: one of its parts is described in two ways. Get the file again."
            )
        if storage.key not in storages:
            storages[storage.key] = members.storage(storage)
        if math.prod(record.shape) == 0:
            tensors[name] = torch.empty(record.shape, dtype=storages[storage.key].dtype)
        else:
            tensors[name] = storages[storage.key].as_strided(record.shape, record.strides, record.offset)
    return tensors
