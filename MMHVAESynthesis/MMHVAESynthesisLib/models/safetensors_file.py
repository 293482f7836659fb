"""The safetensors format: eight bytes of length, a JSON header, the tensors' bytes (huggingface.co/docs/safetensors).

Written here rather than taken from the package of that name: the format is a page long, a checkpoint has to be read in
a Slicer where nothing is installed yet but torch (or, to list models, not even that), and what is wrong with a file
(cut off, foreign, inconsistent) has to be found and said in words in any case.
Knows neither torch nor numpy: tensors are bytes here.
"""

import json
import math
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Tuple, Union

from ..errors import ModelError, OutputError
from ..paths import move

ITEM_SIZES = {"F16": 2, "F32": 4}
"""Types of our checkpoints and the bytes of one element."""

METADATA = "__metadata__"
_MAX_HEADER = 16 << 20
"""Bytes of a model's."""

Buffer = Union[bytes, bytearray, memoryview]


@dataclass(frozen=True)
class Entry:
    """A tensor in a file: its type, shape, and where its bytes begin, counted from the end of the header."""

    dtype: str
    shape: Tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        """Bytes."""
        return ITEM_SIZES[self.dtype] * math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """What the beginning of a file says: its metadata, its tensors in the order of their bytes, where those begin."""

    metadata: Dict[str, str]
    entries: Dict[str, Entry]
    data_start: int


def read_layout(path: Path, longest: int = _MAX_HEADER) -> Layout:
    """Read and check all but the tensors' bytes.

    :param longest: Bytes that the header may have.
    :raises ModelError: when the file is cut off or damaged.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > size - 8:
            raise _cut_off(path, size, 8 + length)
        if length > longest:
            raise _damaged(path, "its header is too long")
        text = file.read(length)
    try:
        content = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its header is no JSON") from error
    if not isinstance(content, dict):
        raise _damaged(path, "its header is no JSON object")
    metadata = content.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged(path, "its metadata are no texts")
    layout = Layout(metadata, _entries(content, path), 8 + length)
    end = layout.data_start + sum(entry.size for entry in layout.entries.values())
    if size < end:
        raise _cut_off(path, size, end)
    if size > end:
        raise _damaged(path, f"{size - end} bytes too many follow its tensors")
    return layout


def _cut_off(path: Path, size: int, expected: int) -> ModelError:
    return ModelError(
        f"'{path}' is cut off: it has {size} of {expected} bytes. The download or the copy was not complete: "
        "get the file again."
    )


def _damaged(path: Path, why: str) -> ModelError:
    return ModelError(f"'{path}' is damaged ({why}): get the file again.")


def _entries(content: Mapping[str, Any], path: Path) -> Dict[str, Entry]:
    """Return the tensors' entries in the order of their bytes, which must follow one another without a gap."""
    entries: Dict[str, Entry] = {}
    position = 0
    try:
        for name, value in sorted(content.items(), key=lambda item: tuple(map(int, item[1]["data_offsets"]))):
            start, end = value["data_offsets"]
            entry = Entry(value["dtype"], tuple(value["shape"]), start)
            if entry.dtype not in ITEM_SIZES:
                raise ModelError(
                    f"'{path}' has weights of type {entry.dtype!r:.20}, which is not supported (F32 and F16 are)."
                )
            if len(entry.shape) > 8 or not all(type(length) is int and length >= 0 for length in entry.shape):
                raise ValueError(name)
            if (start, end) != (position, position + entry.size):
                raise ValueError(name)
            entries[name], position = entry, end
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise _damaged(path, "its list of tensors does not fit together") from error
    return entries


def read_tensors(path: Path, layout: Layout) -> Dict[str, bytearray]:
    """Read the tensors' bytes.

    :raises ModelError: when the file ends early, or cannot be read.
    """
    buffers: Dict[str, bytearray] = {}
    try:
        with open(path, "rb") as file:
            file.seek(layout.data_start)
            for name, entry in layout.entries.items():
                buffers[name] = bytearray(entry.size)
                if file.readinto(buffers[name]) != entry.size:
                    raise ModelError(f"'{path}' is cut off: get the file again.")
    except OSError as error:
        raise ModelError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    return buffers


def write(
    path: Path,
    metadata: Mapping[str, str],
    tensors: Mapping[str, Tuple[str, Tuple[int, ...], Buffer]],
    check: Callable[[Path], Any],
) -> None:
    """Write a file beside ``path``, check it, and only then give it its name.

    :param tensors: ``{name: (type, shape, bytes)}``, all of one type.
    :param check: Called with the file before it gets its name; raises when it is not right.
    :raises OutputError: when it cannot be written.
    """
    header: Dict[str, Any] = {METADATA: dict(metadata)}
    position = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, position + len(data)]}
        position += len(data)
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned
    # The name may be as long as can be.
    beside = path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex}.part")
    try:
        try:
            with open(beside, "xb") as file:
                file.write(len(text).to_bytes(8, "little") + text)
                for _, _, data in tensors.values():
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
            check(beside)
            move(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except (OSError, ModelError) as error:
        raise OutputError(f"The model file '{path}' cannot be written: {error}") from error
