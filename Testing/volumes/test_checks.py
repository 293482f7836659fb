import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.errors import InputError
from MMHVAESynthesisLib.volumes.checks import checked, grey_levels
from MMHVAESynthesisLib.volumes.likeness import sign_of_skull, warnings
from MMHVAESynthesisLib.volumes.preparation import PreparedCase

from .making import ORDER, ball, volume


def bad(value):
    array = ball().astype(np.float32)
    array[5, 5, 5] = value
    return volume(array)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (bad(np.nan), "not numbers"),
        (bad(np.inf), "not numbers"),
        (bad(np.finfo(np.float32).min), r"voxels of -3\.4.*e\+38, which is no intensity"),
        (volume(1e300 * ball().astype(np.float64)), r"e\+302, which is no intensity"),
        (volume(np.zeros((4, 8, 8), np.uint8)), "is empty"),
        (volume(np.full((4, 8, 8), 3, np.int16)), "is empty"),
        (sitk.Image([8, 8, 4], sitk.sitkVectorUInt8, 3), "3 values a voxel"),
        (sitk.Image([8, 8], sitk.sitkUInt8), "2D picture"),
        (sitk.Image([8, 8, 4, 2], sitk.sitkUInt8), "sequence in 4 dimensions"),
        (sitk.Image([8, 8, 4], sitk.sitkComplexFloat32), "complex"),
    ],
)
def test_what_cannot_serve_is_named_and_refused(image, message):
    with pytest.raises(InputError, match=message) as caught:
        checked(image, "The T2 volume 'Brain'")
    assert "The T2 volume 'Brain'" in str(caught.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64])
def test_every_grey_type_serves(dtype):
    image = volume((ball() // 2).astype(dtype))
    case = PreparedCase({"us": checked(image, "iUS", ultrasound=True)}, ORDER, 0.5, 32)
    assert max(case.plane(k)["us"].max() for k in case.planes) == pytest.approx(1)


def test_one_value_a_voxel_serves_even_where_it_could_be_several():
    image = sitk.Compose(volume(ball()))
    assert image.GetNumberOfComponentsPerPixel() == 1
    checked(image, "iUS")


def test_ultrasound_without_a_positive_voxel_is_empty():
    array = -ball().astype(np.int16)
    checked(volume(array), "T2")
    with pytest.raises(InputError, match=rf"empty: no voxel is above 0 \(they are {array.min()} to 0\)"):
        checked(volume(array), "iUS", ultrasound=True)


def signs(images, spacing=0.5, size=32, skull_stripped=True):
    return " ".join(warnings(PreparedCase(images, ORDER, spacing, size), spacing, skull_stripped))


def test_a_likely_input_gives_no_warning():
    assert signs({"t2": volume(ball((8, 32, 32), 14, dtype=np.int16))}) == ""


def head_in_air(air, zeroed=0.3):
    """A ball of 300 in noise around ``air``, of which a part was set to 0: a third of the planes, or a whole field."""
    rng = np.random.default_rng(0)
    noise = np.abs(rng.normal(air, air / 4, (24, 48, 48))) + 1
    noise[:, :, : int(48 * zeroed)] = 0
    k, j, i = np.indices(noise.shape) - np.reshape((12, 24, 30), (3, 1, 1, 1))
    tissue = (4 * k**2 + j**2 + i**2 < 18**2) * rng.normal(300, 20, noise.shape)
    return volume(np.where(tissue > 0, tissue, noise).astype(np.float32))


def test_a_whole_head_is_known_by_its_air_though_some_of_it_is_0():
    assert "T2 shows air around the head, darker than tissue but not 0: the model" in signs({"t2": head_in_air(15)})
    assert signs({"t2": head_in_air(15)}, skull_stripped=None) == ""
    assert signs({"t2": head_in_air(0, zeroed=1)}) == "", "a brain in 0"


def test_a_dark_cyst_that_fills_much_of_a_field_is_no_air():
    array = ball((8, 32, 32), 14, dtype=np.float32)
    array[ball((8, 32, 32), 9) > 0] = 2
    assert sign_of_skull(array) == ""
    for empty in (np.zeros((4, 4, 4), np.float32), np.zeros((1, 1, 1), np.float32)):
        assert sign_of_skull(empty) == ""


def test_unlikely_inputs_are_warned_of():
    whole_head = volume(ball((8, 32, 32), 40, dtype=np.int16))
    assert "skull" in signs({"t2": whole_head})
    assert signs({"t2": whole_head}, skull_stripped=None) == ""
    assert "pixels of 2 mm" in signs({"t2": volume(ball((8, 16, 16), 7, dtype=np.int16), (2, 2, 2))})
    fine = volume(ball((8, 40, 40), 14, dtype=np.int16), (0.05, 0.4, 0.5))
    assert "pixels of 0.05 mm" in signs({"t2": fine})
    assert "label map" in signs({"t2": volume((ball((8, 32, 32), 14) > 0).astype(np.uint8))})
    assert "fills less" in signs({"us": volume(ball((8, 32, 32), 2))})
    bright = ball((8, 32, 32), 14, dtype=np.float32)
    bright[:, 16, 12:20] = 1e5
    assert "almost black" in signs({"t2": volume(bright)})


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (0.7, 0.6, 0.5)])
def test_a_mask_is_warned_of_though_interpolation_makes_many_values_of_it(spacing):
    mask = volume((ball((12, 40, 40), 14) > 0).astype(np.uint8), spacing)
    assert "iUS has fewer than 16 grey levels: is it a label map?" in signs({"us": mask}, size=64)
    labels = volume((ball((12, 40, 40), 14) // 20).astype(np.int16), spacing)
    assert "T2 has fewer than 16 grey levels" in signs({"us": volume(ball((12, 40, 40), 14), spacing), "t2": labels})


def test_grey_levels_are_counted_up_to_what_matters():
    values = np.arange(-3, 24).reshape(3, 3, 3)
    assert (grey_levels(values, 16), grey_levels(values, 99), grey_levels(values * 0, 16)) == (16, 23, 0)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("end", [slice(1, None), slice(None, -1)])
def test_an_ultrasound_that_is_cropped_is_warned_of(axis, end):
    whole = np.pad(ball((12, 24, 22), 99), 1)
    said = "iUS reaches the border of its volume: was its field of view cut?"
    assert said not in signs({"us": volume(whole)})
    cropped = volume(whole[tuple(end if at == axis else slice(None) for at in range(3))])
    assert said in signs({"us": cropped, "t2": volume(whole)})
    assert said not in signs({"t2": cropped})


def test_a_single_plane_reaches_no_border():
    assert "border" not in signs({"us": volume(ball((1, 32, 32), 14))})


def test_little_overlap_is_warned_of():
    t2 = volume(ball((8, 32, 32), 14, dtype=np.int16), origin=(8, 0, 0))
    said = signs({"us": volume(ball((8, 32, 32), 14)), "t2": t2})
    assert "T2 covers only" in said and "the rest comes from the other inputs alone." in said


@pytest.mark.parametrize("given", [ball(), 5, None])
def test_what_is_no_image_is_refused_with_what_to_give(given):
    with pytest.raises(InputError, match="The T2 volume is of the type .*give a file's name or a SimpleITK.Image"):
        checked(given, "The T2 volume")


def test_a_map_of_labels_is_refused():
    labels = sitk.Cast(volume(ball()), sitk.sitkLabelUInt8)
    with pytest.raises(InputError, match="The T2 volume is a map of labels: choose a grey volume"):
        checked(labels, "The T2 volume")


def test_one_value_a_voxel_serves_on_another_grid_too():
    us, t2 = volume(ball()), volume(ball((12, 40, 44), dtype=np.int16), origin=(0.2, 0.1, -0.3))
    plain, several = (
        PreparedCase({"us": us, "t2": checked(image, "T2")}, ORDER, 0.5, 64) for image in (t2, sitk.Compose(t2))
    )
    for k in plain.planes:
        np.testing.assert_array_equal(several.plane(k)["t2"], plain.plane(k)["t2"])
