import numpy as np
import pytest

from MMHVAESynthesisLib.evaluation.baselines import DepthProfile, Polynomial, pairs
from MMHVAESynthesisLib.training.batches import Batch


def batch(seed=0):
    rng = np.random.default_rng(seed)
    images = {name: rng.uniform(-0.9, 0.9, (2, 1, 12, 12)).astype(np.float32) for name in ("us", "t2", "flair")}
    for image in images.values():
        image[:, :, :3] = -1
    targets = {name: image.copy() for name, image in images.items()}
    return Batch(images, targets, ("x",))


def test_a_cubic_is_found_exactly():
    train, test = batch(0), batch(1)
    for one in (train, test):
        t2 = one.inputs["t2"]
        one.targets["flair"] = np.where(t2 > -1, 0.1 - 0.2 * t2 + 0.3 * t2**2 + 0.4 * t2**3, -1).astype(np.float32)
    fitted = Polynomial.fit([train], ("t2",), "flair")
    assert fitted.coefficients == pytest.approx([0.1, -0.2, 0.3, 0.4], abs=1e-5)
    assert np.allclose(fitted(test), test.targets["flair"], atol=1e-4)


def test_two_inputs_have_ten_terms_with_their_products():
    one = batch()
    t2, us = one.inputs["t2"], one.inputs["us"]
    one.targets["flair"] = np.where(us > -1, 0.5 * us * t2 - 0.3 * us * us * t2, -1).astype(np.float32)
    fitted = Polynomial.fit([one], ("us", "t2"), "flair")
    assert len(fitted.coefficients) == 10
    assert np.allclose(fitted(one), one.targets["flair"], atol=1e-4)


def test_outside_the_inputs_mask_is_background():
    one = batch()
    assert (Polynomial.fit([one], ("t2",), "flair")(one)[:, :, :3] == -1).all()


def test_constant_per_depth_is_the_mean_of_each_millimetre():
    one = batch()
    depth = np.broadcast_to(np.arange(12) * 0.5, (2, 1, 12, 12)) - 0.2
    image = DepthProfile.fit([(one, depth)], "us", "t2")(one, depth)
    inside = one.inputs["us"] > -1
    for first in range(1, 11, 2):  # columns 1 and 2, 3 and 4, ... share a millimetre
        columns = (slice(None), slice(None), slice(None), slice(first, first + 2))
        assert np.allclose(
            image[columns][inside[columns]], one.targets["t2"][columns][inside[columns]].mean(), atol=1e-6
        )
    assert (image[~inside] == -1).all()
    ours = ((image - one.targets["t2"])[inside] ** 2).mean()
    assert ours <= ((one.targets["t2"][inside].mean() - one.targets["t2"][inside]) ** 2).mean()


def test_depths_that_no_training_sweep_reached_have_the_nearest_value():
    train, test = batch(0), batch(1)
    depth = np.broadcast_to(np.arange(12) * 1.0, (2, 1, 12, 12))
    fitted = DepthProfile.fit([(train, depth), (train, depth)], "us", "t2")
    image = fitted(test, depth + 100)
    inside = test.inputs["us"] > -1
    assert np.allclose(image[inside], fitted.values[-1]) and (image[~inside] == -1).all()
    assert fitted.values[-1] == pytest.approx(train.targets["t2"][..., 11][train.inputs["us"][..., 11] > -1].mean())


def test_pairs_are_ordered_and_different():
    assert pairs(("t2", "cet1", "flair"))[:2] == [("t2", "cet1"), ("t2", "flair")] and len(pairs("abc")) == 6
