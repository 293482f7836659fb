import numpy as np
import pytest

from MMHVAESynthesisLib.volumes.intensity import IntensityRange, from_zero, is_zero_filled


def test_no_intensity_is_brighter_than_1_whatever_the_rounding():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        high = np.float32(rng.uniform(50, 4000))
        low = np.float32(high * rng.uniform(0.0005, 0.1))
        found = IntensityRange(float(low), float(high) * 0.9973).to_network(np.array([0, low, high], np.float32))
        assert found.dtype == np.float32 and found[0] == -1 and found[1] == -255 / 256
        assert 1 - 1e-6 < found[2] <= 1


@pytest.mark.parametrize(("zeros", "filled"), [(100, False), (101, True)])
def test_more_than_a_tenth_of_zeros_is_background_that_was_filled_in(zeros, filled):
    volume = np.ones(1000, np.float32)
    volume[:zeros], volume[-1] = 0, -1
    assert is_zero_filled(volume, -1.0) is filled
    assert (from_zero(volume)[0] == 0) is np.bool_(filled)


def test_zeros_of_a_volume_without_values_below_are_no_matter():
    volume = np.array([5.0, 0, 0, 0, 9])
    assert not is_zero_filled(volume, 0.0)
    np.testing.assert_array_equal(from_zero(volume), volume)
