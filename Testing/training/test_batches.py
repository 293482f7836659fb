import dataclasses
from pathlib import Path

import numpy as np
import pytest

from MMHVAESynthesisLib.errors import InputError
from MMHVAESynthesisLib.training import cases
from MMHVAESynthesisLib.training.augmentation import change_intensities
from MMHVAESynthesisLib.training.batches import Batch, Loader, source, window
from MMHVAESynthesisLib.training.blocks import Blocks, frame, framed
from MMHVAESynthesisLib.training.crops import Crops


@pytest.fixture(scope="module")
def loaded(data):
    from MMHVAESynthesisLib.training.config import DataConfig

    settings = DataConfig(("mri", "mri_incomplete", "ius"), sampling="crops", spacing=1.0)
    return cases.load_all(cases.split(cases.find(data), settings)[0], settings)


def only(config, kind, **changes):
    return dataclasses.replace(config, data=dataclasses.replace(config.data, kinds={kind: 1.0}, **changes))


def test_a_batch_depends_on_seed_and_number_alone(loaded, config):
    first, second = Crops(loaded, config), Crops(loaded, config)
    for index in (5, 0, 5):
        ours, theirs = first.batch(index), second.batch(index)
        assert ours.cases == theirs.cases and ours.inputs.keys() == theirs.inputs.keys()
        assert all((ours.inputs[name] == theirs.inputs[name]).all() for name in ours.inputs)
    other = Crops(loaded, dataclasses.replace(config, seed=1)).batch(0)
    assert other.cases != first.batch(0).cases or any(
        not np.array_equal(image, other.inputs.get(name)) for name, image in first.batch(0).inputs.items()
    )


def test_a_sweep_has_all_modalities_and_mr_only_within_its_field(loaded, config):
    batch = Crops(loaded, only(config, "sweep")).batch(0)
    assert set(batch.inputs) == {"us", "t2", "cet1", "flair"} == set(batch.targets)
    assert batch.inputs["us"].shape == (2, 1, 32, 32) and batch.inputs["us"].dtype == np.float32
    field = batch.inputs["us"] > -1
    for name in ("t2", "cet1", "flair"):
        assert (batch.inputs[name][~field] == -1).mean() > 0.99
        assert (batch.targets[name] == -1)[batch.inputs[name] == -1].all()
    assert batch.targets["us"] is batch.inputs["us"] or (batch.targets["us"] == batch.inputs["us"]).all()


def test_incomplete_cases_serve_as_they_are(loaded, config):
    crops = Crops(loaded, only(config, "us"))
    assert set(crops.batch(0).inputs) == {"us"} and set(crops.batch(0).cases) == {"Case5"}
    observed = {tuple(Crops(loaded, only(config, "mr")).batch(index).inputs) for index in range(30)}
    assert observed == {("t2", "cet1", "flair"), ("flair",)}


def test_mr_alone_leaves_the_ultrasound_of_a_case_that_has_both_out(paired):
    folder, config = paired
    data = dataclasses.replace(config.data, sampling="crops", kinds={"mr": 1.0})
    crops = Crops(cases.load_all(cases.find(folder), data), dataclasses.replace(config, data=data))
    batches = [crops.batch(index) for index in range(10)]
    assert all("us" not in batch.inputs and batch.whole_field for batch in batches)


def test_targets_are_harmonised_and_inputs_are_not(loaded, config):
    batch = Crops(loaded, only(config, "mr", augment=0.0)).batch(3)
    level = config.data.white_matter["flair"] / 255 * (1 + 255 / 256) - 255 / 256
    inside = batch.targets["flair"][batch.targets["flair"] > -1]
    assert (np.abs(inside - level) < 0.1).mean() > 0.25
    assert not np.allclose(batch.inputs["flair"], batch.targets["flair"])


def cone():
    """A case larger than a window, whose planes across the first axis show ever more, and nothing at one side."""
    k, j, i = np.meshgrid(*[np.arange(n) for n in (40, 50, 60)], indexing="ij")
    volume = np.where((i < 10 + k) & (j < 45), 100, 0).astype(np.int16)
    ranges, white = {"t2": cases.intensity_range(volume)}, {"t2": 100.0}
    return cases.Case("cone", Path("cone"), {"t2": volume}, ranges, white)


def test_every_crop_shows_enough_whichever_way_it_looks(config):
    case = cone()
    crops, rng = Crops([case], only(config, "mr")), np.random.default_rng(0)
    for _ in range(300):
        pose = crops._pose(case, rng)
        seen = window(pose.view(case.volumes["t2"]), pose.start, (1, 32, 32))
        assert (seen > 0).mean() >= 0.08


def test_every_plane_that_shows_enough_is_as_likely(config):
    # A third of the voxels lie below plane 20: those planes show less.
    case = cone()
    crops, rng = Crops([case], only(config, "mr")), np.random.default_rng(0)
    poses = [crops._pose(case, rng) for _ in range(1500)]
    planes = [39 - pose.start[0] if pose.backwards[0] else pose.start[0] for pose in poses if pose.axes[0] == 0]
    assert np.mean(np.array(planes) < 20) == pytest.approx(0.47, abs=0.05)


def test_a_pair_network_gets_its_two_modalities_only(loaded, config):
    pair = dataclasses.replace(config, sizes=dataclasses.replace(config.sizes, modalities=("us", "t2")))
    for index in range(6):
        assert set(Crops(loaded, pair).batch(index).inputs) <= {"us", "t2"}


def test_no_case_for_any_kind_is_an_error(loaded, config):
    with pytest.raises(InputError):
        Crops([case for case in loaded if case.name == "Case5"], only(config, "sweep"))
    with pytest.raises(InputError):
        source([], config)


def test_blocks_visit_every_case_once_an_epoch(paired):
    folder, config = paired
    blocks = Blocks(cases.load_all(cases.find(folder, ("paired",)), config.data), config)
    assert blocks.epoch_batches == 4
    orders = [[blocks.batch(4 * epoch + place).cases[0] for place in range(4)] for epoch in range(6)]
    assert all(sorted(order) == ["a", "b", "c", "d"] for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_a_block_is_consecutive_slices_with_rows_along_i_half_of_them_flipped_as_a_whole(paired):
    folder, config = paired
    case = cases.load(folder / "paired" / "c", config.data)
    blocks = Blocks([case], config)
    inside = framed(case, config)
    volume = inside.ranges["us"].to_network(inside.volumes["us"]).transpose(0, 2, 1)
    flips = 0
    for index in range(300):
        block = blocks.batch(index).inputs["us"][:, 0]
        matches = [
            (start, flipped)
            for start in range(len(volume) - 3)
            for flipped in (False, True)
            if np.array_equal(block, volume[start : start + 4, :: -1 if flipped else 1])
        ]
        assert len(matches) == 1
        flips += matches[0][1]
    assert 125 <= flips <= 175


def test_mr_of_a_block_is_empty_outside_the_ultrasound(paired):
    folder, config = paired
    blocks = Blocks([cases.load(folder / "paired" / "a", config.data)], config)
    batch = blocks.batch(0)
    assert (batch.inputs["t2"][batch.inputs["us"] == -1] == -1).all()
    assert (batch.targets["t2"] > -1).any()


def test_a_frame_lies_about_the_middle_with_equal_margins():
    reference = np.zeros((6, 24, 25), np.int16)
    reference[1:5, 3:11, 6:18] = 7
    assert frame(reference, 16) == ((1, -1, 4), (4, 16, 16))


def of_ultrasound(volume):
    ranges = {"us": cases.intensity_range(volume)}
    return cases.Case("sweep", Path("sweep"), {"us": volume}, ranges, {})


def test_a_background_below_zero_is_background_of_a_frame_too(config):
    volume = np.zeros((10, 90, 100), np.float32)
    volume[2:7, 4:20, 5:19] = 30
    zero, below = (framed(of_ultrasound(v), config).volumes["us"] for v in (volume, np.where(volume > 0, volume, -1)))
    assert zero.shape == (5, 32, 32)
    np.testing.assert_array_equal(below > 0, zero > 0)


def test_a_case_that_shows_nothing_in_its_frame_is_refused_by_name(config):
    volume = np.zeros((4, 100, 100), np.uint8)
    volume[:, :9], volume[:, -9:] = 30, 30
    with pytest.raises(InputError, match="sweep shows nothing in the 32 x 32 pixels"):
        framed(of_ultrasound(volume), config)


def test_mr_in_a_hole_of_the_ultrasound_is_kept_in_a_block(config):
    us, t2 = np.zeros((4, 32, 32), np.uint8), np.full((4, 32, 32), 50, np.int16)
    us[:, 6:26, 6:26] = 30
    us[:, 12:20, 12:20] = 0  # a dark ventricle
    volumes = {"us": us, "t2": t2}
    ranges = {name: cases.intensity_range(volume) for name, volume in volumes.items()}
    inside = framed(cases.Case("x", Path("x"), volumes, ranges, {"t2": 50.0}), config).volumes
    expected = np.zeros(us.shape, bool)
    expected[:, 6:26, 6:26] = True
    np.testing.assert_array_equal(inside["t2"] > 0, expected)


def test_the_range_of_a_block_is_of_what_remains_in_the_frame_and_the_ultrasounds_field(config):
    us, t2 = np.zeros((4, 60, 60), np.uint8), np.full((4, 60, 60), 50, np.int16)
    us[:, 20:40, 20:40] = 30
    t2[:, 25:35, 25:35] = 80
    t2[:, :5], t2[:, 41:43, 20:40], t2[:, 18:19, 20:40] = 9000, 7000, 2  # outside the frame; and the field
    volumes = {"us": us, "t2": t2}
    ranges = {name: cases.intensity_range(volume) for name, volume in volumes.items()}
    found = framed(cases.Case("x", Path("x"), volumes, ranges, {"t2": 50.0}), config).ranges["t2"]
    assert (found.low, found.high) == (50, 80)


def test_a_block_may_begin_with_any_slice_after_which_there_are_enough(config):
    volume = np.arange(1, 6, dtype=np.uint8)[:, None, None] * np.ones((1, 32, 32), np.uint8)
    blocks = Blocks([of_ultrasound(volume)], only(config, "us", slices=4))
    firsts = {round(float(blocks.batch(index).inputs["us"][0, 0, 16, 16]), 3) for index in range(20)}
    assert len(firsts) == 2


def test_a_window_is_padded_with_zeros():
    volume = np.arange(1, 28).reshape(3, 3, 3)
    cut = window(volume, (-1, 1, 2), (3, 2, 2))
    assert cut.shape == (3, 2, 2)
    assert (cut[0] == 0).all() and (cut[:, :, 1] == 0).all()
    assert (cut[1:, :, 0] == volume[:2, 1:, 2]).all()
    assert (window(volume, (5, 0, 0), (2, 2, 2)) == 0).all()


def test_changed_intensities_stay_in_range_and_background_stays():
    rng = np.random.default_rng(0)
    image = rng.uniform(-255 / 256, 1, (16, 16)).astype(np.float32)
    image[:4] = -1
    for _ in range(20):
        changed = change_intensities(image, 1.0, rng)
        assert (changed[:4] == -1).all() and changed[4:].min() > -1 and changed.max() <= 1
    assert change_intensities(image, 0.0, rng) is image


class Failing:
    epoch_batches = 3

    def batch(self, index):
        if index == 2:
            raise InputError("cannot")
        return Batch({"us": np.full((1, 1, 2, 2), index)}, {}, ())


def test_the_loader_keeps_the_order_and_hands_on_errors():
    loader = Loader(Failing(), lambda index: index, 0)
    try:
        assert [int(loader.take().inputs["us"][0, 0, 0, 0]) for _ in range(2)] == [0, 1]
        with pytest.raises(InputError, match="cannot"):
            loader.take()
    finally:
        loader.close()
