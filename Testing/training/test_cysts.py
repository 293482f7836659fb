import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from MMHVAESynthesisLib.training import cases
from MMHVAESynthesisLib.training.config import DataConfig
from MMHVAESynthesisLib.training.cysts import with_cyst
from MMHVAESynthesisLib.training.sweeps import SweepShelf
from MMHVAESynthesisLib.ultrasound.tissue import contrast_levels

SETTINGS = DataConfig(("mri",), sampling="crops", spacing=1.0)


def ball(rng, csf, white, shape=(70, 80, 76)):
    """White matter with a core of CSF, background 0."""
    grid = np.stack(np.meshgrid(*[np.arange(n) - n // 2 for n in shape], indexing="ij"))
    radius = np.sqrt((grid**2).sum(0))
    volume = np.where(radius < 8, csf, white) + rng.normal(0, 0.02 * white, shape)
    return np.where(radius < 34, volume, 0).astype(np.int16)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    rng = np.random.default_rng(0)
    volumes = {"t2": ball(rng, 400, 100), "cet1": ball(rng, 150, 500), "flair": ball(rng, 30, 120)}
    ranges = {name: cases.intensity_range(volume) for name, volume in volumes.items()}
    white = {"t2": 100.0, "cet1": 500.0, "flair": 120.0}
    return cases.Case("ball", tmp_path_factory.mktemp("ball"), volumes, ranges, white)


def inside(found):
    """Return where the cyst is, without the voxels at its surface."""
    return ndimage.binary_erosion(found.label == 1, iterations=2)


@pytest.mark.parametrize("seed", range(6))
def test_a_cyst_is_fluid_in_every_contrast(case, seed):
    found = with_cyst(case, 1.0, np.random.default_rng(seed))
    core = inside(found)
    assert core.any()
    assert np.median(found.volumes["t2"][core]) > 2 * case.white_matter["t2"]
    for name in ("cet1", "flair"):
        assert np.median(found.volumes[name][core]) < 0.75 * case.white_matter[name]


@pytest.mark.parametrize("seed", range(6))
def test_only_the_surroundings_of_the_cyst_change_and_nothing_outside_the_brain(case, seed):
    found = with_cyst(case, 1.0, np.random.default_rng(seed))
    away = ndimage.distance_transform_edt(found.label != 1) > 12
    for name, volume in found.volumes.items():
        assert ((volume > 0) == (case.volumes[name] > 0)).all()
        assert np.array_equal(volume[away], case.volumes[name][away])
    assert case.label is None and case.volumes["t2"].dtype == np.int16, "the case itself stays as it is"


def test_it_lies_where_the_label_is_and_joins_it(case):
    label = np.zeros(case.shape, np.uint8)
    label[20:24, 30:34, 40:44] = 2
    labelled = dataclasses.replace(case, label=label)
    found = with_cyst(labelled, 1.0, np.random.default_rng(1))
    middle = np.argwhere(found.label == 1).mean(0)
    assert np.abs(middle - (22, 32, 42)).max() < 12
    assert set(np.unique(found.label)) <= {0, 1, 2} and labelled.label is label and (label == 1).sum() == 0


def test_what_a_case_lacks_it_lacks_with_a_cyst_and_ultrasound_stays(case):
    us = np.random.default_rng(0).integers(0, 255, case.shape).astype(np.uint8)
    some = dataclasses.replace(case, volumes={"us": us, "flair": case.volumes["flair"]})
    found = with_cyst(some, 1.0, np.random.default_rng(3))
    assert set(found.volumes) == {"us", "flair"} and found.volumes["us"] is us


def test_it_follows_from_the_random_numbers_alone(case):
    first, second, other = (with_cyst(case, 1.0, np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert all(np.array_equal(first.volumes[name], second.volumes[name]) for name in first.volumes)
    assert not np.array_equal(first.label, other.label)


def test_a_cyst_is_in_millimetres(case):
    fine = with_cyst(case, 0.5, np.random.default_rng(0)).label.sum()
    coarse = with_cyst(case, 1.0, np.random.default_rng(0)).label.sum()
    assert fine > 3 * coarse


def test_sweeps_over_cysts_show_more_fluid(case):
    bright = contrast_levels(case.volumes["t2"]).high * 0.7

    def share(cysts):
        shelf = SweepShelf([case], 1.0, 0, kept=6, cysts=cysts)
        found = [shelf.take(number).volumes["t2"] for number in range(4)]
        return np.mean([(volume > bright).sum() / (volume > 0).sum() for volume in found])

    assert share(1.0) > share(0.0) + 0.02
