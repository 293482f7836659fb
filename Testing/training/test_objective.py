"""The loss of a step, against the same sum made anew from what the network was called with and what it gave."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from MMHVAESynthesisLib.training import learner as learner_module
from MMHVAESynthesisLib.training.batches import Batch
from MMHVAESynthesisLib.training.config import TrainingConfig
from MMHVAESynthesisLib.training.cuts import cut
from MMHVAESynthesisLib.training.learner import Learner

from .conftest import TINY

CPU = torch.device("cpu")
PUBLISHED = TrainingConfig(sizes=TINY, discriminator_features=4)
COUNT, SIZE = 3, 32


def batch(*modalities):
    rng = np.random.default_rng(0)
    inputs = {name: rng.uniform(-0.9, 1, (COUNT, 1, SIZE, SIZE)).astype(np.float32) for name in modalities}
    for image in inputs.values():
        image[:, :, :5] = -1
    targets = {name: image if name == "us" else (image * 0.8).astype(np.float32) for name, image in inputs.items()}
    return Batch(inputs, targets, ("x",))


@dataclasses.dataclass
class Pass:
    """What one call of the network saw, at which temperature, and what came out."""

    seen: list
    temperature: float
    images: dict
    kl: float


def learn(config, one, epoch):
    """Take a step; return its terms, its passes, and the discriminators as they were before."""
    learner, passes = Learner(config, CPU), []
    discriminators = copy.deepcopy(learner.discriminators)

    def note(_module, arguments, named, output):
        images = {name: image.detach().clone() for name, image in output.images.items()}
        passes.append(
            Pass(list(arguments[0]), named["temperature"], images, sum(float(term.detach()) for term in output.kl))
        )

    learner.network.register_forward_hook(note, with_kwargs=True)
    return learner.learn(one, 7, epoch), passes, discriminators


def differences(one, images, names):
    """Return mean |output - target| / 2 of each modality named."""
    return [float(np.abs(images[name].numpy() - one.targets[name]).mean()) / 2 for name in names]


def log_errors(one, images, names):
    """Return the logarithm of the root mean square of (output - target) / 2, the mean over slices."""
    squares = [(((images[name].numpy() - one.targets[name]) / 2) ** 2).mean((1, 2, 3)) for name in names]
    return [float(np.log(each + 1e-5).mean()) / 2 for each in squares]


def adversarial(images, discriminators):
    with torch.no_grad():
        return float(np.mean([float(((discriminators[m](images[m]) - 1) ** 2).mean()) for m in TINY.modalities]))


def expected(config, one, passes, discriminators, kl_weight, gan_weight):
    """Return the terms of a step, training.md's formula written out."""
    l1 = [np.mean(differences(one, each.images, one.targets)) for each in passes]
    kl = [each.kl / (COUNT * SIZE * SIZE * 4) for each in passes]
    gan = [adversarial(each.images, discriminators) for each in passes[1:]] if gan_weight else []
    squares = [
        np.mean([(((each.images[m].numpy() - one.targets[m]) / 2) ** 2).mean() for m in one.targets]) for each in passes
    ]
    given = [sum(log_errors(one, each.images, each.seen)) / len(one.targets) for each in passes]
    loss = config.l1_weight * sum(l1) + kl_weight * sum(kl) + gan_weight * sum(gan)
    loss += config.l2_weight * sum(squares) + config.given_weight * sum(given)
    return {"loss": loss, "l1": sum(l1), "kl": sum(kl), "gan": sum(gan)}


@pytest.mark.parametrize(
    ("epoch", "kl_weight", "gan_weight"),
    [(10, 2e-4, 0), (50, 1e-3, 0), (60, 1e-3, 0), (799, 1e-3, 0), (800, 1e-3, 0.025)],
)
@pytest.mark.parametrize("modalities", [("us", "t2", "flair"), ("us",), ("t2", "cet1")], ids="+".join)
def test_the_loss_is_the_published_objective(epoch, kl_weight, gan_weight, modalities):
    one = batch(*modalities)
    terms, passes, discriminators = learn(PUBLISHED, one, epoch)
    ours = expected(PUBLISHED, one, passes, discriminators, kl_weight, gan_weight)
    assert {name: terms[name] for name in ours} == pytest.approx(ours, rel=1e-5)
    assert ours["kl"] * kl_weight > 1e-4 * ours["loss"], "a wrong weight would not show"
    assert [each.temperature for each in passes] == [1.0] * len(passes)
    assert passes[0].seen == list(modalities) and len(passes) == (3 if len(modalities) == 3 else 2)


@pytest.mark.parametrize("epoch", [10, 800])
def test_other_weights_and_the_terms_that_are_ours_enter_as_configured(epoch):
    config = dataclasses.replace(PUBLISHED, l1_weight=0.3, l2_weight=6.0, given_weight=1.5, gan_weight=0.5)
    one = batch("us", "t2", "flair")
    terms, passes, discriminators = learn(config, one, epoch)
    kl_weight, gan_weight = (2e-4, 0) if epoch == 10 else (1e-3, 0.5)
    ours = expected(config, one, passes, discriminators, kl_weight, gan_weight)
    assert {name: terms[name] for name in ours} == pytest.approx(ours, rel=1e-5)


@pytest.mark.parametrize("modalities", [("us", "t2", "flair"), ("us",), ("t2", "cet1")], ids="+".join)
def test_where_what_is_given_is_drawn_from_itself_passes_of_several_inputs_learn_the_others_alone(modalities):
    sizes = dataclasses.replace(PUBLISHED.sizes, reconstruction="own")
    config = dataclasses.replace(PUBLISHED, sizes=sizes, subsets="one", us_alone=0.0, l2_weight=6.0, given_weight=1.5)
    one, several = batch(*modalities), 0
    for seed in range(6):
        terms, (each,), _ = learn(dataclasses.replace(config, seed=seed), one, 50)
        assert len(each.seen) < max(len(modalities), 2)
        learnt = [m for m in modalities if m not in each.seen] if len(each.seen) > 1 else list(modalities)
        assert set(each.images) == set(learnt)
        assert terms["l1"] == pytest.approx(np.mean(differences(one, each.images, learnt)), rel=1e-5)
        several += len(each.seen) > 1
    assert several or len(modalities) < 3


def test_an_input_that_ends_within_the_field_is_learnt_from_all_inputs(monkeypatch):
    sizes = dataclasses.replace(PUBLISHED.sizes, reconstruction="own")
    config = dataclasses.replace(PUBLISHED, sizes=sizes, subsets="one", us_alone=0.0, cuts=1.0, given_weight=1.5)
    one, maps = batch("us", "t2", "flair"), []

    def noted(inputs, rng):
        given, coverage = cut(inputs, rng)
        maps.append(coverage)
        return given, coverage

    monkeypatch.setattr(learner_module, "cut", noted)
    for seed in range(4):
        maps.clear()
        terms, (each,), _ = learn(dataclasses.replace(config, seed=seed), one, 50)
        if not maps:
            continue
        ((name, cover),) = maps[0].items()
        learnt = {name, *(m for m in one.targets if m not in each.seen)}
        assert set(each.images) == learnt and cover.numpy().min() == 0
        assert terms["l1"] == pytest.approx(np.mean(differences(one, each.images, sorted(learnt))), rel=1e-5)
        return
    pytest.fail("no pass had several inputs")


@pytest.mark.parametrize("whole", [False, True])
def test_slices_of_the_pool_are_cut_to_the_fakes_field_only_where_it_takes_whole_fields(whole):
    learner = Learner(dataclasses.replace(PUBLISHED, pool_whole_field=whole), CPU)
    learner.pool.add({"flair": torch.full((5, 1, SIZE, SIZE), 0.5)}, np.random.default_rng(0))
    judged = []
    learner.discriminators["flair"].register_forward_pre_hook(lambda _module, images: judged.append(images[0].clone()))
    learner.learn(batch("us", "t2"), 0, 790)
    real, fake = judged
    assert len(real) == COUNT and (fake[:COUNT, :, :5] == -1).all()
    assert (real[:, :, :5] == (-1 if whole else 0.5)).all() and (real[:, :, 5:] == 0.5).all()
