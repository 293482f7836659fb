import sys

import numpy as np
import pytest

from MMHVAESynthesisLib.errors import DependencyError
from MMHVAESynthesisLib.evaluation.metrics import Perceptual, ssim
from MMHVAESynthesisLib.training.psnr import psnr


def test_psnr_and_ssim_are_those_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    rng = np.random.default_rng(0)
    target = rng.integers(3, 200, (40, 32)).astype(np.uint8)
    image = np.clip(target + rng.normal(0, 20, target.shape), 0, 255).astype(np.uint8)
    span = int(target.max()) - int(target.min())
    assert psnr(target, image) == pytest.approx(metrics.peak_signal_noise_ratio(target, image, data_range=span))
    assert ssim(target, image) == pytest.approx(metrics.structural_similarity(target, image, data_range=span))


def test_ssim_by_hand_of_two_constant_images():
    pytest.importorskip("skimage", reason="scikit-image is not installed")
    # without variance only the luminance term is left: (2 a b + C1) / (a^2 + b^2 + C1), C1 = (0.01 L)^2
    target, image = np.full((40, 40), 100, np.uint8), np.full((40, 40), 50, np.uint8)
    target[0, 0] = 101  # a data range of 1, seen by one window only
    c1 = 0.01**2
    expected = (2 * 100 * 50 + c1) / (100**2 + 50**2 + c1)
    assert ssim(target, image) == pytest.approx(expected, rel=0.002)


def test_ssim_without_scikit_image_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(DependencyError, match="scikit-image"):
        ssim(np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8))


def test_lpips_is_left_out_with_a_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    perceptual = Perceptual()
    assert not perceptual.available and "lpips" in perceptual.reason
