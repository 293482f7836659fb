import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.errors import InputError
from MMHVAESynthesisLib.volumes.assembly import Assembly
from MMHVAESynthesisLib.volumes.intensity import RangeFinder
from MMHVAESynthesisLib.volumes.preparation import PreparedCase

from .making import LEFT_HANDED, OBLIQUE, ORDER, PERMUTED, ball, volume, world


def by_the_rules(array):
    """The published intensity rule on a whole array, as its authors state it."""
    mask = array > 0
    low, high = array[mask].min(), np.percentile(array[mask].astype(np.float64), 99.95)
    scaled = (np.minimum(array, high) - low) / (high - low) * (1 + 255 / 256) - 255 / 256
    return np.where(mask, scaled, -1)


def test_a_volume_of_the_models_grid_is_sliced_as_it_is():
    array = ball((5, 32, 32), 9, centre=(2, 8, 22))
    case = PreparedCase({"us": volume(array)}, ORDER, 0.5, 32)
    expected = by_the_rules(array.astype(np.float64))
    for k in case.planes:
        found = case.plane(k)["us"]
        assert found.shape == (32, 32) and found.dtype == np.float32
        # Rows run along I: the transpose of numpy's slice.
        np.testing.assert_allclose(found, expected[k].T, atol=1e-6)
        assert (found == -1).sum() == (array[k] == 0).sum()


def test_the_grid_is_kept_within_the_spacings_tolerance_and_not_beyond():
    array = ball((3, 32, 32), 9, centre=(1, 8, 22))
    kept = PreparedCase({"us": volume(array, (0.5009, 0.4991, 2))}, ORDER, 0.5, 32)
    np.testing.assert_array_equal(kept.plane(1)["us"] == -1, array[1].T == 0)
    centred = PreparedCase({"us": volume(array, (0.502, 0.5, 2))}, ORDER, 0.5, 32)
    first_rows = [np.flatnonzero((case.plane(1)["us"] > -1).any(1))[0] for case in (kept, centred)]
    assert first_rows[0] == 13 and abs(first_rows[1] - 7) <= 1


def test_another_size_is_centred_on_its_content_without_interpolation():
    array = ball((5, 20, 50), 7, centre=(2, 6, 40))
    case = PreparedCase({"us": volume(array)}, ORDER, 0.5, 32)
    inside = case.plane(2)["us"] > -1
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    assert abs(rows[0] - (31 - rows[-1])) <= 1 and abs(columns[0] - (31 - columns[-1])) <= 1
    values = case.plane(2)["us"][inside]
    np.testing.assert_allclose(np.sort(values), np.sort(by_the_rules(array.astype(float))[2][array[2] > 0]), atol=1e-6)


def test_an_inplane_field_wider_than_the_network_is_covered_by_tiles():
    array = ball((3, 70, 90), 80, value=100)
    case = PreparedCase({"us": volume(array)}, ORDER, 0.5, 32)
    tiles = case.grid.tiles()
    covered = np.zeros((case.grid.rows.count, case.grid.columns.count))
    for tile, weights in tiles:
        assert weights.shape == (32, 32) and weights.min() > 0
        tile.cut(covered)[...] += weights
    assert (case.grid.rows.count, case.grid.columns.count) == (90, 70)
    np.testing.assert_allclose(covered, 1, atol=1e-5)


def test_thick_planes_stay_and_thin_ones_are_resampled():
    array = ball((26, 40, 40), 30)
    thick = PreparedCase({"t2": volume(array, (0.9, 0.9, 5.5))}, ORDER, 0.5, 96)
    assert thick.grid.planes.count == 26 and thick.grid.planes.step == 1
    thin = PreparedCase({"us": volume(array, (0.5, 0.5, 0.2))}, ORDER, 0.5, 96)
    assert thin.grid.planes.step == 2.5 and thin.grid.planes.count == 11


def test_between_thin_planes_the_nearer_one_counts_for_more():
    array = np.broadcast_to(np.arange(10, 22, dtype=np.float32)[:, None, None], (12, 32, 32))
    case = PreparedCase({"us": volume(array, (0.5, 0.5, 0.3))}, ORDER, 0.5, 32)
    at = case.grid.planes.start + case.grid.planes.step * np.array(case.planes)
    expected = np.clip(10 + at, 10, 21)
    scaled = (expected - expected.min()) / np.ptp(expected) * (1 + 255 / 256) - 255 / 256
    found = [case.plane(plane)["us"][5, 7] for plane in case.planes]
    np.testing.assert_allclose(found, scaled, atol=1e-5)


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (0.8, 0.4, 0.3)])
@pytest.mark.parametrize("direction", [OBLIQUE, LEFT_HANDED, PERMUTED])
def test_inputs_on_other_grids_meet_in_world_space(direction, spacing):
    us = volume(np.full((6, 24, 24), 50, np.uint8), spacing, (10, -20, 30), OBLIQUE)
    mr = volume(np.zeros((40, 40, 40)), (1.1, 0.9, 1.3), (0, 0, 0), direction)
    middle = us.TransformContinuousIndexToPhysicalPoint((11.5, 11.5, 2.5))
    there = mr.TransformContinuousIndexToPhysicalPoint((19.5, 19.5, 19.5))
    mr.SetOrigin(np.subtract(middle, there))
    # Linear in space, so that linear interpolation gives it back exactly.
    ramp = (world(mr) - middle) @ (0.3, -0.5, 0.7) + 100
    mr = sitk.Cast(volume(ramp, mr.GetSpacing(), mr.GetOrigin(), direction), sitk.sitkFloat32)
    case = PreparedCase({"t2": mr, "us": us}, ORDER, 0.5, 32)
    assert case.reference == "us" and case.modalities == ("us", "t2")

    number = case.planes[-2]
    found, ranges = case.plane(number)["t2"], case.ranges["t2"]
    inside = found != -1
    intensities = (found + 255 / 256) / (1 + 255 / 256) * (ranges.high - ranges.low) + ranges.low
    i, j = np.nonzero(inside)
    places = zip((case.grid.rows, case.grid.columns, case.grid.planes), (i, j, np.full(i.size, number)))
    at = np.stack([axis.start + axis.step * place for axis, place in places], axis=1)
    position = at @ (np.reshape(us.GetDirection(), (3, 3)) * us.GetSpacing()).T + us.GetOrigin()
    expected = (position - middle) @ (0.3, -0.5, 0.7) + 100 - ramp.min()
    clipped = np.minimum(expected, ranges.high)
    np.testing.assert_allclose(intensities[inside], clipped, atol=2e-3)
    np.testing.assert_array_equal(inside, case.plane(number)["us"] != -1)
    assert inside.sum() == np.prod(np.ceil(24 * np.array(spacing[:2]) / 0.5))


def test_mr_is_cut_to_the_ultrasounds_field_with_its_holes_filled():
    us = np.zeros((3, 32, 32), np.uint8)
    us[:, 8:24, 8:24] = 90
    us[:, 8:24, 9] = 91
    us[1, 14:18, 14:18] = 0  # a dark ventricle within the field
    t2 = np.full((3, 32, 32), 300, np.int16) + np.arange(32, dtype=np.int16)
    case = PreparedCase({"us": volume(us), "t2": volume(t2)}, ORDER, 0.5, 32)
    plane = case.plane(1)
    field = np.zeros((32, 32), bool)
    field[8:24, 8:24] = True
    np.testing.assert_array_equal(plane["t2"] != -1, field)
    assert (plane["us"][14:18, 14:18] == -1).all()


def test_without_ultrasound_the_first_mr_is_the_reference_and_nothing_is_cut():
    t2, flair = ball((4, 32, 32), 12, dtype=np.int16), np.full((4, 32, 32), 7, np.int16)
    flair[:, ::2] = 9
    flair[0, 0, 0] = 0
    case = PreparedCase({"flair": volume(flair), "t2": volume(t2)}, ORDER, 0.5, 32)
    assert case.reference == "t2"
    assert (case.plane(2)["flair"] != -1).all()


def test_negative_intensities_are_lifted_and_zero_filled_background_stays():
    signed = np.full((3, 32, 32), -200, np.int16)
    signed[:, 8:24, 8:24] = np.arange(16) * 10 - 150
    lifted = PreparedCase({"t2": volume(signed)}, ORDER, 0.5, 32).plane(1)["t2"]
    np.testing.assert_array_equal(lifted != -1, signed[1].T != -200)

    stripped = np.zeros((3, 32, 32), np.float32)
    stripped[:, 8:24, 8:24] = np.arange(16) * 10 + 50
    stripped[:, 8, 8:24] = -3.5  # ringing at the brain's edge
    stripped[0, 8, 8] = -4
    kept = PreparedCase({"flair": volume(stripped)}, ORDER, 0.5, 32).plane(1)["flair"]
    np.testing.assert_array_equal(kept != -1, stripped[1].T != 0)


@pytest.mark.parametrize("background", [-1, -1000])
def test_an_ultrasounds_background_below_zero_is_background_and_takes_nothing_from_the_field(background):
    array = ball((6, 40, 44), 12, dtype=np.int16)
    plain = PreparedCase({"us": volume(array, (0.7, 0.7, 0.7))}, ORDER, 1.0, 32)
    array[array == 0] = background
    found = PreparedCase({"us": volume(array, (0.7, 0.7, 0.7))}, ORDER, 1.0, 32)
    assert found.planes == plain.planes and found.ranges == plain.ranges
    for plane in plain.planes:
        np.testing.assert_array_equal(found.plane(plane)["us"], plain.plane(plane)["us"])


def test_an_input_missing_in_a_slice_is_left_out_there_and_empty_slices_are_not_planes():
    us = np.zeros((6, 32, 32), np.uint8)
    us[1:5, 4:28, 4:28] = 80
    us[1:5, 4:28, 5] = 85
    t2 = np.zeros((6, 32, 32), np.int16)
    t2[1:3] = np.arange(32) + 100
    case = PreparedCase({"us": volume(us), "t2": volume(t2)}, ORDER, 0.5, 32)
    assert case.planes == [1, 2, 3, 4]
    assert [sorted(case.plane(k)) for k in case.planes] == [["t2", "us"], ["t2", "us"], ["us"], ["us"]]


def test_volumes_apart_are_an_error():
    us, t2 = volume(ball()), volume(ball(dtype=np.int16), origin=(500, 0, 0))
    with pytest.raises(InputError, match="T2 and iUS do not overlap"):
        PreparedCase({"us": us, "t2": t2}, ORDER, 0.5, 32)


@pytest.mark.parametrize(
    ("mm", "said"),
    [(500, "iUS is 22000 mm wide, at 500 mm a voxel"), (5e-4, "iUS is 0.022 mm wide, at 0.0005 mm a voxel")],
)
def test_a_spacing_in_other_units_is_an_error_and_takes_no_memory(mm, said):
    us = volume(ball(), spacing=(mm, mm, mm))
    with pytest.raises(InputError, match=f"{said}.*Correct the volume's spacing, which is in millimetres"):
        PreparedCase({"us": us}, ORDER, 0.5, 32)
    with pytest.raises(InputError, match="Correct the volume's spacing"):
        PreparedCase({"us": volume(ball()), "t2": us}, ORDER, 0.5, 32)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 1)])
def test_a_slice_of_few_voxels_is_no_mistake_of_units(size):
    case = PreparedCase({"us": volume(np.full((1, *size), 7, np.uint8), (0.5, 0.5, 0.01))}, ORDER, 0.5, 32)
    assert case.planes == [0]


def test_a_lone_voxel_between_a_coarse_models_pixels_is_an_error():
    array = np.zeros((3, 40, 40), np.uint8)
    array[1, 20, 20] = 9
    with pytest.raises(InputError, match="iUS holds less than a pixel"):
        PreparedCase({"us": volume(array, spacing=(0.05, 0.05, 0.05))}, ORDER, 0.5, 32)


@pytest.mark.parametrize("voxels", [1, 2, 3, 1999, 2001, 60_000])
def test_range_found_in_parts_is_numpys_percentile(voxels):
    values = np.random.default_rng(voxels).gamma(2, 50, voxels).astype(np.float32)
    finder = RangeFinder(voxels)
    for part in np.array_split(values, 7):
        finder.add(np.concatenate([part, np.zeros(5, np.float32)]))
    found = finder.range()
    assert found.low == values.min()
    assert found.high == pytest.approx(np.percentile(values.astype(np.float64), 99.95), rel=1e-6)


def test_a_single_slice_works():
    case = PreparedCase({"us": volume(ball((1, 32, 32), 9))}, ORDER, 0.5, 32)
    assert case.planes == [0]


def oblique_pair(other, spacing=(0.9, 1.1, 1.3)):
    """A T2 and another volume on one grid that lies across the world's axes."""
    return (volume(array, spacing, (10.3, -20.7, 30.1), OBLIQUE) for array in (ball((12, 30, 34), 13), other))


def planes_of(reference, second, spacing):
    case = PreparedCase({"t2": reference, "flair": second}, ORDER, spacing, 48)
    return np.stack([case.plane(k).get("flair", np.full((48, 48), -1, np.float32)) for k in case.planes]), case


@pytest.mark.parametrize("spacing", [0.5, 0.9, 1.1])
@pytest.mark.parametrize("dark", [0, -1024])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flip", [(True, False, True), (False, True, False)])
def test_the_order_in_which_voxels_are_stored_changes_nothing(spacing, dark, order, flip):
    values = ball((12, 30, 34), 11, value=80, dtype=np.float32) * 1e-3
    values[6, 15, 17] = 1e-6  # as dark as a voxel of a filtered volume may be
    t2, flair = oblique_pair(np.where(values > 0, values, dark).astype(np.float32))
    expected, straight = planes_of(t2, flair, spacing)
    found, turned = planes_of(t2, sitk.Flip(sitk.PermuteAxes(flair, order), flip), spacing)
    np.testing.assert_array_equal(found, expected)
    assert turned.ranges == straight.ranges and turned.coverage == straight.coverage


@pytest.mark.parametrize("dark", [0, -0.3518, -1024])
def test_voxels_beside_the_references_own_give_the_same_image_in_a_larger_volume(dark):
    values = ball((12, 30, 34), 11, dtype=np.float32)
    t2, flair = oblique_pair(np.where(values > 0, values, dark).astype(np.float32), (0.9, 0.9, 1.3))
    expected, straight = planes_of(t2, flair, 0.9)
    padded = sitk.ConstantPad(flair, [3, 5, 2], [4, 0, 1], float(np.float32(dark)))
    found, resampled = planes_of(t2, sitk.PermuteAxes(padded, [2, 0, 1]), 0.9)
    np.testing.assert_array_equal(found == -1, expected == -1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert resampled.ranges["flair"].low == pytest.approx(straight.ranges["flair"].low, rel=1e-5)


@pytest.mark.parametrize("axis", [1, 2])
def test_a_pixel_that_lies_on_a_voxel_but_for_rounding_has_no_trace_of_the_next(axis):
    t2, flair = np.full((2, 35, 35), 100, np.int16), np.full((2, 35, 35), 100, np.int16)
    t2[0, 0, 0], flair[0, -1, -1] = 90, 90
    flair.swapaxes(0, axis)[:8] = 0  # pixel 10 of the model lies at 7.000000000000002
    images = {"t2": volume(t2, (1.35, 1.35, 3)), "flair": volume(flair, (1.35, 1.35, 3))}
    assert PreparedCase(images, ORDER, 1.0, 32).ranges["flair"].low > 1


def test_a_voxel_that_is_a_spike_takes_nothing_away_from_the_others():
    t2, flair = np.full((4, 40, 40), 100, np.float32), np.full((4, 40, 40), 120, np.float32)
    t2[0, 0, 0], flair[0, 0, 0], flair[1, 20, 20] = 90, 90, 3e7
    images = {"t2": volume(t2, (1, 1, 1)), "flair": volume(flair, (1, 1, 1), (0.3, 0.3, 0))}
    values = PreparedCase(images, ORDER, 1.0, 48).plane(3)["flair"]
    assert (values != -1).sum() > 1400


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("count", "mm"), [(1, 0.1), (1, 0.45), (1, 0.5), (1, 3.0), (3, 0.1), (2, 0.2)])
def test_a_slice_is_seen_whichever_axis_it_is_stored_across(axis, count, mm):
    size, spacing = [30, 28, 26], [0.5, 0.5, 0.5]
    size[axis], spacing[axis] = count, mm
    us = volume(np.full(size[::-1], 70, np.uint8), spacing)
    case = PreparedCase({"us": us}, ORDER, 0.5, 32)
    assembly = Assembly(case, ["same"])
    for plane in case.planes:
        values = case.plane(plane)["us"]
        assembly.add(plane, values, {"same": np.where(values != -1, 9, 0).astype(np.float32)})
    np.testing.assert_allclose(sitk.GetArrayFromImage(assembly.finish()["same"]), 9, rtol=1e-5)
