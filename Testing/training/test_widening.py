import argparse
import dataclasses

import pytest
import torch

from MMHVAESynthesisLib.errors import ModelError
from MMHVAESynthesisLib.models import checkpoint
from MMHVAESynthesisLib.models.header import ModelHeader
from MMHVAESynthesisLib.network.model import MMHVAE
from MMHVAESynthesisLib.network.sizes import NetworkSizes
from MMHVAESynthesisLib.training import cli, widening
from MMHVAESynthesisLib.training.learner import Learner

NARROW = NetworkSizes(base_features=4, max_features=16, halvings=3, size=32, decoder_blocks=1, decoder_features=8)


WIDER = (dict(base_features=6), dict(max_features=96), dict(base_features=12, max_features=64))


def arguments(*words):
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def slices(*modalities):
    generator = torch.Generator().manual_seed(7)
    return {name: torch.rand(2, 1, 32, 32, generator=generator) * 2 - 1 for name in modalities}


def pair(sizes, **wider):
    torch.manual_seed(3)
    narrow, wide = MMHVAE(sizes), MMHVAE(dataclasses.replace(sizes, **wider))
    fresh = {name: tensor.clone() for name, tensor in wide.state_dict().items()}
    wide.load_state_dict(widening.widened(narrow.state_dict(), sizes, fresh, wide.sizes))
    return narrow, wide, fresh


@pytest.mark.parametrize("inputs", [("us",), ("t2", "flair"), ("us", "t2", "cet1", "flair")])
@pytest.mark.parametrize("fusion", ["product", "average", "zero_fill"])
@pytest.mark.parametrize("wider", WIDER)
@torch.no_grad()
def test_a_widened_network_gives_the_same_images(wider, fusion, inputs):
    narrow, wide, _ = pair(dataclasses.replace(NARROW, fusion=fusion), **wider)
    images = slices(*inputs)
    before, after = narrow(images, narrow.noise(2), 0.0), wide(images, wide.noise(2), 0.0)
    for name, image in before.images.items():
        assert image.std() > 0.05
        assert torch.allclose(after.images[name], image, atol=1e-4)
    assert torch.allclose(after.z1[:, : before.z1.shape[1]], before.z1, atol=1e-4)


@torch.no_grad()
def test_fewer_random_levels_are_widened_too():
    narrow, wide, _ = pair(dataclasses.replace(NARROW, latent_levels=2), base_features=6)
    before, after = (net(slices("t2"), net.noise(2), 0.0).images["us"] for net in (narrow, wide))
    assert torch.allclose(after, before, atol=1e-4)


@torch.no_grad()
def test_with_the_same_noise_in_the_old_channels_samples_are_the_same():
    narrow, wide, _ = pair(NARROW, base_features=6)
    noise = narrow.noise(2)
    more = [torch.randn_like(tensor) for tensor in wide.noise(2)]
    for old, new in zip(noise, more):
        new[:, : old.shape[1]] = old
    before = narrow(slices("us", "flair"), noise, 1.0).images
    after = wide(slices("us", "flair"), more, 1.0).images
    assert all(torch.allclose(after[name], image, atol=1e-4) for name, image in before.items())


def test_new_channels_are_random_and_learn():
    _, wide, fresh = pair(NARROW, base_features=6)
    assert torch.equal(wide.encoders["t2"].stem.weight[4:], fresh["encoders.t2.stem.weight"][4:])
    output = wide(slices("t2"), wide.noise(2), 1.0)
    output.images["t2"].square().mean().backward()
    adapt = wide.decoders["t2"].adapt.weight
    assert (adapt[:, 2:] == 0).all() and (adapt.grad[:, 2:] != 0).any()


@pytest.mark.parametrize(
    "other",
    [
        dict(base_features=2),
        dict(max_features=8),
        dict(decoder_blocks=2, base_features=6),
        dict(size=64),
        dict(modalities=("us", "t2")),
        dict(base_features=16),  # z1 as wide as the image decoders: they lose the convolution in front
    ],
)
def test_other_sizes_cannot_be_reached(other):
    wide = dataclasses.replace(NARROW, **other)
    assert not widening.can_widen(NARROW, wide)
    with pytest.raises(ValueError, match="widened"):
        widening.widened({}, NARROW, {}, wide)


@torch.no_grad()
def test_a_network_that_differs_in_use_alone_begins_from_the_same_weights():
    joint, own, _ = pair(NARROW, reconstruction="own")
    before, after = joint.state_dict(), own.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@torch.no_grad()
def test_a_run_starts_from_the_weights_of_a_narrower_network(data, config, tmp_path):
    narrow = MMHVAE(config.sizes)
    checkpoint.save(tmp_path / "narrow.safetensors", ModelHeader("narrow", config.sizes), narrow)
    sizes = dataclasses.replace(config.sizes, max_features=config.sizes.max_features + 8)
    wide = dataclasses.replace(config, sizes=sizes, epochs=1, epoch_batches=1, gan_weight=0.0)
    learner = Learner(wide, torch.device("cpu"))
    learner.begin_from(narrow.state_dict(), config.sizes)
    edge = config.sizes.size
    image = {"t2": torch.rand(1, 1, edge, edge) * 2 - 1}
    before, after = (net(image, net.noise(1), 0.0).images["flair"] for net in (narrow, learner.shipped))
    assert torch.allclose(after, before, atol=1e-4)
    wide.save(tmp_path / "wide.json")
    words = ("--data", data, "--state", tmp_path / "state", "--config", tmp_path / "wide.json", "--threads", 1)
    with torch.enable_grad():
        assert cli.run(arguments(*words, "--init", tmp_path / "narrow.safetensors", "--minutes", 0.001))["steps"] == 1


@pytest.mark.parametrize(
    ("theirs", "ours", "advice"), [(8, 16, "take 12 or 20"), (14, 16, "take 20"), (16, 20, "keep 16"), (10, 12, None)]
)
def test_it_is_said_which_widths_cannot_be_reached(theirs, ours, advice):
    narrow, wide = (dataclasses.replace(NARROW, base_features=width) for width in (theirs, ours))
    assert widening.can_widen(narrow, wide) == (advice is None)
    text = cli._other_sizes("x.safetensors", narrow, wide)
    assert (advice is None) == ("twice decoder_features" not in text) and (advice or "") in text


def test_a_narrower_configuration_is_refused_in_words(data, config, tmp_path):
    sizes = dataclasses.replace(config.sizes, base_features=config.sizes.base_features + 2)
    checkpoint.save(tmp_path / "wide.safetensors", ModelHeader("wide", sizes), MMHVAE(sizes))
    config.save(tmp_path / "own.json")
    words = ("--data", data, "--state", tmp_path / "state", "--config", tmp_path / "own.json")
    with pytest.raises(ModelError, match="smaller base_features"):
        cli.run(arguments(*words, "--init", tmp_path / "wide.safetensors"))
    assert not (tmp_path / "state").exists()
