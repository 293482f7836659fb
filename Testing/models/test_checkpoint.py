import dataclasses
import json
import re

import pytest

torch = pytest.importorskip("torch")

from MMHVAESynthesisLib.errors import ModelError, OutputError  # noqa: E402
from MMHVAESynthesisLib.models import checkpoint, layout, loading, names  # noqa: E402
from MMHVAESynthesisLib.models.checkpoint import digest, read_pth, read_safetensors, save  # noqa: E402
from MMHVAESynthesisLib.models.header import ModelHeader  # noqa: E402
from MMHVAESynthesisLib.network.sizes import NetworkSizes  # noqa: E402

PUBLISHED = {
    "released": NetworkSizes(),
    "pair": NetworkSizes(("us", "t2"), 16, 64, 5, 64, 5, 4),
    "small": NetworkSizes(("us", "t2"), 4, 8, 2, 16, 2, 2),
    "other_order": NetworkSizes(("flair", "us", "t2"), 4, 8, 2, 8, 2, 2),
    "one_modality": NetworkSizes(("us",), 4, 8, 3, 24, 1, 2),
    "cap_never_reached": NetworkSizes(("us", "t2"), 4, 64, 2, 12, 1, 6),
    "flat_widths": NetworkSizes(("us", "t2"), 8, 8, 2, 16, 3, 8),
    "no_blocks": NetworkSizes(("us", "t2"), 4, 8, 2, 16, 0, 2),
    "unknown_modalities": NetworkSizes(("swi", "dwi_b1000"), 4, 8, 1, 4, 1, 2),
}
OWN = {
    "variance": NetworkSizes(("us", "t2"), 4, 8, 2, 16, 1, 2, precision="variance"),
    "average": NetworkSizes(("us", "t2"), 4, 8, 2, 16, 1, 2, fusion="average"),
    "zero_fill": NetworkSizes(("us", "t2"), 4, 8, 2, 16, 1, 4, fusion="zero_fill"),
    "fewer_levels": NetworkSizes(("us", "t2"), 4, 8, 3, 16, 1, 2, latent_levels=2),
}


def shapes_of(network):
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def outputs(network, seed=3):
    sizes = network.sizes
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(2, 1, sizes.size, sizes.size, generator=generator) * 2 - 1
    with torch.no_grad():
        return network({sorted(sizes.modalities)[0]: image}, network.noise(2, generator)).images


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture
def write_pth(tmp_path):
    def write(state, name="weights.pth"):
        torch.save(state, tmp_path / name)
        return tmp_path / name

    return write


@pytest.mark.parametrize("sizes", [*PUBLISHED.values(), *OWN.values()], ids=[*PUBLISHED, *OWN])
def test_the_expected_layout_is_the_networks(make_network, sizes):
    assert layout.expected_shapes(sizes) == shapes_of(make_network(sizes))


@pytest.mark.parametrize(("key", "count"), [("released", 536), ("pair", None)])
def test_the_published_layouts_are_met_tensor_for_tensor(layouts, key, count):
    sizes = PUBLISHED[key]
    adapted = sizes.decoder_features != sizes.base_features // 2
    found = {names.from_released(name, adapted): tuple(shape) for name, shape in layouts[key].items()}
    assert len(found) == len(layouts[key]) and count in (None, len(found))
    assert found == layout.expected_shapes(sizes)


@pytest.mark.parametrize("key", ["released", "pair"])
def test_a_file_of_a_published_layout_loads_strictly(layouts, write_pth, key):
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in layouts[key].items()}
    model = loading.load(str(write_pth(state)))
    assert model.header.sizes == PUBLISHED[key] and model.header.spacing == 0.5 and model.header.name == "weights"
    own = model.network.state_dict()
    assert len(own) == len(state)
    adapted = key == "pair"
    assert all(torch.equal(own[names.from_released(name, adapted)], tensor) for name, tensor in state.items())
    if key == "released":
        assert sum(tensor.numel() for tensor in model.network.parameters()) == 13_774_770
    assert not model.network.training and not any(p.requires_grad for p in model.network.parameters())


def in_order(sizes):
    """The sizes as they are read: the first MR in the published order is the reference, however a file is sorted."""
    known = [modality for modality in ("us", "t2", "cet1", "flair") if modality in sizes.modalities]
    rest = [modality for modality in sizes.modalities if modality not in known]
    return dataclasses.replace(sizes, modalities=(*known, *rest))


@pytest.mark.parametrize("key", [key for key in PUBLISHED if key not in ("released", "pair")])
def test_sizes_are_inferred_and_outputs_are_equal(make_network, released_state, write_pth, key):
    network = make_network(PUBLISHED[key])
    model = loading.load(str(write_pth(released_state(network))))
    assert model.header.sizes == in_order(PUBLISHED[key])
    assert same(outputs(model.network), outputs(network))


def test_modalities_may_be_given_in_another_order(tiny, released_state, write_pth):
    path = write_pth(released_state(tiny))
    assert read_pth(path, ("t2", "us"))[0].sizes.modalities == ("t2", "us")
    with pytest.raises(ModelError, match="knows the modalities us, t2, not us, flair"):
        read_pth(path, ("us", "flair"))


def test_half_and_double_precision_files_are_read_as_float32(tiny, released_state, write_pth):
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        state = {name: tensor.to(dtype) for name, tensor in released_state(tiny).items()}
        loaded = read_pth(write_pth(state))[1]
        assert {tensor.dtype for tensor in loaded.values()} == {torch.float32}
        name = "encoders.us.stem.weight"
        assert torch.equal(loaded[name], tiny.state_dict()[name].to(dtype).float())


@pytest.mark.parametrize("sizes", ["small", "other_order", "flat_widths", "unknown_modalities"])
def test_the_forerunners_names_are_converted(make_network, forerunner_state, write_pth, sizes):
    network = make_network(PUBLISHED[sizes])
    state = forerunner_state(network)
    assert "final_blocks.0.convt2.weight" in state and "bottleneck_up.linear.weight_g" in state
    model = loading.load(str(write_pth(state)))
    assert model.header.sizes == in_order(PUBLISHED[sizes])
    assert same(outputs(model.network), outputs(network))


def test_the_forerunners_decoders_follow_the_order_that_the_user_gives(tiny, forerunner_state, write_pth):
    path = write_pth(forerunner_state(tiny))
    swapped = loading.load(str(path), modalities=["t2", "us"]).network
    assert torch.equal(swapped.decoders["t2"].image.weight, tiny.decoders["us"].image.weight)
    assert torch.equal(swapped.encoders["t2"].stem.weight, tiny.encoders["t2"].stem.weight)


def test_the_forerunners_order_that_cannot_be_known_is_asked_for(tiny, forerunner_state, write_pth):
    state = forerunner_state(tiny)
    mixed = {name: state[name] for name in sorted(state, key=lambda name: (not name.startswith("td.t2"), name))}
    mixed = {**{n: t for n, t in mixed.items() if n.startswith("first_conv.us")}, **mixed}
    path = write_pth(mixed)
    with pytest.raises(
        ModelError, match=r'different orders.*: models convert "' + '[^"]*weights.pth" --modalities us,t2$'
    ):
        read_pth(path)
    assert read_pth(path, ("us", "t2"))[0].sizes == tiny.sizes
    for fewer in ({n: t for n, t in state.items() if not n.startswith("final_blocks.1")},):
        with pytest.raises(ModelError, match=r"1 image decoders in a list, but 2 modalities \(us, t2\)"):
            read_pth(write_pth(fewer))


def test_the_forerunners_names_that_may_have_been_sorted_do_not_swap_its_decoders(tiny, forerunner_state, write_pth):
    path = write_pth(dict(sorted(forerunner_state(tiny).items())))
    with pytest.raises(ModelError, match="in alphabetical order, as if they had been sorted.*--modalities us,t2$"):
        read_pth(path)
    header, state = read_pth(path, ("us", "t2"))
    assert header.sizes == tiny.sizes and same(state, dict(tiny.state_dict()))


def test_sorted_names_in_other_letters_do_not_swap_decoders_either(
    make_network, tiny_sizes, forerunner_state, write_pth
):
    network = make_network(dataclasses.replace(tiny_sizes, modalities=("US", "T2")))
    path = write_pth(dict(sorted(forerunner_state(network).items())))
    with pytest.raises(ModelError, match="in alphabetical order.*--modalities US,T2$"):
        read_pth(path)
    read = loading.load(str(path), ["us", "T2"]).network
    for key, name in (("us", "US"), ("t2", "T2")):
        assert torch.equal(read.decoders[key].image.weight, network.decoders[name].image.weight)
        assert torch.equal(read.encoders[key].stem.weight, network.encoders[name].stem.weight)


def test_old_and_new_names_together_are_refused(tiny, released_state, write_pth):
    state = released_state(tiny)
    state["bottleneck_up.linear.weight_g"] = state["bottleneck_up.linear.parametrizations.weight.original0"]
    with pytest.raises(ModelError, match="twice"):
        read_pth(write_pth(state))


def test_missing_unexpected_and_misshapen_tensors_are_listed(tiny, released_state, write_pth):
    state = released_state(tiny)
    del state["td.us.0.weight"], state["pz.1.parametrizations.weight.original0"]
    state["extra.weight"] = torch.ones(2)
    state["td.t2.9.weight"] = torch.ones(2)
    state["qz.0.conv_0.bias"] = torch.ones(3)
    with pytest.raises(ModelError) as caught:
        read_pth(write_pth(state))
    message = str(caught.value)
    assert "2 missing (encoders.us.downs.0.weight, levels.1.prior" in message
    assert "2 unexpected (encoders.t2.downs.9.weight, extra.weight)" in message
    assert "1 of another shape (levels.0.expert.conv_0.bias (3,) instead of (8,))" in message


def test_a_long_list_of_faults_is_cut(tiny, released_state, write_pth):
    state = {f"x{i}": torch.ones(1) for i in range(300)}
    with pytest.raises(ModelError) as caught:
        read_pth(write_pth({**released_state(tiny), **state}))
    assert "300 unexpected (x0, x1, x10, ...)" in str(caught.value) and len(str(caught.value)) < 600


def test_other_networks_weights_are_named_as_such(write_pth):
    with pytest.raises(ModelError, match="no MMHVAE checkpoint"):
        read_pth(write_pth(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)).state_dict()))


@pytest.mark.parametrize(
    "name", ["bottleneck_down.linear.bias", "final_blocks.us.convt2.weight", "first_conv.us.weight"]
)
def test_a_missing_tensor_that_tells_a_size_is_named(tiny, released_state, write_pth, name):
    state = released_state(tiny)
    del state[name]
    with pytest.raises(ModelError, match=f"no complete MMHVAE checkpoint: '{re.escape(name)}'"):
        read_pth(write_pth(state))


def test_tensors_without_dimensions_or_levels_are_no_checkpoint(tiny, released_state, write_pth):
    for name in ("first_conv.us.weight", "bottleneck_down.linear.bias"):
        with pytest.raises(ModelError, match="no .*MMHVAE checkpoint"):
            read_pth(write_pth({**released_state(tiny), name: torch.tensor(1.0)}))
    with pytest.raises(ModelError, match="impossible sizes"):
        read_pth(write_pth({n: t for n, t in released_state(tiny).items() if not n.startswith("tu.")}))


def test_slices_that_are_not_square_are_not_supported(tiny, released_state, write_pth):
    state = released_state(tiny)
    name = "bottleneck_down.linear.parametrizations.weight.original1"
    state[name] = torch.ones(32, 8 * 4 * 6)
    with pytest.raises(ModelError, match="not square"):
        read_pth(write_pth(state))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tiny, tiny_sizes, released_state, write_pth, tmp_path, value):
    state = released_state(tiny)
    state["tu.0.conv_1.weight"][0, 0, 0, 0] = value
    with pytest.raises(ModelError, match=r"not all finite numbers \(1 tensors, levels.0.up.weight"):
        read_pth(write_pth(state))
    with pytest.raises(ModelError, match="not all finite"):
        save(tmp_path / "m.safetensors", ModelHeader("m", tiny_sizes), tiny)
    assert not (tmp_path / "m.safetensors").exists()


HEADER = dict(spacing=1.0, skull_stripped=True, training={"epochs": 2}, licence="CC0-1.0")


@pytest.mark.parametrize(
    "sizes", [PUBLISHED["small"], PUBLISHED["cap_never_reached"], *OWN.values()], ids=lambda s: s.fusion
)
def test_what_is_saved_comes_back_and_gives_the_same_images(make_network, tmp_path, sizes):
    network, path = make_network(sizes), tmp_path / "ä model.safetensors"
    written = save(path, ModelHeader("mine", sizes, **HEADER), network)
    model = loading.load(str(path))
    assert model.header == written and len(written.digest) == 64 and written.source == str(path)
    assert dataclasses.replace(written, digest="", source="") == ModelHeader("mine", sizes, **HEADER)
    assert same(outputs(model.network), outputs(network))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_half_precision_halves_the_file_and_rounds_once(tiny, tiny_sizes, tmp_path):
    full = save(tmp_path / "full.safetensors", ModelHeader("m", tiny_sizes), tiny)
    half = save(tmp_path / "half.safetensors", ModelHeader("m", tiny_sizes), tiny, half=True)
    ratio = (tmp_path / "half.safetensors").stat().st_size / (tmp_path / "full.safetensors").stat().st_size
    assert ratio < 0.75 and full.digest != half.digest
    header, state = read_safetensors(tmp_path / "half.safetensors")
    assert header == half and {tensor.dtype for tensor in state.values()} == {torch.float32}
    assert all(torch.equal(state[name], tensor.half().float()) for name, tensor in tiny.state_dict().items())
    again = save(tmp_path / "again.safetensors", half, loading.build(header, state), half=True)
    assert again.digest == half.digest


def test_weights_too_large_for_half_precision_are_refused(tiny, tiny_sizes, tmp_path):
    tiny.coarsest.down.bias[0] = 1e6
    with pytest.raises(ModelError, match="half precision"):
        save(tmp_path / "m.safetensors", ModelHeader("m", tiny_sizes), tiny, half=True)


def test_the_digest_is_of_the_weights_not_of_the_file(tiny, tiny_sizes, released_state, write_pth, tmp_path):
    written = save(tmp_path / "m.safetensors", ModelHeader("m", tiny_sizes, licence="MIT"), tiny)
    assert read_pth(write_pth(released_state(tiny)))[0].digest == written.digest
    state = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    assert digest(dict(reversed(list(state.items())))) == written.digest
    state["coarsest.down.bias"][3] += 1e-6
    assert digest(state) != written.digest


def test_the_digest_is_what_the_documentation_says():
    import hashlib

    state = {"b": torch.tensor([[1.0]]), "a": torch.tensor([2.0], dtype=torch.float16)}
    expected = hashlib.sha256(b"a|float16|[1]|\x00\x40b|float32|[1, 1]|\x00\x00\x80\x3f").hexdigest()
    assert digest(state) == expected


def test_the_safetensors_package_reads_our_files(tiny, tiny_sizes, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    from safetensors.torch import load_file

    for half in (False, True):
        written = save(tmp_path / "m.safetensors", ModelHeader("m", tiny_sizes), tiny, half=half)
        with safetensors.safe_open(tmp_path / "m.safetensors", "pt") as file:
            assert ModelHeader.from_json(file.metadata()["mmhvae"], written.source) == written
        state = load_file(tmp_path / "m.safetensors")
        assert digest(state) == written.digest


def test_files_that_the_safetensors_package_writes_are_read(tiny, tiny_sizes, tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    state = tiny.state_dict()
    header = ModelHeader("m", tiny_sizes, digest=digest(state))
    save_file(state, tmp_path / "theirs.safetensors", {"mmhvae": header.to_json()})
    read, loaded = read_safetensors(tmp_path / "theirs.safetensors")
    assert read.digest == header.digest and same(loaded, dict(state))


def test_tensors_that_changed_do_not_have_the_digest(tiny, tiny_sizes, tmp_path):
    path = tmp_path / "m.safetensors"
    save(path, ModelHeader("m", tiny_sizes), tiny)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="digest"):
        read_safetensors(path)


def test_a_header_of_other_sizes_than_the_tensors_is_refused_before_anything_is_built(tiny, tiny_sizes, tmp_path):
    path = tmp_path / "m.safetensors"
    save(path, ModelHeader("m", tiny_sizes), tiny)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    content = json.loads(data[8 : 8 + length])
    header = json.loads(content["__metadata__"]["mmhvae"])
    header["sizes"].update(base_features=8192, max_features=8192)
    content["__metadata__"]["mmhvae"] = json.dumps(header)
    text = json.dumps(content).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(ModelError, match="do not make a MMHVAE network"):
        loading.load(str(path))


def test_a_header_of_another_network_cannot_be_saved(tiny, tmp_path):
    with pytest.raises(ValueError, match="header states"):
        save(tmp_path / "m.safetensors", ModelHeader("m", NetworkSizes()), tiny)


def test_an_unwritable_place_is_said_and_an_earlier_file_stays(tiny, tiny_sizes, tmp_path, monkeypatch):
    with pytest.raises(OutputError, match="cannot be written"):
        save(tmp_path / "absent" / "m.safetensors", ModelHeader("m", tiny_sizes), tiny)
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"earlier")

    def failing(path):
        raise ModelError("cut off")

    monkeypatch.setattr(checkpoint, "read_safetensors", failing)
    with pytest.raises(OutputError, match="cut off"):
        save(path, ModelHeader("m", tiny_sizes), tiny)
    assert path.read_bytes() == b"earlier" and len(list(tmp_path.iterdir())) == 1
