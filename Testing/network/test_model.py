from itertools import combinations

import pytest

torch = pytest.importorskip("torch")

from MMHVAESynthesisLib.errors import ModelError  # noqa: E402
from MMHVAESynthesisLib.modalities import MODALITIES  # noqa: E402
from MMHVAESynthesisLib.models.names import from_released  # noqa: E402
from MMHVAESynthesisLib.network.coverage import Coverage  # noqa: E402
from MMHVAESynthesisLib.network.gaussians import Gaussian, kl_estimate, product_of_experts  # noqa: E402
from MMHVAESynthesisLib.network.model import MMHVAE  # noqa: E402
from MMHVAESynthesisLib.network.sizes import NetworkSizes  # noqa: E402

from . import published  # noqa: E402

TINY = NetworkSizes(base_features=4, max_features=8, halvings=2, size=16, decoder_blocks=1, decoder_features=2)
SUBSETS = [subset for count in range(1, 5) for subset in combinations(MODALITIES, count)]


def images(sizes, modalities, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = batch, 1, sizes.size, sizes.size
    return {m: torch.rand(shape, generator=generator) * 1.9 - 0.9 for m in modalities}


def tiny(seed=0, **changes):
    torch.manual_seed(seed)
    sizes = NetworkSizes(**{**TINY.__dict__, **changes})
    return MMHVAE(sizes).eval()


def test_released_sizes_have_the_released_tensors():
    network = MMHVAE(NetworkSizes())
    own = {from_released(name, False) for name in published.released_names(network.sizes)}
    assert len(own) == 536
    assert own == set(network.state_dict())
    assert sum(parameter.numel() for parameter in network.parameters()) == 13_774_770


def multiply_accumulates(network, modalities):
    """Count the convolutions' and linear layers' multiply-accumulates of one slice with one target each."""
    counted = []

    def count(module, _, output):
        per_output = module.weight[0].numel()
        counted.append(per_output * output.numel())

    layers = [m for m in network.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        network(images(network.sizes, modalities, batch=1), network.noise(1))
    for hook in hooks:
        hook.remove()
    return sum(counted)


@pytest.mark.parametrize(("modalities", "giga"), [(MODALITIES[:1], 6.54), (MODALITIES, 12.65)])
def test_costs_what_the_paper_says(modalities, giga):
    assert multiply_accumulates(MMHVAE(NetworkSizes()).eval(), modalities) / 1e9 == pytest.approx(giga, abs=0.01)


@pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
def test_any_subset_gives_every_modality_masked_by_the_first(subset):
    network = tiny()
    given = images(network.sizes, subset)
    given[subset[0]][:, :, :5] = -1
    with torch.no_grad():
        output = network(given, network.noise(2), 0.7)
    assert list(output.images) == list(MODALITIES)
    for image in output.images.values():
        assert (image[:, :, :5] == -1).all()
        assert (image[:, :, 5:] > -1).all() and (image < 1).all()


def test_only_the_wanted_decoders_run():
    network = tiny()
    for modality in ("us", "cet1", "flair"):
        network.decoders[modality] = None
    with torch.no_grad():
        output = network(images(TINY, ["us"]), network.noise(2), 0.7, targets=["t2"])
    assert list(output.images) == ["t2"]


def test_same_noise_same_image_and_no_hidden_state():
    network = tiny()
    given, noise = images(TINY, ["us", "flair"]), network.noise(2)
    with torch.no_grad():
        first = network(given, noise, 0.7).images["t2"]
        torch.rand(100)
        again = network(given, noise, 0.7).images["t2"]
        other = network(given, network.noise(2), 0.7).images["t2"]
        at_zero = [network(given, network.noise(2), 0.0).images["t2"] for _ in range(2)]
    assert torch.equal(first, again) and torch.equal(*at_zero)
    assert not torch.allclose(first, other)


def test_slices_of_a_batch_do_not_see_each_other():
    network = tiny()
    given, noise = images(TINY, ["us", "t2"], batch=3), network.noise(3)
    with torch.no_grad():
        together = network(given, noise, 0.7).images["cet1"]
        alone = [
            network({m: g[i : i + 1] for m, g in given.items()}, [n[i : i + 1] for n in noise], 0.7).images["cet1"]
            for i in range(3)
        ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-5)


def test_product_of_experts_worked_by_hand():
    prior = Gaussian(torch.zeros(1, 1), torch.zeros(1, 1))
    expert = Gaussian(torch.full((1, 1), 3.0), torch.full((1, 1), 0.5).log())
    by_scale = product_of_experts(prior, [expert], "scale")
    # weights 1 and 2: location (0 * 1 + 3 * 2) / 3, scale 1 / 3
    assert by_scale.loc.item() == pytest.approx(2) and by_scale.logscale.exp().item() == pytest.approx(1 / 3)
    by_variance = product_of_experts(prior, [expert], "variance")
    # weights 1 and 4: location 12 / 5, scale 1 / sqrt(5)
    assert by_variance.loc.item() == pytest.approx(2.4)
    assert by_variance.logscale.exp().item() == pytest.approx(5**-0.5)


def test_kl_estimate_has_the_analytic_mean():
    torch.manual_seed(0)
    count = 400_000
    posterior = Gaussian(torch.full((1, count), 0.5), torch.full((1, count), 0.6).log())
    prior = Gaussian(torch.zeros(1, count), torch.zeros(1, count))
    z = posterior.sample(torch.randn(1, count), 1.0)
    analytic = -torch.log(torch.tensor(0.6)) + (0.6**2 + 0.5**2) / 2 - 0.5
    assert kl_estimate(posterior, prior, z, 1.0).item() / count == pytest.approx(analytic.item(), abs=0.005)


def test_kl_at_temperature_0_is_refused():
    network = tiny()
    with pytest.raises(ValueError, match="temperature 0"):
        network(images(TINY, ["us"]), network.noise(2), 0.0, with_kl=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "variance"},
        {"fusion": "average"},
        {"fusion": "zero_fill"},
        {"latent_levels": 1},
        {"modalities": ("us", "t2")},
        {"max_features": 32},  # the cap is never reached: c_P < m
        {"size": 24, "halvings": 3},
        {"decoder_features": 4, "decoder_blocks": 0},
    ],
)
def test_other_sizes_and_choices_compute(changes):
    network = tiny(**changes)
    sizes = network.sizes
    noise = network.noise(1)
    assert len(noise) == sizes.latents
    with torch.no_grad():
        output = network(images(sizes, ["us"], batch=1), noise, 0.7, with_kl=True)
    assert len(output.kl) == sizes.latents
    assert all(torch.isfinite(image).all() for image in output.images.values())


def test_precisions_differ():
    given, noise = images(TINY, ["us", "t2"]), tiny().noise(2)
    with torch.no_grad():
        both = [tiny(precision=p)(given, noise, 0.7).images["t2"] for p in ("scale", "variance")]
    assert not torch.allclose(*both)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 100},
        {"size": 64, "halvings": 6},
        {"modalities": ()},
        {"modalities": ("us", "us")},
        {"precision": "sd"},
        {"fusion": "sum"},
        {"reconstruction": "none"},
        {"base_features": 3},
        {"latent_levels": 9},
    ],
)
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(ModelError):
        NetworkSizes(**wrong)


@pytest.mark.parametrize("wrong", [{}, {"pet": (1, 1, 16, 16)}, {"us": (1, 1, 16, 8)}, {"us": (1, 16, 16)}])
def test_wrong_images_are_refused(wrong):
    network = tiny()
    with pytest.raises(ValueError):
        network({m: torch.zeros(shape) for m, shape in wrong.items()}, network.noise(1))


@pytest.mark.parametrize("make", ["readable", "fast"])
def test_inputs_and_noise_of_different_numbers_of_slices_are_refused(make):
    from MMHVAESynthesisLib.network.fast.model import FastMMHVAE

    network = tiny()
    computing = FastMMHVAE(network) if make == "fast" else network
    given, draws = images(TINY, ["us", "t2"]), network.noise(2)
    with torch.no_grad():
        with pytest.raises(ValueError, match="one number of slices.*'us': 1, 't2': 2"):
            computing({"us": given["us"][:1], "t2": given["t2"]}, draws)
        for wrong in (network.noise(1), network.noise(3), draws[:-1], [*draws[:-1], draws[-1][:1]]):
            with pytest.raises(ValueError, match="noise of 2 slices"):
                computing(given, wrong)
        with pytest.raises(ValueError, match="coverage"):
            computing(given, draws, coverage={"t2": torch.ones(1, 1, 16, 16)})
        assert len(computing(given, draws).images["t2"]) == 2


def test_an_input_covers_a_field_wherever_it_is_missing_outside_of_it():
    field = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    field[..., 4:] = True
    cover = field.float()
    cover[1, :, 9, 9] = 0
    coverage = Coverage({"t2": cover}, field)
    assert coverage.whole("t2").shape == (2, 1, 1, 1) and coverage.whole("t2").flatten().tolist() == [True, False]
    assert coverage.whole("us") is None


def test_every_parameter_learns_when_all_inputs_are_given():
    network = tiny().train()
    output = network(images(TINY, MODALITIES), network.noise(2), 1.0, with_kl=True)
    (sum(image.abs().mean() for image in output.images.values()) + sum(output.kl)).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None]
    assert not without


@pytest.mark.parametrize("make", ["readable", "fast"])
def test_without_ultrasound_the_first_in_the_published_order_masks_the_outputs(make):
    from MMHVAESynthesisLib.network.fast.model import FastMMHVAE

    network = tiny(modalities=("pet", "flair", "us", "t2"))
    computing = FastMMHVAE(network) if make == "fast" else network
    given = images(network.sizes, ["pet", "flair", "t2"], batch=1)
    for modality, rows in (("pet", slice(0, 3)), ("flair", slice(5, 8)), ("t2", slice(12, 16))):
        given[modality][:, :, rows] = -1
    for first in ("t2", "flair", "pet"):
        with torch.no_grad():
            made = computing(given, network.noise(1), 0.7).images
        assert all(torch.equal(image == -1, given[first] == -1) for image in made.values())
        del given[first]


@pytest.mark.parametrize("make", ["readable", "fast"])
def test_ultrasound_masks_the_outputs_whatever_order_a_network_was_trained_in(make):
    network = tiny(modalities=("t2", "us"))
    if make == "fast":
        from MMHVAESynthesisLib.network.fast.model import FastMMHVAE

        computing = FastMMHVAE(network)
    else:
        computing = network
    given = images(network.sizes, ["us", "t2"], batch=1)
    given["us"][:, :, :3] = -1
    given["t2"][:, :, -3:] = -1
    with torch.no_grad():
        output = computing(given, network.noise(1), 0.7).images["t2"]
    assert (output[:, :, :3] == -1).all() and (output[:, :, -3:] > -1).all()


@pytest.mark.parametrize("precision", ["scale", "variance"])
def test_an_input_without_a_say_is_no_input(precision):
    network = tiny(precision=precision)
    given, draws = images(TINY, ["us", "t2", "flair"]), network.noise(2)
    nowhere = {"t2": torch.zeros_like(given["t2"]), "flair": torch.zeros_like(given["t2"])}
    with torch.no_grad():
        found = network(given, draws, coverage=nowhere)
        expected = network({"us": given["us"]}, draws)
    torch.testing.assert_close(found.z1, expected.z1)
    for target, image in expected.images.items():
        torch.testing.assert_close(found.images[target], image)


def test_an_input_with_a_say_everywhere_is_as_published():
    network = tiny()
    given, draws = images(TINY, ["us", "t2"]), network.noise(2)
    given["us"][:, :, :5] = -1
    # Outside the field nothing is shown, so what an input covers there does not count.
    inside = (given["us"] != -1).float()
    with torch.no_grad():
        expected = network(given, draws).z1
        for maps in ({}, {"t2": torch.ones_like(inside)}, {"t2": inside}):
            torch.testing.assert_close(network(given, draws, coverage=maps).z1, expected)


def test_an_expert_enters_the_product_to_the_power_of_its_share():
    """For the paper's weights that is the density itself to that power: shares of 1/2 twice make one expert."""
    torch.manual_seed(0)
    prior, expert = (Gaussian(torch.randn(1, 3), torch.randn(1, 3)) for _ in range(2))
    half = torch.full((1, 1), 0.5)
    found = product_of_experts(prior, [expert, expert], "variance", [half, half])
    expected = product_of_experts(prior, [expert], "variance")
    torch.testing.assert_close(found.loc, expected.loc)
    torch.testing.assert_close(found.logscale, expected.logscale)


def test_a_say_is_counted_place_by_place_at_every_size():
    field = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    field[..., 4:] = True
    cover = torch.zeros(1, 1, 16, 16)
    cover[..., :10] = 1
    coverage = Coverage({"t2": cover}, field)
    whole, (share,) = coverage.shares(["us", "t2"], 1)[0], coverage.shares(["t2"], 1)
    assert whole is None and float(share) == pytest.approx(6 / 12)
    (share,) = coverage.shares(["t2"], 4)
    assert share[0, 0, 0].tolist() == [1, 1, 0.5, 0]
    torch.testing.assert_close(coverage.shares(["t2"], 16)[0] * field, cover * field)


@pytest.mark.parametrize("maps", [{"flair": (2, 1, 16, 16)}, {"t2": (2, 1, 8, 8)}, {"t2": (1, 1, 16, 16)}])
def test_a_say_of_another_input_or_shape_is_refused(maps):
    network = tiny()
    with pytest.raises(ValueError, match="coverage"):
        network(images(TINY, ["us", "t2"]), network.noise(2), coverage={m: torch.ones(s) for m, s in maps.items()})


def test_what_is_given_can_be_drawn_from_itself_alone():
    own, joint = tiny(reconstruction="own"), tiny()
    given, draws = images(TINY, ["us", "t2", "flair"]), own.noise(2)
    given["us"][:, :, :5] = -1
    with torch.no_grad():
        found, expected = own(given, draws), joint(given, draws)
        alone = {m: joint({m: given[m]}, draws).images[m].masked_fill(given["us"] == -1, -1) for m in given}
        torch.testing.assert_close(joint.train()(given, draws).images, own.train()(given, draws).images)
    torch.testing.assert_close(found.z1, expected.z1)
    torch.testing.assert_close(found.images["cet1"], expected.images["cet1"])
    # What the others show of their own background inside the field is as dark as can be, and not background.
    given["t2"] = given["t2"].index_fill(2, torch.arange(5, 8), -1.0)
    with torch.no_grad():
        holed = own.eval()(given, draws).images["t2"]
    assert (holed[:, :, 5:8] == -255 / 256).all() and (holed[:, :, :5] == -1).all() and (holed[:, :, 8:] > -1).all()
    for modality, image in alone.items():
        torch.testing.assert_close(found.images[modality], image)
        assert (image - expected.images[modality]).abs().max() > 0.01


def test_what_is_given_in_a_part_of_a_slice_is_drawn_from_all_inputs_there():
    network = tiny(reconstruction="own")
    given, draws = images(TINY, ["us", "t2"]), network.noise(2)
    maps = {"t2": torch.ones_like(given["t2"])}
    maps["t2"][0, ..., 8:] = 0
    with torch.no_grad():
        found = network(given, draws, coverage=maps).images["t2"]
        joint = tiny()(given, draws, coverage=maps).images["t2"]
        alone = network({"t2": given["t2"]}, draws).images["t2"]
    torch.testing.assert_close(found[0], joint[0])
    torch.testing.assert_close(found[1], alone[1])
    assert (found - joint)[1].abs().max() > 0.01
