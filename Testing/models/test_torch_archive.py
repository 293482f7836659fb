import pickle
import zipfile
from collections import OrderedDict

import pytest

torch = pytest.importorskip("torch")

from MMHVAESynthesisLib.errors import ModelError  # noqa: E402
from MMHVAESynthesisLib.models.torch_archive import read_state_dict  # noqa: E402

DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


@pytest.fixture
def saved(tmp_path):
    def save(content, **options):
        path = tmp_path / "saved.pth"
        torch.save(content, path, **options)
        return path

    return save


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_of_tensor_comes_back(saved, dtype):
    tensor = torch.arange(24).reshape(2, 3, 4).to(getattr(torch, dtype))
    result = read_state_dict(saved({"a": tensor}))["a"]
    assert result.dtype == tensor.dtype and torch.equal(result, tensor)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_views_offsets_strides_scalars_and_parameters_come_back_in_order(saved, protocol):
    base = torch.randn(6, 8)
    content = OrderedDict(
        z=base, transposed=base.t(), part=base[2:5, 1::3], row=base[3], scalar=torch.tensor(2.5),
        none=torch.empty(0, 4),
        parameter=torch.nn.Parameter(torch.randn(3)), expanded_in_place=torch.randn(4)[:, None].t(), a=torch.ones(1, 1),
    )  # fmt: skip
    result = read_state_dict(saved(content, pickle_protocol=protocol))
    assert list(result) == list(content)
    for name, tensor in content.items():
        assert torch.equal(result[name], tensor.detach()) and result[name].shape == tensor.shape
    assert result["z"].data_ptr() == result["transposed"].data_ptr(), "tensors that shared a storage share it again"


def test_a_modules_state_dict_comes_back_though_it_carries_metadata(saved):
    state = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).state_dict()
    assert state._metadata
    result = read_state_dict(saved(state))
    assert all(torch.equal(result[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_weights_beside_an_optimiser_are_found_and_the_rest_is_not_read(saved, key):
    layer = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    content = {"epoch": 7, key: layer.state_dict(), "optimizer": optimiser.state_dict(), "args": None}
    assert torch.equal(read_state_dict(saved(content))["weight"], layer.weight.detach())


@pytest.mark.parametrize(
    "content",
    [{}, [torch.ones(1)], {"epoch": 1}, {"a": torch.ones(1), "epoch": 1}, {1: torch.ones(1)}, torch.ones(2), None],
)
def test_a_file_of_torch_without_a_state_dict_says_so(saved, content):
    with pytest.raises(ModelError, match="no state dict"):
        read_state_dict(saved(content))


def test_two_state_dicts_are_ambiguous(saved):
    state = {"a": torch.ones(1)}
    with pytest.raises(ModelError, match="or several"):
        read_state_dict(saved({"model": state, "state_dict": state}))


def test_a_whole_pickled_network_is_refused(saved):
    with pytest.raises(ModelError, match="contains code or objects other than tensors"):
        read_state_dict(saved(torch.nn.Linear(2, 2)))


def test_a_torchscript_program_is_refused(archive):
    with pytest.raises(ModelError, match="TorchScript"):
        read_state_dict(archive({}, extra=[("archive/constants.pkl", b""), ("archive/code/net.py", b"")]))


def _pickle_of_one_tensor(tmp_path, count=4, key="0"):
    path = tmp_path / "one.pth"
    torch.save({"a": torch.zeros(count)}, path)
    with zipfile.ZipFile(path) as file:
        data = file.read("one/data.pkl")
    return data.replace(b"X\x01\x00\x00\x000", b"X" + len(key).to_bytes(4, "little") + key.encode())


def test_an_archive_written_by_hand_is_read(archive, tmp_path):
    state = read_state_dict(archive(_pickle_of_one_tensor(tmp_path), {"0": b"\0\0\x80?" * 4}))
    assert torch.equal(state["a"], torch.ones(4))


def test_storages_of_another_size_than_stated_are_damage(archive, tmp_path):
    data = _pickle_of_one_tensor(tmp_path)
    for content in (b"", b"\0" * 12, b"\0" * 20):
        with pytest.raises(ModelError, match=rf"damaged \(its part 'data/0' has an impossible size, {len(content)}"):
            read_state_dict(archive(data, {"0": content}))
    with pytest.raises(ModelError, match=r"damaged \(its part 'data/0' is missing"):
        read_state_dict(archive(data))


def test_a_reference_out_of_the_archives_folder_finds_nothing(archive, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"\0" * 16)
    for key in ("../../secret", str(secret)):
        with pytest.raises(ModelError, match="is missing"):
            read_state_dict(archive(_pickle_of_one_tensor(tmp_path, key=key), {"0": b"\0" * 16}))


def test_a_compressed_archive_is_refused_before_it_is_unpacked(archive, tmp_path):
    data = _pickle_of_one_tensor(tmp_path, count=50_000_000)
    path = archive(data, {"0": b"\0" * 200_000_000}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(ModelError, match="packed anew"):
        read_state_dict(path)


def test_sizes_that_the_file_cannot_hold_are_refused_before_memory_is_taken(archive, tmp_path):
    count = 2**30 - 4
    pickled = _pickle_of_one_tensor(tmp_path, count=100)
    assert pickled.count(b"Kd") == 2
    path = archive(pickled.replace(b"Kd", b"J" + count.to_bytes(4, "little")), {"0": b"\0" * 400})
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    for field in (20, 24):  # both sizes in the directory: 4 GB that are not there
        data[entry + field : entry + field + 4] = (4 * count).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(ModelError, match="impossible size, 4294967280"):
        read_state_dict(path)


def test_members_that_overlap_cannot_make_much_out_of_little(archive, tmp_path):
    path = tmp_path / "two.pth"
    torch.save({"a": torch.zeros(5000), "b": torch.zeros(5000)}, path)
    data = bytearray(path.read_bytes())
    entries = [i for i in range(len(data)) if data[i : i + 4] == b"PK\x01\x02"]
    with zipfile.ZipFile(path) as file:
        names = [info.filename for info in file.infolist()]
        offset = file.getinfo("two/data/0").header_offset
    second = entries[names.index("two/data/1")]
    data[second + 42 : second + 46] = offset.to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        read_state_dict(path)


def test_a_storage_described_in_two_ways_is_damage(archive):
    def record(kind):
        return (
            b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n"
            + kind
            + b"\nX\x01\x00\x00\x000X\x03"
            b"\x00\x00\x00cpuK\x04tQK\x00K\x04\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
        )

    data = b"}(X\x01\x00\x00\x00a" + record(b"FloatStorage") + b"X\x01\x00\x00\x00b" + record(b"IntStorage") + b"u."
    with pytest.raises(ModelError, match="two ways"):
        read_state_dict(archive(data, {"0": b"\0" * 16}))


def test_changed_bytes_are_noticed(saved):
    path = saved({"a": torch.full((1000,), 3.0)})
    data = bytearray(path.read_bytes())
    data[data.index(b"\0\0\x40\x40" * 10) + 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        read_state_dict(path)


def test_a_name_that_is_no_text_is_damage(saved):
    path = saved({"a": torch.ones(1)})
    content = bytearray(path.read_bytes())
    entry = content.find(b"PK\x01\x02")
    content[entry + 8 : entry + 10] = (1 << 11).to_bytes(2, "little")  # names are UTF-8
    content[entry + 46] = 0xFF
    path.write_bytes(content)
    with pytest.raises(ModelError, match="cut off or damaged"):
        read_state_dict(path)


def test_big_endian_is_refused(archive, tmp_path):
    data = _pickle_of_one_tensor(tmp_path)
    for order, good in ((b"little", True), (b"big", False)):
        path = archive(data, {"0": b"\0" * 16}, extra=[("archive/byteorder", order)])
        if good:
            read_state_dict(path)
        else:
            with pytest.raises(ModelError, match="big-endian"):
                read_state_dict(path)


def test_torch_load_is_never_called(saved, monkeypatch):
    path = saved({"a": torch.ones(3)})

    def forbidden(*args, **kwargs):
        raise AssertionError("torch.load or pickle was used")

    for owner, name in ((torch, "load"), (pickle, "Unpickler"), (pickle, "load"), (pickle, "loads")):
        monkeypatch.setattr(owner, name, forbidden)
    assert torch.equal(read_state_dict(path)["a"], torch.ones(3))


def test_a_pickle_of_many_megabytes_is_refused(archive):
    with pytest.raises(ModelError, match="impossible size"):
        read_state_dict(archive(b"]" * (5 << 20) + b"."))
