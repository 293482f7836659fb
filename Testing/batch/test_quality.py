import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.batch import pictures, quality
from MMHVAESynthesisLib.synthesis.result import SynthesisResult

ALL_BUT_ONE = round(719 / 720, 5)
"""Share of a ramp: its darkest voxel counts as background."""


def image(values, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)):
    made = sitk.GetImageFromArray(np.asarray(values, np.float32))
    made.SetSpacing(spacing)
    made.SetOrigin(origin)
    return made


@pytest.fixture
def ramp():
    k, j, i = np.indices((6, 10, 12))
    return (1 + i + 2 * j + 5 * k).astype(np.float32)


def test_similarity_is_the_correlation_where_both_are(ramp):
    assert quality.similarity(image(ramp), image(3 * ramp)) == {"correlation": 1.0, "share": ALL_BUT_ONE}
    assert quality.similarity(image(ramp), image(200 - ramp))["correlation"] == -1.0
    half = ramp.copy()
    half[3:] = 0
    assert quality.similarity(image(ramp), image(half)) == {"correlation": 1.0, "share": 0.5}


def test_similarity_of_what_lies_apart_or_is_flat_is_unknown(ramp):
    far = image(ramp, origin=(100.0, 0, 0))
    assert quality.similarity(image(ramp), far) == {"correlation": None, "share": 0.0}
    assert quality.similarity(image(ramp), image(np.full_like(ramp, 4)))["correlation"] is None


@pytest.mark.parametrize("lowest", [-3.0, 0.0, 37.0])
def test_a_volume_covers_where_it_is_above_its_lowest_value(ramp, lowest):
    other = lowest + ramp
    other[:, :, 3:] = lowest
    assert quality.similarity(image(ramp), image(other)) == {"correlation": 1.0, "share": 0.25}


@pytest.mark.parametrize("lowest", [-3.0, 0.0, 37.0])
def test_a_volume_that_is_moved_covers_where_it_comes_to_lie(ramp, lowest):
    placement = sitk.TranslationTransform(3, (20.0, 0, 0))
    there = image(lowest + ramp[:, :, 3:6], origin=(23.0, 0, 0))
    found = quality.similarity(image(ramp), there, placement)
    assert found == {"correlation": 1.0, "share": round((6 * 10 * 3 - 1) / ramp.size, 5)}


@pytest.mark.parametrize("rounding", [-1e-6, 1e-6])
def test_similarity_is_not_moved_by_rounding(ramp, rounding):
    other = 100 - ramp
    other[:, :, 4:8] = 0
    assert quality.similarity(image(ramp), image(other, origin=(rounding, 0, 0))) == {
        "correlation": -1.0,
        "share": 0.66667,
    }


def test_similarity_looks_at_places_not_at_indices(ramp):
    fine = image(ramp.repeat(2, 0).repeat(2, 1).repeat(2, 2), (0.5, 0.5, 0.5), (-0.25, -0.25, -0.25))
    assert quality.similarity(image(ramp), fine)["correlation"] > 0.999


def test_uncertainty_counts_the_field_of_view_alone(ramp):
    seen = ramp.copy()
    seen[:, :5] = 0
    deviation = np.where(seen > 0, 8.0, 100.0)
    result = SynthesisResult({"t2": image(seen)}, {"t2": image(deviation)}, "us", {}, [])
    figures = quality.of_targets(result, {"us": image(ramp)}, {})
    assert figures == {"t2": {"uncertainty": {"mean": 8.0, "p95": 8.0}, "similarity": None}}


def test_real_mr_goes_before_an_input(ramp):
    result = SynthesisResult({"t2": image(ramp)}, {}, "us", {}, [])
    assert quality.of_targets(result, {"t2": image(ramp)}, {})["t2"]["similarity"]["to"] == "input"
    figures = quality.of_targets(result, {"t2": image(ramp)}, {"t2": image(-ramp)})
    assert figures["t2"]["similarity"] == {"to": "pre-operative", "correlation": -1.0, "share": ALL_BUT_ONE}


@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_pictures_show_the_head_above_and_the_right_on_the_left(flip):
    values = np.full((20, 20, 20), 50, np.float32)
    values[10, 10, 1] = values[10, 1, 10] = values[19, 10, 10] = values[1, 10, 10] = 50
    # Marks: right (low x in LPS), front (low y), head (high z).
    values[8:12, 8:12, 1:4] = 150
    values[8:12, 1:4, 8:12] = 200
    values[16:19, 8:12, 8:12] = 250
    source = image(values)
    grid = sitk.Image([20, 20, 20], sitk.sitkUInt8)
    grid.SetDirection(np.diag(flip).astype(float).ravel().tolist())
    grid.SetOrigin([0.0 if sign > 0 else 19.0 for sign in flip])
    turned = sitk.Resample(source, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0, sitk.sitkFloat32)
    frame = pictures.frame_of(turned)
    np.testing.assert_allclose([frame.low, frame.high], [[0, 0, 0], [19, 19, 19]])
    picture = sitk.GetArrayFromImage(pictures.planes(turned, frame, 0, 255))
    height = pictures.EDGE + 2
    axial, coronal, sagittal = (picture[n * height : n * height + pictures.EDGE] for n in range(3))
    middle, first, last = pictures.EDGE // 2, pictures.EDGE // 8, pictures.EDGE * 7 // 8
    assert axial[middle, first] == 150 and axial[first, middle] == 200
    assert coronal[middle, first] == 150 and coronal[last, middle] == 50 and coronal[first, middle] == 250
    assert sagittal[middle, first] == 200 and sagittal[first, middle] == 250


def test_a_frame_goes_around_what_is_not_zero():
    values = np.zeros((8, 9, 10), np.float32)
    values[2:5, 3:4, 6:9] = 1
    frame = pictures.frame_of(image(values, (2.0, 1.0, 0.5), (10.0, 0, 0)))
    np.testing.assert_allclose([frame.low, frame.high], [[22, 3, 1], [26, 3, 2]])
    assert frame.pixel == pytest.approx(4 / (pictures.EDGE - 1))
    # A bar along i that lies obliquely: its ends, not the corners of a box around it, decide.
    turned = image(np.ones((1, 1, 11)))
    turned.SetDirection([0.6, -0.8, 0, 0.8, 0.6, 0, 0, 0, 1])
    frame = pictures.frame_of(turned)
    np.testing.assert_allclose([frame.low, frame.high], [[0, 0, 0], [6, 8, 0]])
    whole = pictures.frame_of(image(np.zeros((2, 3, 4))))
    np.testing.assert_allclose([whole.low, whole.high], [[0, 0, 0], [3, 2, 1]])
