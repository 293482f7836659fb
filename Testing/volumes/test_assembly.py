import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.volumes.assembly import Assembly
from MMHVAESynthesisLib.volumes.files import same_geometry
from MMHVAESynthesisLib.volumes.intensity import to_image
from MMHVAESynthesisLib.volumes.preparation import PreparedCase

from .making import LEFT_HANDED, OBLIQUE, ORDER, ball, volume


def there_and_back(image, spacing=0.5, size=32, reverse=False):
    """Take a volume to the network's planes and back with nothing done to them."""
    case = PreparedCase({"us": image}, ORDER, spacing, size)
    assembly = Assembly(case, ["same"])
    for plane in case.planes[:: -1 if reverse else 1]:
        values = case.plane(plane)["us"]
        assembly.add(plane, values, {"same": to_image(values)})
    return case, assembly.finish()["same"]


def expected_image(case, array):
    span = case.ranges["us"]
    scaled = (np.minimum(array, span.high) - span.low) / (span.high - span.low) * (1 + 255 / 256) - 255 / 256
    return np.where(array > 0, 127.5 * (scaled + 1), 0)


@pytest.mark.parametrize("shape", [(4, 32, 32), (4, 20, 27), (4, 70, 90)])
@pytest.mark.parametrize("direction", [OBLIQUE, LEFT_HANDED])
def test_at_the_models_spacing_every_voxel_comes_back_where_it_was(shape, direction):
    array = ball(shape, 40)
    image = volume(array, (0.5, 0.5, 3.0), (5, 6, 7), direction)
    case, back = there_and_back(image)
    assert same_geometry(image, back, 1e-9) and back.GetPixelID() == sitk.sitkFloat32
    np.testing.assert_allclose(sitk.GetArrayFromImage(back), expected_image(case, array.astype(float)), atol=1e-4)


@pytest.mark.parametrize("spacing", [(0.4, 0.45, 0.5), (0.3, 0.3, 0.2), (0.7, 0.6, 3.0)])
def test_at_another_spacing_the_field_is_the_same_and_smooth_content_comes_back(spacing):
    k, j, i = np.indices((12, 30, 30))
    array = np.where((i - 14.5) ** 2 + (j - 14.5) ** 2 < 150, 120 + 2 * i - 3 * j + 4 * k, 0).astype(np.float32)
    case, back = there_and_back(volume(array, spacing), size=64)
    found = sitk.GetArrayFromImage(back)
    np.testing.assert_array_equal(found > 0, array > 0)
    # A ramp survives linear interpolation inside; at the rim the network's own input is mixed with background.
    core = np.zeros(array.shape, bool)
    core[3:-3, 10:20, 10:20] = True
    expected = expected_image(case, array)
    assert np.abs(found - expected)[core].max() < 1.5


def test_order_of_planes_does_not_change_a_bit():
    image = volume(ball((15, 40, 44), 30), (0.4, 0.4, 0.15))
    forward, backward = (sitk.GetArrayFromImage(there_and_back(image, reverse=r)[1]) for r in (False, True))
    np.testing.assert_array_equal(forward, backward)


def test_nothing_darkens_towards_the_edge_of_the_field():
    array = np.where(ball((4, 41, 41), 15) > 0, 100, 0).astype(np.uint8)
    array[:, 20, 20] = 101
    case = PreparedCase({"us": volume(array, (0.37, 0.41, 2.0))}, ORDER, 0.5, 64)
    assembly = Assembly(case, ["flat"])
    for plane in case.planes:
        values = case.plane(plane)["us"]
        assembly.add(plane, values, {"flat": np.where(values > -1, 200, 0).astype(np.float32)})
    found = sitk.GetArrayFromImage(assembly.finish()["flat"])
    np.testing.assert_allclose(found[array > 0], 200, rtol=1e-5)
    assert (found[array == 0] == 0).all()


def test_a_deviation_off_the_models_grid_is_an_upper_bound_of_that_of_the_images():
    rng, samples = np.random.default_rng(0), [f"sample {number}" for number in range(12)]
    case = PreparedCase({"us": volume(ball((12, 30, 30), 14), (0.35, 0.35, 0.4))}, ORDER, 0.5, 32)
    assembly = Assembly(case, ["deviation", *samples])
    for plane in case.planes:
        drawn = rng.normal(100, 10, (len(samples), 32, 32)).astype(np.float32)
        images = {"deviation": drawn.std(axis=0, ddof=1), **dict(zip(samples, drawn))}
        assembly.add(plane, case.plane(plane)["us"], images)
    volumes = {name: sitk.GetArrayFromImage(image) for name, image in assembly.finish().items()}
    of_images = np.std([volumes[name] for name in samples], axis=0, ddof=1)
    assert (volumes["deviation"] >= of_images - 1e-3).all()
    assert volumes["deviation"].mean() > 1.2 * of_images.mean()


def test_one_plane_lies_where_it_belongs():
    array = ball((6, 32, 32), 9)
    image = volume(array, (0.5, 0.5, 2.0), (1, 2, 3), OBLIQUE)
    case = PreparedCase({"us": image}, ORDER, 0.5, 32)
    values = case.plane(4)["us"]
    plane = Assembly.plane_images(case, 4, values, {"us": to_image(values)})["us"]
    assert plane.GetSize() == (32, 32, 1)
    np.testing.assert_allclose(
        plane.TransformIndexToPhysicalPoint((3, 4, 0)), image.TransformIndexToPhysicalPoint((3, 4, 4)), atol=1e-9
    )
    np.testing.assert_array_equal(sitk.GetArrayFromImage(plane)[0] > 0, array[4] > 0)
