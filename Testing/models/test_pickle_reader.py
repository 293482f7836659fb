import io
import os
import pickle
import struct
import time
import types
import zipfile
from collections import OrderedDict

import pytest

from MMHVAESynthesisLib.errors import ModelError
from MMHVAESynthesisLib.models.pickle_reader import PickleReader, Refused, Storage, TensorRecord

FLOATS = b"ctorch\nFloatStorage\n"


def read(data):
    return PickleReader(data, "file.pth").read()


def text(value):
    encoded = str(value).encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def storage(count=6, kind=FLOATS, key="0"):
    return b"(" + text("storage") + kind + text(key) + text("cpu") + b"J" + struct.pack("<i", count) + b"tQ"


def integers(values):
    return b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", value) for value in values) + b"t"


def tensor(shape=(2, 3), strides=(3, 1), offset=0, count=6, call=b"ctorch._utils\n_rebuild_tensor_v2\n"):
    offset = b"\x8a\x08" + struct.pack("<q", offset)
    end = b"\x89ccollections\nOrderedDict\n)RtR"
    return call + b"(" + storage(count) + offset + integers(shape) + integers(strides) + end


class Runs:
    """A pickle of it calls ``function(*arguments)`` when it is opened."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def _code(marker):
    return f"__import__('os').mkdir({str(marker)!r})"


ATTACKS = {
    **{f"reduce_protocol_{p}": lambda m, p=p: pickle.dumps(Runs(os.mkdir, str(m)), protocol=p) for p in range(6)},
    "eval": lambda m: pickle.dumps(Runs(eval, _code(m)), protocol=2),
    "exec": lambda m: pickle.dumps(Runs(exec, _code(m)), protocol=4),
    "system": lambda m: pickle.dumps(Runs(os.system, f'mkdir "{m}"'), protocol=2),
    "inside_a_state_dict": lambda m: pickle.dumps(OrderedDict(weight=[{"a": (1, Runs(os.mkdir, str(m)))}]), protocol=2),
    "as_a_key": lambda m: b"}" + pickle.dumps(Runs(os.mkdir, str(m)), protocol=2)[2:-1] + b"Ns.",
    "inst": lambda m: b"(" + text(m) + b"ios\nmkdir\n.",
    "obj": lambda m: b"(cos\nmkdir\n" + text(m) + b"o.",
    "stack_global_from_the_memo": lambda m: (
        b"\x80\x04" + text("os") + b"\x940" + text("mkdir") + b"\x940h\x00h\x01\x93" + text(m) + b"\x85R."
    ),
    "setstate": lambda m: b"ctypes\nSimpleNamespace\n)R}" + text("__setstate__") + b"cos\nmkdir\nsb" + text(m) + b"b.",
    "setstate_on_a_dictionary": lambda m: (
        b"ccollections\nOrderedDict\n)R}" + text("__setstate__") + b"cos\nmkdir\nsb" + text(m) + b"b."
    ),
    "behind_the_memo": lambda m: b"cos\nmkdir\nq\x000ccollections\nOrderedDict\n0h\x00" + text(m) + b"\x85R.",
    "through_getattr": lambda m: (
        b"cbuiltins\ngetattr\n(cos\npath\n" + text("__class__") + b"tR0cos\nmkdir\n" + text(m) + b"\x85R."
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_code_in_a_pickle_runs(attack, tmp_path):
    control, marker = tmp_path / "control", tmp_path / "marker"
    pickle.loads(ATTACKS[attack](control))
    assert control.exists(), "this attack works on Python's own reader"
    with pytest.raises(Refused, match="contains code or objects other than tensors"):
        read(ATTACKS[attack](marker))
    assert not marker.exists()


def test_no_code_in_a_persistent_reference_runs(tmp_path):
    marker = tmp_path / "marker"
    call = pickle.dumps(Runs(os.mkdir, str(marker)), protocol=2)[2:-1]
    for data in (call + b"Q.", storage(kind=call) + b".", b"(" + text("storage") + call + b"tQ.", b"Pos.mkdir\n."):
        with pytest.raises(Refused):
            read(data)
    with pytest.raises(Refused):
        read(storage(kind=b"cos\nmkdir\n") + b".")
    assert not marker.exists()


@pytest.mark.parametrize(
    "name",
    [
        "torch load", "torch.hub load", "torch.serialization load", "torch._utils _rebuild_wrapper_subclass",
        "torch._tensor _rebuild_from_type_v2", "numpy.core.multiarray _reconstruct", "numpy dtype", "_codecs encode",
        "collections OrderedDict.fromkeys", "collections defaultdict", "torch._utils _rebuild_tensor_v2.__globals__",
        "collections  OrderedDict", "__builtin__ eval", "copyreg _reconstructor", "torch FloatStorage.__init__",
    ],
)  # fmt: skip
def test_names_outside_the_table_are_refused_by_name(name):
    module, _, attribute = name.partition(" ")
    with pytest.raises(Refused, match="contains code"):
        read(f"c{module}\n{attribute}\n.".encode())
    with pytest.raises(Refused, match="contains code"):
        read(text(module) + text(attribute) + b"\x93.")


@pytest.mark.parametrize(
    "code", [b"\x81", b"\x92", b"\x82\x01", b"\x83\x01\x00", b"o", b"\x8f", b"\x97", b"I1\n", b"S'a'\n"]
)
def test_instructions_outside_the_table_are_refused(code):
    with pytest.raises(Refused):
        read(b"ccollections\nOrderedDict\n)" + code + b".")


def test_no_attribute_of_this_software_is_set():
    state = b"}" + text("__defaults__") + b"Nsb."
    for target in (b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", b"}", tensor()):
        with pytest.raises(Refused, match="an object with a state"):
            read(target + state)
    result = read(b"ccollections\nOrderedDict\n)R}" + text("_metadata") + b"Nsb.")
    assert result == OrderedDict() and not vars(result)


def test_only_calls_can_be_called():
    for target in (FLOATS, text("os.mkdir"), b"K\x01", b"ccollections\nOrderedDict\n)R"):
        with pytest.raises(Refused, match="a call"):
            read(target + b")R.")


def test_what_torch_saves_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    content = {
        "state_dict": torch.nn.Linear(2, 3).state_dict(),
        "epoch": 3,
        "loss": 0.5,
        "note": ("a", None, [True, -1]),
    }
    torch.save(content, buffer)
    with zipfile.ZipFile(buffer) as file:
        data = file.read(next(name for name in file.namelist() if name.endswith("data.pkl")))
    result = read(data)
    assert result["epoch"] == 3 and result["loss"] == 0.5 and result["note"] == ("a", None, [True, -1])
    weight = result["state_dict"]["weight"]
    assert weight == TensorRecord(weight.storage, 0, (3, 2), (2, 1)) and weight.storage.count == 6


@pytest.mark.parametrize("protocol", range(2, 6))
def test_plain_containers_of_every_protocol_are_read(protocol):
    content = {
        "a": [1, 255, 256, 70000, -5, 2**40],
        "b": (1, 2, 3, 4),
        "c": {1: None, 2.5: "ä"},
        "d": OrderedDict(x=()),
    }
    assert read(pickle.dumps(content, protocol=protocol)) == content


def test_a_tensor_is_described():
    assert read(tensor() + b".") == TensorRecord(Storage("0", "float32", 6), 0, (2, 3), (3, 1))
    assert read(tensor((3, 2), (1, 3)) + b".").strides == (1, 3)
    assert read(tensor((2,), (2,), offset=3) + b".").offset == 3
    assert read(tensor((0, 5), (5, 1), count=0) + b".").shape == (0, 5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"shape": (2, 4), "strides": (4, 1)}, {"offset": 1}, {"shape": (7,), "strides": (0,)}, {"shape": (-2, -3)},
        {"strides": (-3, 1)}, {"offset": -1}, {"shape": (2,)}, {"shape": (2**61, 2**61)},
        {"shape": (1,) * 9, "strides": (1,) * 9},
        {"shape": (2, 2), "strides": (2**40, 1)}, {"count": -1},
    ],
)  # fmt: skip
def test_a_tensor_beyond_its_storage_is_damage(arguments):
    with pytest.raises(ModelError, match="damaged"):
        read(tensor(**arguments) + b".")


@pytest.mark.parametrize(
    "data",
    [
        b"", b".", b"(.", b"0.", b"t.", b"h\x00.", b"r\xff\xff\xff\xff.", b"K", b"X\xff\xff\xff\xffabc.",
        b"\x8d" + b"\xff" * 8,
        b"]K\x01K\x02s.", b"}K\x01a.", b"}(K\x01u.", b"cos", b"}]Ns.", b"X\x01\x00\x00\x00\xff.", b"(\x85.",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.", b"ctorch\nSize\n)R.", b"ctorch\nSize\nK\x01\x85R.",
        b"ctorch._utils\n_rebuild_parameter\nK\x01\x85R.", b"\x8a\xff.",
    ],
)  # fmt: skip
def test_a_damaged_pickle_is_said_to_be_damaged(data):
    with pytest.raises(ModelError) as caught:
        read(data)
    assert not isinstance(caught.value, Refused) and "damaged" in str(caught.value)


def test_huge_claims_deep_nests_and_cycles_cost_little():
    start = time.process_time()
    deep = 200_000
    read(b"]" * deep + b"a" * (deep - 1) + b".")
    nested = read(b")" + b"\x85" * deep + b".")
    assert type(nested) is tuple
    with pytest.raises(ModelError):  # as a key it would have to be hashed
        read(b"})" + b"\x85" * deep + b"Ns.")
    assert read(b"K\x01r\xff\xff\xff\xff.") == 1
    cycle = read(b"]q\x00h\x00a.")
    assert cycle[0] is cycle
    with pytest.raises(ModelError):  # shapes copied again and again
        read(b"(" + b"K\x01" * 1000 + b"tq\x000" + b"ctorch\nSize\nh\x00\x85R0" * 1000 + b"N.")
    assert time.process_time() - start < 5


def test_pythons_unpickler_is_not_used(monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("pickle was used")

    data = tensor() + b"."
    monkeypatch.setattr(pickle, "Unpickler", forbidden)
    monkeypatch.setattr(pickle, "loads", forbidden)
    assert isinstance(read(data), TensorRecord)


def test_a_namespace_class_is_an_object_too():
    with pytest.raises(Refused):
        read(pickle.dumps(types.SimpleNamespace(a=1), protocol=4))
