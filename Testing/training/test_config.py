import dataclasses
import json

import pytest

from MMHVAESynthesisLib.errors import InputError
from MMHVAESynthesisLib.network.model import MMHVAE
from MMHVAESynthesisLib.training import config as configurations
from MMHVAESynthesisLib.training import presets
from MMHVAESynthesisLib.training.config import TrainingConfig


def parameters(config):
    return sum(parameter.numel() for parameter in MMHVAE(config.sizes).parameters())


def test_kl_weight_rises_linearly_over_50_epochs_and_stays():
    published = presets.published()
    assert [published.kl_weight_at(epoch) for epoch in (1, 25, 50, 51, 1000)] == pytest.approx(
        [2e-5, 5e-4, 1e-3, 1e-3, 1e-3]
    )


def test_learning_rate_is_a_cosine_from_first_to_last_epoch():
    published = presets.published()
    assert published.learning_rate_at(1) == pytest.approx(2e-3)
    assert published.learning_rate_at(501) == pytest.approx((2e-3 + 1e-4) / 2)
    assert published.learning_rate_at(1001) == pytest.approx(1e-4)


def test_gan_pool_and_discriminators_begin_at_their_published_epochs():
    published = presets.published()
    assert [published.pools(epoch) for epoch in (788, 789)] == [False, True]
    assert [published.discriminates(epoch) for epoch in (789, 790)] == [False, True]
    assert [published.gan_weight_at(epoch) for epoch in (799, 800)] == [0.0, 0.025]
    assert published.restart_epoch == 780


def test_published_sizes_and_batches():
    published = presets.published()
    assert parameters(published) == 13_774_770
    assert (published.data.slices, published.data.spacing, published.sizes.size) == (16, 0.5, 192)
    assert (published.epochs, published.epoch_batches, published.subsets) == (1000, 0, "uniform")


def test_the_demonstrator_has_two_and_a_half_to_three_and_a_half_million_parameters():
    assert 2_500_000 <= parameters(presets.demonstrator()) <= 3_500_000


def test_the_demonstrator_and_its_ablations_draw_what_is_given_from_itself_and_the_published_do_not():
    own = [n for n in presets.PRESETS if presets.configuration(n).sizes.reconstruction == "own"]
    assert own == [n for n in presets.PRESETS if n == "demonstrator" or n.startswith("ablation-")] and len(own) == 7


def test_ablations_have_the_published_mixture_and_loss_and_differ_in_their_network_alone():
    product, published = presets.configuration("ablation-product"), presets.published()
    for name in ("subsets", "l1_weight", "l2_weight", "given_weight", "kl_weight"):
        assert getattr(product, name) == getattr(published, name)
    for name in ("average", "zero-fill", "three-levels", "one-level", "pair"):
        other = presets.configuration(f"ablation-{name}")
        assert other.sizes != product.sizes
        assert dataclasses.replace(other, name=product.name, sizes=product.sizes) == product


def test_the_forerunner_is_as_its_paper_says():
    config = presets.forerunner()
    assert config.sizes.modalities == ("us", "t2") and config.sizes.decoder_blocks == 5
    assert (config.l1_weight, config.gan_weight, config.gan_epoch, config.epochs) == (100, 1, 800, 1000)


def test_no_gan_never_pools_nor_discriminates():
    config = presets.configuration("published-no-gan")
    assert not config.pools(1000) and not config.discriminates(1000) and config.gan_weight_at(1000) == 0


@pytest.mark.parametrize("name", sorted(presets.PRESETS))
def test_every_named_configuration_survives_its_file(name, tmp_path):
    config = presets.configuration(name)
    config.save(tmp_path / "config.json")
    assert configurations.load(tmp_path / "config.json") == config


def test_a_file_of_own_values_keeps_the_published_rest(tmp_path):
    (tmp_path / "own.json").write_text(json.dumps({"epochs": 7, "sizes": {"halvings": 5}}), encoding="utf-8")
    config = presets.configuration(str(tmp_path / "own.json"))
    assert (config.epochs, config.sizes.halvings, config.learning_rate) == (7, 5, 2e-3)


NO_GREY = {"data": {"white_matter": {"t2": 70.0}}}


@pytest.mark.parametrize(
    "values",
    [
        {"epoch": 3},
        {"sizes": {"depth": 3}},
        {"data": 3},
        {"data": {"cysts": 1.5}},
        {"subsets": "some"},
        {"epochs": "many"},
        {"epochs": 10.5},
        {"seed": -1},
        {"seed": "a"},
        {"learning_rate": float("nan")},
        {"gan_epoch": "x"},
        {"data": {"held_out": "Case18"}},
        {"data": {"folders": "mri"}},
        {"data": {"kinds": ["sweep"]}},
        {"data": {"kinds": {"sweep": "all"}}},
        {"data": {"slices": 2.5}},
        {"data": {"skull_stripped": "yes"}},
        {"sizes": {"halvings": True}},
        ["epochs"],
        3,
        {"ema": 1},
        NO_GREY,
    ],
)
def test_wrong_configurations_are_refused_in_words(values):
    with pytest.raises(InputError):
        configurations.from_dict(values)


def test_an_unknown_name_lists_those_known():
    with pytest.raises(InputError, match="demonstrator"):
        presets.configuration("demonstrater")


def test_held_out_cases_are_named_by_default():
    names = {"BraTS2021_01484", "BraTS2021_01485", "TCGA-DU-7294", "Case27", "Case18"}
    assert names == set(TrainingConfig().data.held_out) == set(presets.demonstrator().data.held_out)


def test_a_configuration_as_editors_of_windows_write_it_is_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"name": "ünïcode"}), encoding="utf-8-sig")
    assert configurations.load(tmp_path / "config.json").name == "ünïcode"
