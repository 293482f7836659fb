"""A reader of the pickles in torch's checkpoints that makes descriptions of tensors and plain containers alone.

It is no subclass of ``pickle.Unpickler``: it knows the few instructions that a state dict needs, looks no name up in
any module, calls nothing that a file names and sets no attribute. Whatever else a file asks for ends the reading.
Format: the instructions are described in Python's ``pickletools``; the rebuilding calls are those of ``torch.save``.
"""

import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, NoReturn, Tuple

from ..errors import ModelError

_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}

_MAX_DIMENSIONS = 8


@dataclass(frozen=True)
class Storage:
    """A block of ``count`` numbers of one ``dtype`` (torch's name), kept in the file under ``key``."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class TensorRecord:
    """Where a tensor's elements lie in its storage; offset and strides count elements. Checked to lie inside."""

    storage: Storage
    offset: int
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]


class Refused(ModelError):
    """The pickle asks for code or objects other than tensors."""


@dataclass(frozen=True)
class _Name:
    """A name that the pickle refers to; nothing but a text."""

    text: str


_MARK = object()


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> TensorRecord:
    """Describe the tensor that ``torch._utils._rebuild_tensor_v2`` would make; gradients and hooks do not matter."""
    if not isinstance(storage, Storage) or type(shape) is not tuple or type(strides) is not tuple or len(rest) > 3:
        raise ValueError("a tensor is described wrongly")
    if not len(shape) == len(strides) <= _MAX_DIMENSIONS or not all(map(_is_count, (offset, *shape, *strides))):
        raise ValueError("a tensor is described wrongly")
    elements = 1
    for length in shape:
        elements *= length
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides))
    # A tensor may be laid out in its storage in any way, but not be larger than it: expanding one number into
    # millions is no way to keep weights.
    if elements > storage.count or (elements and last >= storage.count):
        raise ValueError("a tensor reaches beyond its storage")
    return TensorRecord(storage, offset, shape, strides)


def _parameter(data: Any, *_rest: Any) -> TensorRecord:
    if not isinstance(data, TensorRecord):
        raise ValueError("a parameter is no tensor")
    return data


def _ordered_dict() -> "OrderedDict[Any, Any]":
    return OrderedDict()


def _size(lengths: Any) -> Tuple[Any, ...]:
    if type(lengths) not in (tuple, list) or len(lengths) > _MAX_DIMENSIONS:
        raise ValueError("a shape is described wrongly")
    return tuple(lengths)


# What stands for the calls that a state dict's pickle asks for.
_CALLS: Dict[str, Callable[..., Any]] = {
    "collections OrderedDict": _ordered_dict,
    "torch Size": _size,
    "torch._utils _rebuild_tensor": _tensor,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
}
_NAMES = {**{text: _Name(text) for text in _CALLS}, **{f"torch {name}": _Name(f"torch {name}") for name in _STORAGES}}


_LARGEST_KEY = 1 << 60


def _set(target: Any, key: Any, value: Any) -> None:
    # Only plain keys: hashing a tuple nested without end would overflow the interpreter's stack.
    if type(target) not in (dict, OrderedDict) or type(key) not in (str, int, float, bool, type(None)):
        raise ValueError("an entry is put into something that is no dictionary, or under an unusual key")
    if isinstance(key, (int, float)) and not abs(key) < _LARGEST_KEY:  # of which many can be made to share a hash
        raise ValueError("an entry is put under an unusual number")
    target[key] = value


class PickleReader:
    """Reads one pickle.

    :param data: The pickle's bytes.
    :param what: What to call the file in messages.
    """

    def __init__(self, data: bytes, what: str):
        self._data, self._what, self._position = data, what, 0
        self._stack: List[Any] = []
        self._memo: Dict[int, Any] = {}

    def read(self) -> Any:
        """Return the pickled object: containers, texts, numbers and :class:`TensorRecord`.

        :raises Refused: when it holds anything else.
        :raises ModelError: when the pickle is damaged.
        """
        try:
            while True:
                code = self._take(1)
                if code == b".":
                    return self._pop()
                handler = _HANDLERS.get(code)
                if handler is None:
                    self._refuse(f"pickle instruction {code!r}")
                handler(self)
        except (ValueError, IndexError, struct.error, RecursionError, MemoryError) as error:
            raise ModelError(f"'{self._what}' is damaged: its list of tensors cannot be read ({error}).") from error

    def _refuse(self, what: str) -> NoReturn:
        raise Refused(
            f"'{self._what}' contains code or objects other than tensors ({what:.80}) and is not opened. "
            "Save the weights alone, torch.save(network.state_dict(), ...), and take model files only from sources "
            "that you trust."
        )

    def _take(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._data):
            raise ValueError("it ends early")
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def _number(self, form: str) -> Any:
        return struct.unpack("<" + form, self._take(struct.calcsize("<" + form)))[0]

    def _line(self) -> str:
        end = self._data.index(b"\n", self._position)
        line = self._data[self._position : end].decode("utf-8")
        self._position = end + 1
        return line

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("its stack is out of order")
        return value

    def _pop_to_mark(self) -> List[Any]:
        for index in range(len(self._stack) - 1, -1, -1):
            if self._stack[index] is _MARK:
                values = self._stack[index + 1 :]
                del self._stack[index:]
                return values
        raise ValueError("its stack is out of order")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _text(self, form: str) -> None:
        self._push(self._take(self._number(form)).decode("utf-8", "surrogatepass"))

    def _tuple(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(values)))

    def _long(self) -> None:
        self._push(int.from_bytes(self._take(self._number("B")), "little", signed=True))

    def _put(self, index: int) -> None:
        value = self._pop()
        self._push(value)
        self._memo[index] = value

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise ValueError("it refers to what is not there")
        self._push(self._memo[index])

    def _append(self, values: List[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise ValueError("an item is put into something that is no list")
        self._stack[-1].extend(values)

    def _append_one(self) -> None:
        self._append([self._pop()])

    def _set_one(self) -> None:
        value, key = self._pop(), self._pop()
        _set(self._stack[-1], key, value)

    def _set_many(self) -> None:
        values = self._pop_to_mark()
        if len(values) % 2:
            raise ValueError("a key lacks its value")
        for key, value in zip(values[::2], values[1::2]):
            _set(self._stack[-1], key, value)

    def _global(self, module: Any, name: Any) -> None:
        known = _NAMES.get(f"{module} {name}") if type(module) is str and type(name) is str else None
        if known is None:
            self._refuse(f"{module}.{name}" if type(module) is str and type(name) is str else "a name made up")
        self._push(known)

    def _global_lines(self) -> None:
        module = self._line()
        self._global(module, self._line())

    def _global_stack(self) -> None:
        name, module = self._pop(), self._pop()
        self._global(module, name)

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        call = _CALLS.get(function.text) if type(function) is _Name else None
        if call is None or type(arguments) is not tuple:
            self._refuse("a call")
        try:
            self._push(call(*arguments))
        except TypeError as error:
            raise ValueError("a tensor is described wrongly") from error

    def _build(self) -> None:
        # torch hangs the modules' versions on a state dict in this way. They say nothing about tensors: dropped.
        state = self._pop()
        if type(self._stack[-1]) is not OrderedDict or type(state) is not dict:
            self._refuse("an object with a state")

    def _persistent(self) -> None:
        reference = self._pop()
        if type(reference) is not tuple or len(reference) != 5 or reference[0] != "storage":
            self._refuse("a reference to something that is no storage")
        _, kind, key, _, count = reference
        dtype = _STORAGES.get(kind.text.partition(" ")[2]) if type(kind) is _Name else None
        if dtype is None:
            self._refuse("a storage of an unknown type")
        if type(key) is not str or not _is_count(count):
            raise ValueError("a storage is described wrongly")
        self._push(Storage(key, dtype, count))


_HANDLERS: Dict[bytes, Callable[[PickleReader], None]] = {
    b"\x80": lambda r: r._take(1),  # PROTO
    b"\x95": lambda r: r._take(8),  # FRAME
    b"(": lambda r: r._push(_MARK),
    b"0": lambda r: r._pop(),
    b"1": lambda r: r._pop_to_mark(),
    b"N": lambda r: r._push(None),
    b"\x88": lambda r: r._push(True),
    b"\x89": lambda r: r._push(False),
    b"J": lambda r: r._push(r._number("i")),  # BININT
    b"K": lambda r: r._push(r._number("B")),
    b"M": lambda r: r._push(r._number("H")),
    b"\x8a": PickleReader._long,
    b"G": lambda r: r._push(struct.unpack(">d", r._take(8))[0]),  # BINFLOAT
    b"X": lambda r: r._text("I"),  # BINUNICODE
    b"\x8c": lambda r: r._text("B"),
    b"\x8d": lambda r: r._text("Q"),
    b")": lambda r: r._push(()),
    b"\x85": lambda r: r._tuple(1),
    b"\x86": lambda r: r._tuple(2),
    b"\x87": lambda r: r._tuple(3),
    b"t": lambda r: r._push(tuple(r._pop_to_mark())),
    b"]": lambda r: r._push([]),
    b"a": PickleReader._append_one,
    b"e": lambda r: r._append(r._pop_to_mark()),
    b"}": lambda r: r._push({}),
    b"s": PickleReader._set_one,
    b"u": PickleReader._set_many,
    b"q": lambda r: r._put(r._number("B")),  # BINPUT
    b"r": lambda r: r._put(r._number("I")),
    b"\x94": lambda r: r._put(len(r._memo)),  # MEMOIZE
    b"h": lambda r: r._get(r._number("B")),
    b"j": lambda r: r._get(r._number("I")),
    b"c": PickleReader._global_lines,
    b"\x93": PickleReader._global_stack,
    b"R": PickleReader._reduce,
    b"Q": PickleReader._persistent,
    b"b": PickleReader._build,
}
"""Instruction -> what it does here. INST, OBJ, NEWOBJ, EXT and all others are not among them."""
