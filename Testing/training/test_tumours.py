import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from MMHVAESynthesisLib.training import cases, tumours
from MMHVAESynthesisLib.training.sweeps import SweepShelf
from MMHVAESynthesisLib.training.tumours import donors, with_tumour

MR = ("t2", "cet1", "flair")
SHAPE = (60, 64, 68)


def head(folder, name, scale=1.0, tumour=None, modalities=MR):
    """A ball of white matter, 100 times ``scale``; in the box ``tumour`` 250 times, labelled 4 below and 2 above."""
    grid = np.stack(np.meshgrid(*[np.arange(n) - n // 2 for n in SHAPE], indexing="ij"))
    brain = (grid**2).sum(0) < 28**2
    label = np.zeros(SHAPE, np.uint8)
    if tumour is not None:
        label[tumour] = 2
        label[: (tumour[0].start + tumour[0].stop) // 2][label[: (tumour[0].start + tumour[0].stop) // 2] > 0] = 4
    grey = np.random.default_rng(len(name)).normal(100, 2, SHAPE)
    volume = (scale * np.where(brain, np.where(label > 0, 250, grey), 0)).astype(np.float32)
    volumes = {modality: volume.copy() for modality in modalities}
    ranges = {modality: cases.intensity_range(volume) for modality in modalities}
    return cases.Case(name, folder, volumes, ranges, {modality: 100.0 * scale for modality in modalities}, label)


TUMOUR = (slice(20, 36), slice(26, 38), slice(30, 40))


@pytest.fixture
def healthy(tmp_path):
    return head(tmp_path, "healthy")


@pytest.fixture
def donor(tmp_path):
    return head(tmp_path, "donor", scale=7.0, tumour=TUMOUR)


@pytest.mark.parametrize("seed", range(6))
def test_a_tumour_comes_with_its_label_and_in_the_units_of_the_case(healthy, donor, seed):
    found, where = with_tumour(healthy, donor, 1.0, np.random.default_rng(seed))
    assert where.sum() > 200
    core = ndimage.binary_erosion(where, iterations=3)
    for modality in MR:
        assert found.volumes[modality][core].size == 0 or abs(found.volumes[modality][core].mean() - 250) < 15
    assert np.array_equal(found.label > 0, where) and set(np.unique(found.label)) <= {0, 2, 4}
    assert not healthy.label.any() and healthy.volumes["t2"].max() < 120, "the case itself stays as it is"


@pytest.mark.parametrize("seed", range(6))
def test_only_its_surroundings_change_and_nothing_outside_the_brain(healthy, donor, seed):
    found, where = with_tumour(healthy, donor, 1.0, np.random.default_rng(seed))
    away = ndimage.distance_transform_edt(~where) > 8
    for modality, volume in found.volumes.items():
        assert ((volume > 0) == (healthy.volumes[modality] > 0)).all()
        assert np.array_equal(volume[away], healthy.volumes[modality][away])
    assert not where[healthy.volumes["t2"] == 0].any()


def test_it_is_as_large_as_the_donors_within_what_is_drawn(healthy, donor):
    own = np.count_nonzero(donor.label)
    sizes = [with_tumour(healthy, donor, 1.0, np.random.default_rng(seed))[1].sum() / own for seed in range(30)]
    assert max(sizes) < 1.05 * 1.35**3
    assert np.median(sizes) > 0.75**3
    assert max(sizes) / min(sizes) > 1.5


def test_it_is_turned_and_comes_to_lie_all_over_the_brain(healthy, donor):
    found = [with_tumour(healthy, donor, 1.0, np.random.default_rng(seed))[1] for seed in range(20)]
    middles = np.array([ndimage.center_of_mass(where) for where in found])
    assert (np.ptp(middles, axis=0) > 20).all()
    covariances = [np.cov(np.argwhere(where).T) for where in found]
    assert max(abs(covariance[0, 1]) for covariance in covariances) > 3


def test_the_lesion_that_a_case_has_stays_beside_it(tmp_path, donor, monkeypatch):
    monkeypatch.setattr(tumours, "_SCALE", (0.5, 0.6))
    own = (slice(40, 46), slice(20, 26), slice(20, 26))
    ill = head(tmp_path, "ill", tumour=own)
    found, where = with_tumour(ill, donor, 1.0, np.random.default_rng(3))
    kept = ~where
    assert np.array_equal(found.label[kept], ill.label[kept]) and (ill.label[kept] > 0).any()


def test_ultrasound_and_what_is_lacking_stay_as_they_are(tmp_path, donor):
    some = head(tmp_path, "some", modalities=("flair",))
    us = np.ones(SHAPE, np.uint8)
    found, _ = with_tumour(dataclasses.replace(some, volumes={"us": us, **some.volumes}), donor, 1.0, _rng())
    assert set(found.volumes) == {"us", "flair"} and found.volumes["us"] is us


def _rng():
    return np.random.default_rng(1)


def test_it_follows_from_the_random_numbers_alone(healthy, donor):
    (first, where), (second, same) = (with_tumour(healthy, donor, 1.0, _rng()) for _ in range(2))
    assert np.array_equal(where, same) and np.array_equal(first.volumes["t2"], second.volumes["t2"])


def test_donors_are_other_labelled_cases_with_all_that_the_case_has(tmp_path, healthy, donor):
    lacking = head(tmp_path, "lacking", tumour=TUMOUR, modalities=("t2",))
    unlabelled = dataclasses.replace(donor, label=None)
    everyone = [healthy, donor, lacking, unlabelled]
    assert donors(healthy, everyone) == (donor,)
    assert donors(donor, everyone) == ()
    assert donors(lacking, everyone) == (donor,)
    assert donors(unlabelled, everyone) == ()


def test_sweeps_look_at_it(healthy, donor):
    def show_some(part, count):
        shelf = SweepShelf([healthy, donor], 1.0, 0, kept=count, tumours=part)
        found = [shelf.take(number) for number in range(count)]
        return [bool((case.volumes["t2"] > 180).any()) for case in found if case.name == "healthy"]

    without, with_ = show_some(0.0, 4), show_some(1.0, 8)
    assert without and not any(without)
    assert len(with_) > 2 and all(with_)
