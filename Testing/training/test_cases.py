import dataclasses

import numpy as np
import pytest

from MMHVAESynthesisLib.errors import InputError
from MMHVAESynthesisLib.training import cases, presets
from MMHVAESynthesisLib.training.config import DataConfig

CROPS = DataConfig(("mri", "mri_incomplete", "ius"), sampling="crops", spacing=1.0)


def write(folder, name, array, spacing=1.0, origin=0.0):
    import SimpleITK as sitk

    folder.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([spacing] * 3)
    image.SetOrigin([origin] * 3)
    sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))


def test_any_subset_of_modalities_makes_a_case(data):
    loaded = {case.name: case.modalities for case in cases.load_all(cases.find(data), CROPS)}
    assert loaded["case1"] == ("t2", "cet1", "flair")
    assert loaded["case4"] == ("flair",)
    assert loaded["Case5"] == ("us",)


def test_held_out_cases_are_never_among_those_to_train_on(data):
    to_train, held_out = cases.split(cases.find(data), CROPS)
    assert {case.name for case in held_out} == {"BraTS2021_01484", "Case18"}
    assert not {case.name for case in to_train} & set(CROPS.held_out)
    assert len(to_train) + len(held_out) == len(cases.find(data))


def test_a_folder_without_cases_says_what_it_should_hold(tmp_path):
    with pytest.raises(InputError, match="nii.gz"):
        cases.find(tmp_path)


def test_no_data_folder_names_both_ways_to_give_one(monkeypatch):
    monkeypatch.delenv("MMHVAE_DATA", raising=False)
    with pytest.raises(InputError, match="MMHVAE_DATA"):
        cases.data_folder(None)


def test_volumes_on_two_grids_are_refused(tmp_path):
    write(tmp_path / "mri" / "x", "t2", np.arange(120, dtype=np.int16).reshape(4, 5, 6))
    write(tmp_path / "mri" / "x", "flair", np.arange(140, dtype=np.int16).reshape(4, 5, 7))
    with pytest.raises(InputError, match="one grid"):
        cases.load(tmp_path / "mri" / "x", CROPS)


def test_volumes_of_one_size_that_lie_apart_are_refused(tmp_path):
    block = np.arange(1, 121, dtype=np.int16).reshape(4, 5, 6)
    write(tmp_path / "mri" / "x", "t2", block)
    write(tmp_path / "mri" / "x", "flair", block, origin=0.5)
    with pytest.raises(InputError, match="one grid"):
        cases.load(tmp_path / "mri" / "x", CROPS)
    write(tmp_path / "mri" / "x", "flair", block, origin=0.01)
    assert cases.load(tmp_path / "mri" / "x", CROPS).modalities == ("t2", "flair")


def test_voxels_that_are_not_numbers_are_refused(tmp_path):
    import SimpleITK as sitk

    block = np.arange(1, 121, dtype=np.float32).reshape(4, 5, 6)
    block[2, 2, 2] = np.nan
    (tmp_path / "x").mkdir()
    # ITK reads NaN of a NIfTI file as 0.
    sitk.WriteImage(sitk.GetImageFromArray(block), str(tmp_path / "x" / "t2.nrrd"))
    with pytest.raises(InputError, match="NaN"):
        cases.load(tmp_path / "x", CROPS)


def test_the_minimum_is_taken_off_mr_over_the_whole_range_of_its_type_and_never_off_ius(tmp_path):
    block = np.linspace(-32000, 32000, 1728).reshape(12, 12, 12).astype(np.int16)
    write(tmp_path / "mri" / "x", "t2", block)
    write(tmp_path / "ius" / "y", "us", np.clip(block, -5, 255))
    mr, us = (cases.load(tmp_path / part, CROPS).volumes for part in ("mri/x", "ius/y"))
    assert (mr["t2"].min(), mr["t2"].max()) == (0, 64000)
    assert us["us"].max() == 255


def test_whole_numbers_are_not_cut_off_when_they_are_resampled_and_labels_stay_labels(tmp_path):
    rng, fine = np.random.default_rng(0), dataclasses.replace(CROPS, sampling="blocks", spacing=0.5)
    for name, kind, below in (("t2", np.int16, 5), ("us", np.uint8, 5), ("seg", np.uint8, 2)):
        block = np.zeros((8, 9, 10), kind)
        block[1:7, 1:7, 1:7] = rng.integers(1, below, (6, 6, 6))
        write(tmp_path / "whole", name, block)
        write(tmp_path / "float", name, block if name == "seg" else block.astype(np.float32))
    whole, exact = (cases.load(tmp_path / name, fine) for name in ("whole", "float"))
    for name in ("t2", "us"):
        assert whole.volumes[name].dtype == np.float32
        np.testing.assert_array_equal(whole.volumes[name], exact.volumes[name])
    assert whole.label.dtype == np.uint8 and set(np.unique(whole.label)) == {0, 1}


def test_what_lies_outside_an_mr_with_negative_values_is_background(tmp_path):
    block = np.random.default_rng(0).integers(-100, 500, (20, 21, 22)).astype(np.int16)
    write(tmp_path / "x", "t2", block)
    volume = cases.load(tmp_path / "x", dataclasses.replace(CROPS, sampling="blocks", spacing=0.5)).volumes["t2"]
    assert volume.shape == (40, 42, 44) and volume.min() == 0
    # Half a voxel beyond the outermost ones nothing is known.
    for end in (volume[-1], volume[:, -1], volume[..., -1]):
        assert (end == 0).all()
    assert (volume[:-1, :-1, :-1] > 0).mean() > 0.99


def test_the_minimum_of_an_mr_is_taken_off_where_it_is_above_zero_too(tmp_path):
    block = np.full((8, 9, 10), 50, np.int16)
    block[2:6, 2:6, 2:6] = 90
    write(tmp_path / "x", "t2", block)
    case = cases.load(tmp_path / "x", dataclasses.replace(CROPS, sampling="blocks"))
    np.testing.assert_array_equal(case.volumes["t2"], block - 50)
    assert case.ranges["t2"].low == 40


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_an_ultrasounds_background_below_zero_takes_nothing_from_the_field(tmp_path, kind):
    found = {}
    for background in (0, -1000):
        block = np.full((12, 12, 12), background, kind)
        block[2:9, 2:9, 2:9] = np.arange(7) * 30 + 20
        write(tmp_path / str(background), "us", block)
        settings = dataclasses.replace(CROPS, sampling="blocks", spacing=0.7)
        found[background] = cases.load(tmp_path / str(background), settings).volumes["us"]
    np.testing.assert_array_equal(found[-1000], found[0])


def test_an_mr_of_which_every_second_voxel_shows_nothing_has_white_matter(tmp_path):
    block = np.zeros((12, 12, 12), np.float32)
    block[5, 5, 5], block[7, 7, 7] = 90, 100
    write(tmp_path / "x", "t2", block)
    case = cases.load(tmp_path / "x", dataclasses.replace(CROPS, sampling="blocks"))
    assert 90 <= case.white_matter["t2"] <= 100


def test_a_volume_of_which_resampling_leaves_nothing_is_refused(tmp_path):
    block = np.zeros((40, 40, 40), np.uint8)
    block[21, 21, 21] = 9
    write(tmp_path / "x", "us", block, spacing=0.1)
    with pytest.raises(InputError, match="us.nii.gz holds less than a voxel of 1 mm"):
        cases.load(tmp_path / "x", CROPS)


def test_an_empty_volume_is_refused(tmp_path):
    write(tmp_path / "mri" / "x", "t2", np.zeros((4, 5, 6), np.int16))
    with pytest.raises(InputError, match="empty"):
        cases.load(tmp_path / "mri" / "x", CROPS)


def test_volumes_are_resampled_to_the_spacing_of_the_configuration(tmp_path):
    write(tmp_path / "ius" / "x", "us", np.full((10, 12, 14), 7, np.uint8), spacing=0.5)
    assert cases.load(tmp_path / "ius" / "x", CROPS).shape == (5, 6, 7)
    fine = dataclasses.replace(CROPS, spacing=0.5)
    assert cases.load(tmp_path / "ius" / "x", fine).shape == (10, 12, 14)


def test_the_minimum_of_negative_volumes_is_subtracted(tmp_path):
    array = np.zeros((10, 10, 10), np.int16)
    array[2:8, 2:8, 2:8] = 90
    write(tmp_path / "mri" / "x", "t2", array - 10)
    assert cases.load(tmp_path / "mri" / "x", CROPS).volumes["t2"].max() == 90


def test_filled_in_background_of_negative_volumes_stays_background(tmp_path):
    array = np.zeros((10, 10, 10), np.int16)
    array[2:8, 2:8, 2:8] = np.arange(6) * 10 - 5
    write(tmp_path / "mri" / "x", "t2", array)
    volume = cases.load(tmp_path / "mri" / "x", CROPS).volumes["t2"]
    # The darkest voxel of the brain is lost to the background, as in use.
    assert volume.shape == (6, 6, 5) and volume.min() == 10 and volume.max() == 50


def test_folds_are_dealt_by_what_the_cases_have(tmp_path):
    for number in range(9):
        folder = tmp_path / "mri" / f"case{number}"
        folder.mkdir(parents=True)
        for name in ("t2", "flair") if number < 6 else ("t2",):
            (folder / f"{name}.nii.gz").write_bytes(b"")
    found = cases.find(tmp_path)
    settings = dataclasses.replace(CROPS, folds=3)
    held = [cases.split(found, dataclasses.replace(settings, fold=fold))[1] for fold in range(3)]
    assert sorted(case.name for fold in held for case in fold) == [f"case{number}" for number in range(9)]
    assert [sum(len(cases.case_files(case)) == 2 for case in fold) for fold in held] == [2, 2, 2]
    assert all(len(cases.split(found, dataclasses.replace(settings, fold=f))[0]) == 6 for f in range(3))
    with pytest.raises(InputError, match="fold"):
        dataclasses.replace(settings, fold=3)


def test_more_folds_than_cases_are_refused(tmp_path):
    for number in range(2):
        folder = tmp_path / "mri" / f"case{number}"
        folder.mkdir(parents=True)
        (folder / "t2.nii.gz").write_bytes(b"")
    found = cases.find(tmp_path)
    assert [len(fold) for fold in cases.folds(found, 2)] == [1, 1]
    with pytest.raises(InputError, match="2 cases for 3 folds: make data.folds smaller"):
        cases.split(found, dataclasses.replace(CROPS, folds=3))


def test_folders_of_one_name_are_held_out_together_and_count_once(tmp_path):
    for site, count, name in (("siteA", 4, "t2"), ("siteB", 6, "flair")):
        for number in range(1, count + 1):
            folder = tmp_path / site / f"Case{number}"
            folder.mkdir(parents=True)
            (folder / f"{name}.nii.gz").write_bytes(b"")
    found = cases.find(tmp_path)
    dealt = cases.folds(found, 3)
    assert sorted(case for fold in dealt for case in fold) == sorted(found)
    names = [{case.name for case in fold} for fold in dealt]
    assert [len(each) for each in names] == [2, 2, 2]
    for fold in range(3):
        held_out = cases.split(found, dataclasses.replace(CROPS, folds=3, fold=fold))[1]
        assert sorted(held_out) == sorted(dealt[fold])


def test_two_volumes_of_one_name_are_refused(tmp_path):
    write(tmp_path / "mri" / "x", "t2", np.ones((4, 4, 4), np.int16))
    (tmp_path / "mri" / "x" / "t2.nrrd").write_bytes(b"")
    with pytest.raises(InputError, match=r"both t2\.nii\.gz and t2\.nrrd"):
        cases.find(tmp_path)


@pytest.mark.parametrize("value", [255, 5, -1, 0.7])
def test_a_segmentation_of_other_values_is_refused(tmp_path, value):
    rng = np.random.default_rng(0)
    write(tmp_path / "x", "t2", rng.integers(1, 90, (12, 12, 12)).astype(np.int16))
    write(tmp_path / "x", "seg", np.full((12, 12, 12), value, np.float32))
    with pytest.raises(InputError, match=f"its values must be 0, 1 .necrosis.*it has {value:g}"):
        cases.load(tmp_path / "x", CROPS)


def test_a_home_folder_is_found_by_its_sign(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "d").mkdir()
    monkeypatch.setenv("MMHVAE_DATA", "~/d")
    assert cases.data_folder(None) == tmp_path / "d" == cases.data_folder("~/d")
    (tmp_path / "own.json").write_text("{}", encoding="utf-8")
    assert presets.configuration("~/own.json") == presets.published()


def deal(folder, names):
    for name in names:
        (folder / "mri" / name).mkdir(parents=True)
        (folder / "mri" / name / "t2.nii.gz").write_bytes(b"")
    return cases.find(folder)


def test_with_folds_the_default_names_are_dealt_like_all_others_and_names_of_ones_own_stay_held_out(tmp_path):
    found = deal(tmp_path, ["Case18", "Case27", *(f"case{number}" for number in range(7))])
    plain = dataclasses.replace(CROPS, folds=3)
    held = [{case.name for case in cases.split(found, dataclasses.replace(plain, fold=fold))[1]} for fold in range(3)]
    assert [len(fold) for fold in held] == [3, 3, 3] and set.union(*held) == {case.name for case in found}
    own = dataclasses.replace(plain, held_out=("Case18", "case3"))
    for fold in range(3):
        to_train, held_out = cases.split(found, dataclasses.replace(own, fold=fold))
        assert not {"Case18", "case3"} & {case.name for case in to_train} and len(held_out) <= 5
    assert {case.name for case in cases.split(found, CROPS)[1]} == {"Case18", "Case27"}


def test_a_name_to_hold_out_that_no_case_has_is_warned_of(tmp_path, caplog):
    found = deal(tmp_path, ["Case1", "Case2"])
    cases.split(found, CROPS)
    cases.split(found, dataclasses.replace(CROPS, held_out=("Case2",)))
    assert not caplog.records
    to_train, _ = cases.split(found, dataclasses.replace(CROPS, held_out=("case2", "Case1", "Case27")))
    assert [case.name for case in to_train] == ["Case2"]
    assert "no case called case2 to hold out" in caplog.text


def test_folders_without_cases_are_named(tmp_path):
    (tmp_path / "mri").mkdir()
    with pytest.raises(InputError, match=r"no cases in mri, ius \(data.folders"):
        cases.find(tmp_path, ("mri", "ius"))


def phantom(white, size=64, noise=0.03):
    """White matter inside a thick shell of brighter grey matter, with a very bright lesion."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(size) - size / 2] * 3, indexing="ij"))
    radius = np.sqrt((grid**2).sum(0))
    volume = np.where(radius < 24, white, 1.5 * white)
    lesion = np.sqrt(((grid - 8) ** 2).sum(0)) < 8
    volume = np.where(lesion, 3 * white, volume) + rng.normal(0, noise * white, volume.shape)
    return np.where(radius < 30, volume, 0)


@pytest.mark.parametrize("white", [50.0, 1200.0])
def test_white_matter_is_found_beside_grey_matter_and_a_lesion(white):
    assert cases.white_matter_level(phantom(white)) == pytest.approx(white, rel=0.03)


def test_air_around_a_head_is_not_taken_for_white_matter():
    head = phantom(200.0)
    rng = np.random.default_rng(1)
    noisy = np.where(head > 0, head, rng.integers(1, 9, head.shape)).astype(np.int16)
    assert (noisy > 0).all()
    assert cases.white_matter_level(noisy) == pytest.approx(cases.white_matter_level(head), rel=0.05)
    inner = tuple(slice(length // 3, 2 * length // 3) for length in head.shape)
    assert (head[inner] > 0).all() and cases.white_matter_level(head[inner]) > 0.5 * 200


def test_much_air_around_a_small_head_is_not_taken_for_white_matter():
    head = np.pad(phantom(200.0), 24)
    noisy = np.where(head > 0, head, np.random.default_rng(1).integers(1, 4, head.shape))
    assert cases.white_matter_level(noisy) == pytest.approx(200, rel=0.05)


def test_white_matter_level_scales_with_the_volume():
    volume = phantom(100.0)
    assert cases.white_matter_level(3 * volume) == pytest.approx(3 * cases.white_matter_level(volume), rel=1e-3)


def test_a_harmonised_target_has_white_matter_at_its_grey_value_and_background_at_minus_one():
    target = cases.harmonised(np.array([0.0, 50.0, 500.0]), white_matter=50.0, grey_value=102.0)
    assert target[0] == -1
    assert target[1] == pytest.approx(102 / 255 * (1 + 255 / 256) - 255 / 256)
    assert target[2] == 1


def test_the_range_is_that_of_the_voxels_above_zero():
    values = np.concatenate([np.zeros(100), np.arange(1, 2002)])
    found = cases.intensity_range(values)
    assert found.low == 1 and found.high == pytest.approx(2000)
    assert cases.intensity_range(np.zeros(3)) is None
