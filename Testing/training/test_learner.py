import dataclasses

import numpy as np
import pytest
import torch

from MMHVAESynthesisLib.errors import DeviceError, InputError
from MMHVAESynthesisLib.training import distributed
from MMHVAESynthesisLib.training.batches import Batch
from MMHVAESynthesisLib.training.learner import Learner

CPU = torch.device("cpu")


def batch(*modalities, size=32, count=2, seed=0, whole_field=False):
    rng = np.random.default_rng(seed)
    images = {name: rng.uniform(-0.9, 1, (count, 1, size, size)).astype(np.float32) for name in modalities}
    return Batch(images, {name: image.copy() for name, image in images.items()}, ("x",), whole_field)


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module, before):
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def test_encoders_of_absent_modalities_get_no_gradient_and_no_step(config):
    learner = Learner(config, CPU)
    before = weights(learner.network)
    learner.learn(batch("us", "flair"), 0, 1)
    moved = {name.split(".")[1] for name in changed(learner.network, before) if name.startswith("encoders")}
    assert moved == {"us", "flair"}
    for modality in ("t2", "cet1"):
        assert all(p.grad is None for p in learner.network.encoders[modality].parameters())
        assert all(p not in learner.adamax.state for p in learner.network.encoders[modality].parameters())


def test_a_case_of_ultrasound_alone_teaches(config):
    learner = Learner(config, CPU)
    terms = learner.learn(batch("us"), 0, 1)
    assert np.isfinite(terms["loss"]) and terms["gan"] == 0


def test_without_a_gan_there_are_no_discriminators(config):
    learner = Learner(dataclasses.replace(config, gan_weight=0.0), CPU)
    terms = learner.learn(batch("us", "t2"), 0, 4)
    assert len(learner.discriminators) == 0 and "discriminator" not in terms and terms["gan"] == 0
    assert not learner.pool.state()


def test_every_discriminator_that_has_fakes_and_something_real_learns(config):
    learner = Learner(config, CPU)
    before = weights(learner.discriminators)
    learner.learn(batch("us", "t2"), 0, 2)
    # the pool holds nothing of ceT1 and FLAIR yet
    assert {name.split(".")[0] for name in changed(learner.discriminators, before)} == {"us", "t2"}
    learner.pool.add({"flair": torch.zeros(3, 1, 32, 32)}, np.random.default_rng(0))
    before = weights(learner.discriminators)
    learner.learn(batch("us", "t2"), 1, 2)
    assert {name.split(".")[0] for name in changed(learner.discriminators, before)} == {"us", "t2", "flair"}


def test_discriminators_do_not_learn_from_the_generators_step(config):
    learner = Learner(dataclasses.replace(config, discriminator_epoch=99), CPU)
    before = weights(learner.discriminators)
    terms = learner.learn(batch("us", "t2"), 0, 3)
    assert terms["gan"] > 0 and not changed(learner.discriminators, before)


def test_the_adversarial_term_reaches_modalities_that_the_case_lacks(config):
    moved = {}
    for epoch in (1, 3):
        learner = Learner(dataclasses.replace(config, discriminator_epoch=99), CPU)
        before = weights(learner.network)
        learner.learn(batch("us"), 0, epoch)
        names = {name.split(".")[1] for name in changed(learner.network, before) if name.startswith("decoders")}
        moved[epoch] = names
    assert moved == {1: {"us"}, 3: {"us", "t2", "cet1", "flair"}}


def test_the_pool_takes_whole_fields_only_where_asked(config):
    learner = Learner(dataclasses.replace(config, pool_whole_field=True), CPU)
    learner.learn(batch("us", "t2"), 0, 1)
    assert not learner.pool.state()
    learner.learn(batch("t2", whole_field=True), 1, 1)
    assert set(learner.pool.state()) == {"t2"}


def test_all_subsets_take_a_step_each(config):
    learner = Learner(dataclasses.replace(config, subsets="all"), CPU)
    learner.learn(batch("us", "t2", "cet1", "flair"), 0, 1)
    assert next(iter(learner.adamax.state.values()))["step"] == 7
    assert learner.average.updates == 7


def test_adamax_is_made_anew_once_and_keeps_the_rate_of_the_cosine(config):
    learner = Learner(config, CPU)
    learner.learn(batch("us"), 0, 1)
    learner.begin_epoch(3, is_new=False)
    assert learner.adamax.state
    learner.begin_epoch(3, is_new=True)
    assert not learner.adamax.state
    assert learner.adamax.param_groups[0]["lr"] == config.learning_rate_at(3) < config.learning_rate


def test_losses_fall_on_one_batch(config):
    learner = Learner(dataclasses.replace(config, gan_weight=0.0, kl_weight=1e-5), CPU)
    ramp = np.broadcast_to(np.linspace(-0.9, 0.9, 32, dtype=np.float32), (2, 1, 32, 32)).copy()
    one = Batch({"us": ramp, "t2": -ramp}, {"us": ramp, "t2": ramp**2}, ("x",))
    first = learner.learn(one, 0, 1)["l1"]
    for step in range(1, 25):
        last = learner.learn(one, step, 1)["l1"]
    assert last < 0.6 * first


def test_the_average_follows_slowly_and_is_what_is_shipped(config):
    learner = Learner(config, CPU)
    start = weights(learner.network)["coarsest.down.bias"]
    for step in range(3):
        learner.learn(batch("us", "t2"), step, 1)
    now, averaged = (weights(network)["coarsest.down.bias"] for network in (learner.network, learner.shipped))
    assert 0 < (averaged - start).abs().sum() < (now - start).abs().sum()
    assert Learner(dataclasses.replace(config, ema=0.0), CPU).shipped.training


@pytest.mark.parametrize(
    "changes",
    [{"fusion": "average"}, {"fusion": "zero_fill"}, {"latent_levels": 1}, {"modalities": ("us", "t2")}],
    ids=str,
)
def test_ablations_are_configurations(config, changes):
    learner = Learner(dataclasses.replace(config, sizes=dataclasses.replace(config.sizes, **changes)), CPU)
    assert np.isfinite(learner.learn(batch("us", "t2"), 0, 3)["loss"])


def test_each_optimiser_has_the_rate_of_its_own(config):
    learner = Learner(dataclasses.replace(config, learning_rate=2e-3, discriminator_learning_rate=2e-4), CPU)
    assert learner.adamax.param_groups[0]["lr"] == 2e-3 and learner.adam.param_groups[0]["lr"] == 2e-4


def test_slices_too_small_for_the_discriminators_are_refused_where_these_come_into_play(config):
    small = dataclasses.replace(config, sizes=dataclasses.replace(config.sizes, size=16))
    with pytest.raises(InputError, match="24 x 24 or more, not 16"):
        Learner(small, CPU)
    Learner(dataclasses.replace(small, gan_epoch=800, discriminator_epoch=790), CPU)


def test_processes_see_the_same_subsets_and_draw_other_noise(config, monkeypatch):
    calls = {}
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        learner = Learner(config, CPU)
        calls[rank] = found = []
        learner.network.register_forward_pre_hook(lambda _module, given, found=found: found.append(given[:2]))
        learner.learn(batch("us", "t2", "cet1", "flair"), 5, 1)
    assert [list(seen) for seen, _ in calls[0]] == [list(seen) for seen, _ in calls[1]]
    for (_, ours), (_, theirs) in zip(*calls.values()):
        assert all((one != other).float().mean() > 0.99 for one, other in zip(ours, theirs))


def test_an_input_that_is_cut_reaches_the_network_with_its_say(config):
    learner = Learner(dataclasses.replace(config, cuts=1.0, gan_weight=0.0), CPU)
    calls = []

    def look(_module, arguments, named):
        calls.append((arguments[0], named["coverage"]))

    learner.network.register_forward_pre_hook(look, with_kwargs=True)
    terms = learner.learn(batch("us", "t2"), 0, 1)
    assert np.isfinite(terms["loss"])
    cut = [(images, coverage) for images, coverage in calls if coverage]
    assert len(cut) == 1, "of the three passes one has two inputs"
    images, coverage = cut[0]
    assert list(coverage) == ["t2"]
    assert (images["t2"][coverage["t2"] == 0] == -1).all() and (images["us"] > -1).all()


def test_bfloat16_keeps_latents_and_losses_in_float32(config):
    learner = Learner(dataclasses.replace(config, precision="bfloat16"), CPU)
    kinds = []
    learner.network.levels[-1].expert.register_forward_hook(lambda _m, _i, output: kinds.append(output.dtype))
    low = learner.learn(batch("us", "t2"), 0, 1)
    high = Learner(config, CPU).learn(batch("us", "t2"), 0, 1)
    assert set(kinds) == {torch.float32}
    assert low["loss"] == pytest.approx(high["loss"], rel=0.05) and low["loss"] != high["loss"]
    assert all(p.dtype == torch.float32 for p in learner.network.parameters())


def test_bfloat16_on_apples_processors_is_refused_before_the_first_step(config):
    with pytest.raises(DeviceError, match="needs --device cpu or cuda; for mps set float32"):
        Learner(dataclasses.replace(config, precision="bfloat16"), torch.device("mps"))


def test_the_experts_locations_start_larger_and_nothing_else_does(config):
    plain, larger = (Learner(dataclasses.replace(config, expert_gain=gain), CPU).network for gain in (1.0, 8.0))
    weights = dict(plain.named_parameters())
    for name, weight in larger.named_parameters():
        ratio = torch.ones_like(weight)
        if name.endswith("original0") and ("expert" in name or "coarsest.down" in name):
            ratio[: weight.shape[0] // 2] = 8.0
        assert torch.equal(weight, ratio * weights[name]), name
