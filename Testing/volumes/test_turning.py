import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.volumes.preparation import PreparedCase
from MMHVAESynthesisLib.volumes.turning import ORDERS, can_be_turned, turned, turned_back


def volume(shape=(20, 24, 28), spacing=(1.0, 1.0, 1.0)):
    """Return a volume of another value in each voxel, oblique; ``shape`` is [k, j, i]."""
    image = sitk.GetImageFromArray(1 + np.arange(np.prod(shape), dtype=np.float32).reshape(shape))
    image.SetSpacing(spacing)
    image.SetOrigin((7, -3, 11))
    cosine, sine = np.cos(0.4), np.sin(0.4)
    image.SetDirection((cosine, -sine, 0, sine, cosine, 0, 0, 0, 1))
    return image


@pytest.mark.parametrize("order", ORDERS)
def test_a_turned_volume_has_every_voxel_where_it_was_in_the_world(order):
    image = volume(spacing=(0.5, 1.0, 2.0))
    other = turned(image, order)
    for index in ((0, 0, 0), (3, 5, 7), (27, 23, 19)):
        where = image.TransformIndexToPhysicalPoint(index)
        assert other[other.TransformPhysicalPointToIndex(where)] == image[index]
    array = turned_back(sitk.GetArrayFromImage(other), order)
    np.testing.assert_array_equal(array, sitk.GetArrayFromImage(image))


def test_slices_of_the_orders_lie_across_three_different_axes():
    assert {order[2] for order in ORDERS} == {0, 1, 2} and ORDERS[0] == (0, 1, 2)


@pytest.mark.parametrize(
    ("shape", "spacing", "expected"),
    [
        ((20, 24, 28), (1.0, 1.0, 1.0), True),
        ((20, 24, 28), (1.0, 1.0, 2.0), True),
        ((20, 24, 28), (1.0, 1.0, 2.5), False),  # thick slices
        ((40, 48, 56), (0.5, 0.5, 0.5), True),
        ((10, 24, 28), (1.0, 1.0, 1.0), False),  # 10 mm are less than a third of 32
        ((24, 28, 10), (1.0, 1.0, 1.0), False),
        ((1, 40, 40), (1.0, 1.0, 1.0), False),
    ],
)
def test_thick_slices_and_thin_volumes_are_not_turned(shape, spacing, expected):
    case = PreparedCase({"t2": volume(shape, spacing)}, ["us", "t2"], 1.0, 32)
    assert can_be_turned(case, 1.0, 32) is expected


def test_what_counts_is_what_the_volume_holds():
    values = np.zeros((20, 24, 28), np.float32)
    values[8:16, 2:20, 3:25] = 5
    values[8, 2, 3] = 4
    case = PreparedCase({"t2": sitk.GetImageFromArray(values)}, ["t2"], 1.0, 32)
    assert case.extent == (22.0, 18.0, 8.0) and not can_be_turned(case, 1.0, 32)
