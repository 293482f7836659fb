import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.errors import InputError
from MMHVAESynthesisLib.training import cases
from MMHVAESynthesisLib.training.config import DataConfig
from MMHVAESynthesisLib.training.sweeps import SweepShelf, sweep_over

SETTINGS = DataConfig(("mri",), sampling="crops", spacing=1.0)


@pytest.fixture(scope="module")
def loaded(data):
    return cases.load_all([data / "mri" / name for name in ("case1", "case2")], SETTINGS)


def test_a_sweep_is_a_case_on_its_own_grid_cut_to_its_field(loaded):
    swept, sweep = sweep_over(loaded[0], 1.0, seed=3)
    assert swept.modalities == ("us", "t2", "cet1", "flair")
    field = sitk.GetArrayFromImage(sweep.mask) > 0
    assert all(volume.shape == field.shape for volume in swept.volumes.values())
    assert all((volume[~field] == 0).all() for volume in swept.volumes.values())
    assert swept.white_matter == loaded[0].white_matter
    for name in ("t2", "cet1", "flair"):
        inside = swept.volumes[name][swept.volumes[name] > 0]
        assert swept.ranges[name].low == inside.min() and swept.ranges[name].high <= inside.max()


def test_mr_lies_under_the_ultrasound_whatever_the_direction_of_its_axes(loaded):
    turned = dataclasses.replace(loaded[0], direction=(0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    swept, sweep = sweep_over(turned, 1.0, seed=5)
    image = sitk.GetImageFromArray(turned.volumes["t2"])
    image.SetDirection(turned.direction)
    place = np.argwhere(swept.volumes["t2"] > 60)[::97]
    for k, j, i in place[:20]:
        point = sweep.us.TransformIndexToPhysicalPoint((int(i), int(j), int(k)))
        assert image.EvaluateAtPhysicalPoint(point) == pytest.approx(swept.volumes["t2"][k, j, i], abs=0.5)


def test_sweeps_follow_from_seed_and_number_alone_and_the_latest_are_kept(loaded):
    first, second = SweepShelf(loaded, 1.0, 0, kept=2), SweepShelf(loaded, 1.0, 0, kept=2)
    ahead = [first.take(number) for number in (0, 1, 2)]
    assert second.take(2).name == ahead[2].name
    assert np.array_equal(second.take(2).volumes["us"], ahead[2].volumes["us"])
    assert first.take(2) is ahead[2] and first.take(1) is ahead[1]
    again = first.take(0)
    assert again is not ahead[0] and np.array_equal(again.volumes["us"], ahead[0].volumes["us"])


def test_an_mr_that_shows_nothing_is_said(loaded):
    speck = np.zeros_like(loaded[0].volumes["t2"])
    speck[0, 0, 0] = 100
    with pytest.raises(InputError, match="next to nothing"):
        SweepShelf([dataclasses.replace(loaded[0], volumes={"t2": speck, "flair": 2 * speck})], 1.0, 0, kept=2).take(0)
