import math

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


def test_what_is_given_counts_by_the_logarithm_of_its_error_slice_by_slice():
    outputs, targets = {"us": image(1, 1), "t2": image(0, 0)}, {"us": image(-1, 1), "t2": image(0.5, 0.5)}
    # us: half the squares of (1, 0) are 0.5 in the mean; t2: 0.25^2.
    us, t2 = math.log(0.5) / 2, math.log(0.25)
    assert given_term(outputs, targets, ("us",)) == pytest.approx(us / 2, rel=1e-4)
    assert given_term(outputs, targets, ("us", "t2")) == pytest.approx((us + t2) / 2, rel=1e-4)
    assert given_term(outputs, targets, ("flair",)) == 0
    # Ten times less error in one slice of two counts as much where the slice was good already: 20 dB, 10 in the mean.
    truth = {"t2": torch.zeros(2, 1, 2, 2)}
    terms = []
    for errors in ((0.4, 0.1), (0.04, 0.1), (0.4, 0.01)):
        guess = torch.tensor(errors).reshape(2, 1, 1, 1).expand(2, 1, 2, 2).clone().requires_grad_()
        terms.append(given_term({"t2": guess}, truth, ("t2",)))
    assert (terms[0] - terms[1]).item() == pytest.approx(math.log(10) / 2, rel=0.02)
    assert (terms[0] - terms[2]).item() == pytest.approx(math.log(10) / 2, rel=0.1)
    exact = torch.zeros(1, 1, 2, 2, requires_grad=True)
    given_term({"t2": exact}, {"t2": torch.zeros(1, 1, 2, 2)}, ("t2",)).backward()
    assert torch.isfinite(exact.grad).all()


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
