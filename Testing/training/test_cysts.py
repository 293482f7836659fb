import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from MMHVAESynthesisLib.training import cases, cysts
from MMHVAESynthesisLib.training.config import DataConfig
from MMHVAESynthesisLib.training.cysts import with_cyst
from MMHVAESynthesisLib.training.sweeps import SweepShelf, sweep_over
from MMHVAESynthesisLib.ultrasound.tissue import contrast_levels, tissue_from_mr

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


def inside(cyst):
    """Return where the cyst is, without the voxels at its surface."""
    return ndimage.binary_erosion(cyst, iterations=2)


@pytest.mark.parametrize("seed", range(6))
def test_a_cyst_is_fluid_in_every_contrast(case, seed):
    found, cyst = with_cyst(case, 1.0, np.random.default_rng(seed))
    core = inside(cyst)
    assert core.any()
    assert np.median(found.volumes["t2"][core]) > 2 * case.white_matter["t2"]
    for name in ("cet1", "flair"):
        assert np.median(found.volumes[name][core]) < 0.75 * case.white_matter[name]


@pytest.mark.parametrize("seed", range(6))
def test_only_the_surroundings_of_the_cyst_change_and_nothing_outside_the_brain(case, seed):
    found, cyst = with_cyst(case, 1.0, np.random.default_rng(seed))
    away = ndimage.distance_transform_edt(~cyst) > 12
    for name, volume in found.volumes.items():
        assert ((volume > 0) == (case.volumes[name] > 0)).all()
        assert np.array_equal(volume[away], case.volumes[name][away])
    assert case.label is None and case.volumes["t2"].dtype == np.int16, "the case itself stays as it is"


def test_it_lies_where_the_label_is_and_the_label_no_longer_holds_it(case):
    label = np.zeros(case.shape, np.uint8)
    label[20:24, 30:34, 40:44] = 2
    label[60, 60, 60] = 4
    labelled = dataclasses.replace(case, label=label)
    found, cyst = with_cyst(labelled, 1.0, np.random.default_rng(1))
    assert cyst[18:26, 28:36, 38:46].any() and found.label.dtype == np.uint8
    assert np.array_equal(found.label, np.where(cyst, 0, label))
    assert labelled.label is label and label[21, 31, 41] == 2


CONTRASTS = [("t2", "cet1", "flair"), ("t2", "cet1"), ("t2", "flair")]


@pytest.mark.parametrize("contrasts", CONTRASTS, ids=" ".join)
@pytest.mark.parametrize("is_labelled", [False, True])
def test_ultrasound_sees_fluid_in_it_and_no_tumour(case, contrasts, is_labelled, monkeypatch):
    monkeypatch.setattr(cysts, "_RADIUS_MM", (8.0, 12.0))
    label = np.zeros(case.shape, np.uint8)
    label[30:50, 20:40, 30:50] = 1
    volumes = {name: case.volumes[name] for name in contrasts}
    some = dataclasses.replace(case, volumes=volumes, label=label if is_labelled else None)
    for seed in range(3):
        found, cyst = with_cyst(some, 1.0, np.random.default_rng(seed))
        tissue = tissue_from_mr(found.volumes, found.label, 1.0)
        core = inside(inside(cyst))
        assert tissue.fluid[core].mean() > 0.8 and tissue.tumour[core].mean() < 0.1


def test_it_leaves_the_echo_of_a_lesion_without_a_label(case, monkeypatch):
    monkeypatch.setattr(cysts, "_RADIUS_MM", (8.0, 12.0))
    flair = case.volumes["flair"].copy()
    flair[10:26, 34:50, 34:50] = 260
    lesion = dataclasses.replace(case, volumes={**case.volumes, "flair": flair})
    found, cyst = with_cyst(lesion, 1.0, np.random.default_rng(2))
    away = ndimage.distance_transform_edt(~cyst) > 8
    before, after = (tissue_from_mr(some.volumes, some.label, 1.0).oedema for some in (lesion, found))
    there = away & (before > 0.5)
    assert there.sum() > 500 and after[there].mean() > 0.8 * before[there].mean()


def test_what_a_case_lacks_it_lacks_with_a_cyst_and_ultrasound_stays(case):
    us = np.random.default_rng(0).integers(0, 255, case.shape).astype(np.uint8)
    some = dataclasses.replace(case, volumes={"us": us, "flair": case.volumes["flair"]})
    found, _ = with_cyst(some, 1.0, np.random.default_rng(3))
    assert set(found.volumes) == {"us", "flair"} and found.volumes["us"] is us


def test_it_follows_from_the_random_numbers_alone(case):
    (first, cyst), (second, same), (_, other) = (
        with_cyst(case, 1.0, np.random.default_rng(seed)) for seed in (4, 4, 5)
    )
    assert all(np.array_equal(first.volumes[name], second.volumes[name]) for name in first.volumes)
    assert np.array_equal(cyst, same) and not np.array_equal(cyst, other)


def test_a_cyst_is_in_millimetres(case, monkeypatch):
    monkeypatch.setattr(cysts, "_RADIUS_MM", (7.0, 8.0))
    fine, coarse = (with_cyst(case, spacing, np.random.default_rng(0))[1].sum() for spacing in (0.5, 1.0))
    assert fine > 3 * coarse


def test_the_scale_of_the_intensities_does_not_matter(case):
    low = {name: volume * np.float32(1e-2) for name, volume in case.volumes.items()}
    white = {name: level * 1e-2 for name, level in case.white_matter.items()}
    found, _ = with_cyst(case, 1.0, np.random.default_rng(1))
    small, _ = with_cyst(dataclasses.replace(case, volumes=low, white_matter=white), 1.0, np.random.default_rng(1))
    for name, volume in found.volumes.items():
        np.testing.assert_allclose(small.volumes[name] * 1e2, volume, rtol=1e-3, atol=1e-3 * case.white_matter[name])


def test_sweeps_over_cysts_look_at_them(case):
    bright = contrast_levels(case.volumes["t2"]).high * 0.7

    def share(part):
        shelf = SweepShelf([case], 1.0, 0, kept=6, cysts=part)
        found = [shelf.take(number).volumes["t2"] for number in range(4)]
        return np.mean([(volume > bright).sum() / (volume > 0).sum() for volume in found])

    assert share(1.0) > share(0.0) + 0.02


def test_a_probe_looks_at_the_target_it_is_given(case):
    target = np.zeros(case.shape, bool)
    target[40:46, 10:16, 34:40] = True
    marked = dataclasses.replace(case, volumes={**case.volumes, "flair": np.where(target, 3000, case.volumes["flair"])})
    seen = [sweep_over(marked, 1.0, seed, True, target)[0].volumes["flair"].max() for seed in range(3)]
    assert min(seen) > 1500
