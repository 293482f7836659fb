import math

import numpy as np
import pytest

from MMHVAESynthesisLib.training.psnr import counts, psnr, to_8bit


def test_eight_bits_are_truncated_as_published():
    values = np.array([-1, -255 / 256, 0, 0.99, 1], np.float32)
    assert to_8bit(values).tolist() == [0, 0, 127, 253, 255]


def test_psnr_by_hand():
    target = np.array([[0, 100], [50, 100]], np.uint8)
    image = np.array([[10, 100], [50, 90]], np.uint8)
    # MSE 200 / 4 = 50, range 100: 10 log10(10000 / 50)
    assert psnr(target, image) == pytest.approx(10 * math.log10(200))
    assert psnr(target, target) == math.inf


def test_empty_and_uniform_targets_do_not_count():
    assert not counts(np.zeros((4, 4), np.uint8)) and not counts(np.full((4, 4), 9, np.uint8))
    assert counts(np.array([[0, 1]], np.uint8))
