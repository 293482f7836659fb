import pytest
import torch

from MMHVAESynthesisLib.training.losses import (
    discriminator_term,
    fakes,
    generator_term,
    given_term,
    kl_term,
    l1_term,
    l2_term,
)


def image(*values):
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, -1)


def test_l1_is_half_the_difference_averaged_over_the_modalities_of_the_case():
    outputs = {"us": image(1, 1), "t2": image(0, 0), "flair": image(9, 9)}
    targets = {"us": image(-1, 1), "t2": image(0.5, 0.5)}
    # us: (2 + 0) / 2 / 2 = 0.5; t2: 0.5 / 2 = 0.25; flair was not seen in this case
    assert l1_term(outputs, targets) == pytest.approx(0.375)


def test_l2_is_the_square_of_half_the_difference_and_asks_for_the_mean():
    outputs, targets = {"us": image(1, 1), "t2": image(0, 0)}, {"us": image(-1, 1), "t2": image(0.5, 0.5)}
    # us: (1 + 0) / 2 = 0.5; t2: 0.25^2 = 0.0625
    assert l2_term(outputs, targets) == pytest.approx((0.5 + 0.0625) / 2)
    # One pixel in four is bright: the square is least at the mean, L1 at the median.
    truth = {"t2": image(1, 0, 0, 0)}
    guesses = [{"t2": torch.full((1, 1, 1, 4), value)} for value in (0.0, 0.25)]
    assert l2_term(guesses[1], truth) < l2_term(guesses[0], truth)
    assert l1_term(guesses[1], truth) > l1_term(guesses[0], truth)


def test_what_is_given_is_the_part_of_l1_over_the_inputs():
    outputs, targets = {"us": image(1, 1), "t2": image(0, 0)}, {"us": image(-1, 1), "t2": image(0.5, 0.5)}
    assert given_term(outputs, targets, ("us",)) == pytest.approx(0.5 / 2)
    assert given_term(outputs, targets, ("us", "t2")) == pytest.approx(l1_term(outputs, targets))
    assert given_term(outputs, targets, ("flair",)) == 0


def test_kl_is_summed_over_levels_and_divided_by_pixels_and_modalities():
    assert kl_term([torch.tensor(30.0), torch.tensor(10.0)], pixels=5, modalities=4) == pytest.approx(2.0)


def test_generator_wants_scores_of_one_in_every_modality():
    outputs = {"us": image(0, 2), "t2": image(1, 1)}
    identity = {"us": torch.nn.Identity(), "t2": torch.nn.Identity()}
    assert generator_term(outputs, identity) == pytest.approx(0.5)


def test_discriminator_wants_one_for_real_and_zero_for_fake():
    identity = torch.nn.Identity()
    assert discriminator_term(image(1, 1), image(0, 0), identity) == 0
    assert discriminator_term(image(0, 1), image(2, 0), identity) == pytest.approx(0.5 + 2.0)


def test_fakes_come_from_the_passes_that_did_not_see_the_modality():
    def outputs(value):
        return {name: image(value).requires_grad_() for name in ("us", "t2", "flair")}

    passes = [(("us", "t2"), outputs(1)), (("us",), outputs(2)), (("t2",), outputs(3))]
    found = fakes(passes, ("us", "t2", "flair"))
    assert [found[name].flatten().tolist() for name in ("us", "t2", "flair")] == [[3], [2], [1, 2, 3]]
    assert not found["flair"].requires_grad


def test_a_modality_that_every_pass_saw_has_no_fakes():
    assert fakes([(("us",), {"us": image(1), "t2": image(1)})], ("us", "t2")).keys() == {"t2"}
