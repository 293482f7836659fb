"""The fast network against the readable one in float64: every subset of inputs, several sizes, T = 0 and 0.7."""

import copy
from itertools import combinations

import pytest

torch = pytest.importorskip("torch")

from MMHVAESynthesisLib.modalities import MODALITIES  # noqa: E402
from MMHVAESynthesisLib.models.names import from_released  # noqa: E402
from MMHVAESynthesisLib.network.fast import norms  # noqa: E402
from MMHVAESynthesisLib.network.fast.model import FastMMHVAE, can_be_fast  # noqa: E402
from MMHVAESynthesisLib.network.model import MMHVAE  # noqa: E402
from MMHVAESynthesisLib.network.sizes import NetworkSizes  # noqa: E402
from network import published  # noqa: E402

RELEASED = NetworkSizes()
SMALL = NetworkSizes(size=64, halvings=5)
PAIR = NetworkSizes(("us", "t2"), 16, 64, 5, 64, 5, 4)
DEMONSTRATOR = NetworkSizes(base_features=12, max_features=64, halvings=5, size=96, decoder_features=6)
TINY = NetworkSizes(base_features=4, max_features=8, halvings=2, size=16, decoder_blocks=1, decoder_features=2)
SUBSETS = [subset for count in range(1, 5) for subset in combinations(MODALITIES, count)]
TOLERANCE = 1e-5
SLACK = 1.5
"""Where float32 itself loses nearly that much: how much more than the readable network the fast one may lose."""


def tiny(**changes):
    return NetworkSizes(**{**TINY.__dict__, **changes})


def made(sizes, seed=0):
    """Return a network with the made-up weights on which the published code was run."""
    network = MMHVAE(sizes).eval().requires_grad_(False)
    own = {name: from_released(name, published.has_adapter(sizes)) for name in published.released_names(sizes)}
    state = network.state_dict()
    tensors = published.weights({name: tuple(state[own[name]].shape) for name in own if own[name] in state}, seed)
    network.load_state_dict({own[name]: torch.from_numpy(tensor) for name, tensor in tensors.items()}, strict=True)
    return network


def images(sizes, modalities, batch=1):
    return {m: torch.from_numpy(published.image(1, batch, sizes.size, m)) for m in modalities}


def noise(sizes, batch=1, seed=2):
    return [torch.from_numpy(level) for level in published.noise(seed, sizes, batch)]


def doubled(network, given, draws, temperature, targets=None):
    exact = copy.deepcopy(network).double()
    return exact({m: i.double() for m, i in given.items()}, [d.double() for d in draws], temperature, targets)


def relative(found, expected):
    return float((found.double() - expected).norm() / expected.norm())


def check(sizes, modalities, temperature, targets=None, batch=1):
    network = made(sizes)
    given, draws = images(sizes, modalities, batch), noise(sizes, batch)
    expected = doubled(network, given, draws, temperature, targets)
    readable = network(given, draws, temperature, targets)
    found = FastMMHVAE(network)(given, draws, temperature, targets)
    assert list(found.images) == list(expected.images) and found.kl is None
    assert relative(found.z1, expected.z1) <= max(TOLERANCE, SLACK * relative(readable.z1, expected.z1))
    outside = given[min(modalities, key=sizes.modalities.index)] == -1
    for target, image in expected.images.items():
        assert found.images[target].shape == image.shape and (found.images[target][outside] == -1).all()
        error = relative(found.images[target], image)
        assert error <= max(TOLERANCE, SLACK * relative(readable.images[target], image)), target


@pytest.mark.parametrize("temperature", [0, 0.7])
@pytest.mark.parametrize("modalities", [("us",), MODALITIES], ids=len)
def test_released_sizes(modalities, temperature):
    check(RELEASED, modalities, temperature)


@pytest.mark.parametrize("temperature", [0, 0.7])
@pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
def test_every_subset(subset, temperature):
    check(SMALL, subset, temperature, targets=("t2", "us"))


@pytest.mark.parametrize("temperature", [0, 0.7])
@pytest.mark.parametrize("sizes", [PAIR, DEMONSTRATOR], ids=["pair", "demonstrator"])
@pytest.mark.parametrize("modalities", [("us",), ("t2",), ("us", "t2")], ids="+".join)
def test_other_published_and_bundled_sizes(sizes, modalities, temperature):
    check(sizes, modalities, temperature)


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "variance"},
        {"latent_levels": 1},
        {"latent_levels": 2},
        {"modalities": ("t2", "us")},
        {"max_features": 32},  # the cap is never reached: c_P < m
        {"size": 24, "halvings": 3},  # an odd coarsest size
        {"size": 4, "halvings": 1},
        {"size": 36, "halvings": 1, "decoder_features": 1},
        {"decoder_features": 3, "decoder_blocks": 0},
        {"decoder_features": 20},
        {"base_features": 2, "max_features": 2},
        {"reconstruction": "own"},
        {"reconstruction": "own", "latent_levels": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("modalities", [("us",), ("us", "t2")], ids="+".join)
def test_other_sizes_and_choices(changes, modalities):
    check(tiny(**changes), modalities, 0.7)


@pytest.mark.parametrize("targets", [("flair",), ("cet1", "us"), None])
def test_only_the_wanted_targets_a_batch_at_a_time(targets):
    check(TINY, ("t2", "flair"), 0.7, targets, batch=3)


def test_what_is_drawn_from_itself_alone_needs_no_joint_latents():
    sizes = tiny(reconstruction="own")
    network, given, draws = made(sizes), images(sizes, ("us", "t2"), 2), noise(sizes, 2)
    expected = doubled(network, given, draws, 0.7, ("t2", "us"))
    found = FastMMHVAE(network)(given, draws, 0.7, ("t2", "us"))
    assert found.z1 is None and list(found.images) == ["t2", "us"]
    for target, image in expected.images.items():
        assert relative(found.images[target], image) <= TOLERANCE


def test_only_what_a_run_needs_is_made():
    network, draws = made(TINY), noise(TINY)
    fast = FastMMHVAE(network, inputs=("flair", "us"), targets=("t2",))
    for modalities in (("us",), ("us", "flair")):
        given = images(TINY, modalities)
        expected = doubled(network, given, draws, 0.7).images["t2"]
        assert relative(fast(given, draws, 0.7, ["t2"]).images["t2"], expected) <= TOLERANCE
    with pytest.raises(ValueError, match="made for the inputs .* not .*cet1"):
        fast(images(TINY, ("us", "cet1")), draws, 0.7, ["t2"])


def test_samples_of_a_slice_share_what_does_not_depend_on_the_noise():
    network = made(SMALL)
    fast, given = FastMMHVAE(network), images(SMALL, ("us", "flair"))
    encoded = fast.encode(given)
    for seed in range(3):
        draws = noise(SMALL, seed=seed)
        expected = doubled(network, given, draws, 0.7).images["t2"]
        assert relative(fast.sample(encoded, draws, 0.7, ["t2"]).images["t2"], expected) <= TOLERANCE


def test_the_same_call_gives_the_same_bits_and_changes_no_argument():
    fast, given, draws = FastMMHVAE(made(TINY)), images(TINY, ("us", "t2")), noise(TINY)
    before = copy.deepcopy((given, draws))
    first, second = fast(given, draws, 0.7), fast(given, draws, 0.7)
    assert all(torch.equal(first.images[target], second.images[target]) for target in first.images)
    assert all(torch.equal(given[m], before[0][m]) for m in given)
    assert all(torch.equal(*pair) for pair in zip(draws, before[1]))


def test_the_network_it_is_made_from_is_left_as_it_was():
    network, given, draws = made(TINY), images(TINY, ("us",)), noise(TINY)
    before = network(given, draws, 0.7).images["t2"]
    FastMMHVAE(network)(given, draws, 0.7)
    assert torch.equal(network(given, draws, 0.7).images["t2"], before)


def test_large_means_cost_no_precision():
    from MMHVAESynthesisLib.network.fast.norms import normalised

    x = (torch.randn(1, 8, 96, 96, generator=torch.Generator().manual_seed(0)) + 30).contiguous(
        memory_format=torch.channels_last
    )
    exact = torch.nn.functional.instance_norm(x.double())
    assert relative(normalised(x), exact) <= 5e-6


def test_without_the_undocumented_calls_the_numbers_are_the_same(monkeypatch):
    monkeypatch.delattr(torch, "batch_norm_update_stats")
    monkeypatch.setattr(norms, "fused_scale_shift_silu", lambda: None)
    monkeypatch.setattr(norms, "_FUSED_FROM", 0)
    check(TINY, ("us",), 0.7)


@pytest.mark.parametrize("shape", [(4, 4, 8), (6, 10, 20), (96, 96, 16)])
def test_one_pass_for_norm_and_silu_is_as_exact_as_two(monkeypatch, shape):
    if norms.fused_scale_shift_silu() is None:
        pytest.skip("this PyTorch has no such call")
    generator = torch.Generator().manual_seed(0)
    height, width, channels = shape
    x = 3 * torch.randn(1, height, width, channels, generator=generator).permute(0, 3, 1, 2) + 1
    monkeypatch.setattr(norms, "_FUSED_FROM", 0)
    before = x.clone()
    found = norms.silu_normalised(x, spare=True)
    expected = torch.nn.functional.silu(torch.nn.functional.instance_norm(before.double()))
    assert found.is_contiguous(memory_format=torch.channels_last) and relative(found, expected) <= 1e-6


def test_a_call_that_computes_something_else_is_not_used(monkeypatch):
    class Changed:
        def _convolution_pointwise(self, x, *_):
            return x

    monkeypatch.setattr(torch.ops, "mkldnn", Changed(), raising=False)
    norms.fused_scale_shift_silu.cache_clear()
    assert norms.fused_scale_shift_silu() is None
    norms.fused_scale_shift_silu.cache_clear()


@pytest.mark.parametrize(("inputs", "outputs", "edge"), [(64, 64, 8), (128, 96, 24), (70, 130, 10)])
def test_convolutions_by_tiles_lose_no_more_than_direct_ones(inputs, outputs, edge):
    from MMHVAESynthesisLib.network.fast import winograd

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, inputs, edge, edge + 2, generator=generator)
    weight = torch.randn(outputs, inputs, 3, 3, generator=generator)
    assert winograd.pays(weight, edge)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))[0].permute(1, 2, 0).contiguous()
    expected = torch.nn.functional.conv2d(x.double(), weight.double(), None, 1, 1)
    direct = torch.nn.functional.conv2d(x, weight, None, 1, 1)
    found = winograd.WinogradConvolution(weight)(padded)
    assert found.shape == expected.shape and found.is_contiguous(memory_format=torch.channels_last)
    assert relative(found, expected) <= max(5e-7, 1.2 * relative(direct, expected))
    assert not winograd.pays(weight, edge + 1) and not winograd.pays(weight[:, :32], edge)


@pytest.mark.parametrize("fusion", ["average", "zero_fill"])
def test_fusions_of_the_ablation_have_no_fast_form(fusion):
    network = made(tiny(fusion=fusion))
    assert not can_be_fast(network) and can_be_fast(made(TINY))
    with pytest.raises(ValueError, match=fusion):
        FastMMHVAE(network)


@pytest.mark.parametrize("wrong", [{}, {"pet": (1, 1, 16, 16)}, {"us": (1, 1, 16, 8)}, {"us": (1, 16, 16)}])
def test_wrong_images_are_refused(wrong):
    with pytest.raises(ValueError):
        FastMMHVAE(made(TINY))({m: torch.zeros(shape) for m, shape in wrong.items()}, noise(TINY))


@pytest.mark.parametrize(
    "sizes", [SMALL, tiny(precision="variance"), tiny(reconstruction="own")], ids=["small", "variance", "own"]
)
@pytest.mark.parametrize("modalities", [("us", "t2"), ("us", "t2", "flair"), ("t2",)], ids="+".join)
def test_inputs_with_a_say_in_a_part_of_the_field(sizes, modalities):
    network = made(sizes)
    given, draws = images(sizes, modalities, 2), noise(sizes, 2)
    maps = {modalities[-1]: torch.zeros_like(given[modalities[-1]])}
    maps[modalities[-1]][0, :, : sizes.size // 3] = 1
    exact = copy.deepcopy(network).double()
    double = [{m: image.double() for m, image in kind.items()} for kind in (given, maps)]
    expected = exact(double[0], [d.double() for d in draws], 0.7, coverage=double[1])
    readable = network(given, draws, 0.7, coverage=maps)
    found = FastMMHVAE(network)(given, draws, 0.7, coverage=maps)
    for target, image in expected.images.items():
        error = relative(readable.images[target], image)
        assert relative(found.images[target], image) <= max(TOLERANCE, SLACK * error), target
    assert relative(found.z1, expected.z1) <= max(TOLERANCE, SLACK * relative(readable.z1, expected.z1))
    assert relative(found.z1, network(given, draws, 0.7).z1.double()) > 100 * TOLERANCE
