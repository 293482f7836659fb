"""Simulated error of a synthesis, and an ultrasound field of view in real MR: what the benchmark knows the truth of."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

CONE_MM = (80, 80, 60)
"""Depth, width and thickness of the simulated field of view."""


@dataclass(frozen=True)
class Quality:
    """How far a synthesis is from the truth.

    :param blur: mm, standard deviation of a Gaussian.
    :param texture: Random texture of 2.5 mm scale, in standard deviations of the image.
    :param bias: Root mean square of a smooth multiplicative field.
    :param warp: mm, root mean square of a smooth displacement without its rigid part.
    """

    blur: float
    texture: float
    bias: float
    warp: float
    noise: float = 0.05


GOOD = Quality(blur=1.2, texture=0.4, bias=0.15, warp=0.5)
POOR = Quality(blur=2.0, texture=1.0, bias=0.30, warp=0.8)


def smooth_noise(generator, shape, scale):
    """Return Gaussian noise (X, Y, Z) of standard deviation 1, blurred by ``scale`` voxels."""
    field = ndimage.gaussian_filter(generator.normal(size=shape).astype(np.float32), scale, mode="wrap")
    return (field - field.mean()) / field.std()


def _without_rigid_part(warp, mask):
    """Take the least-squares shift and small rotation inside ``mask`` off a displacement field (3, X, Y, Z)."""
    centred = np.stack(np.indices(mask.shape)).reshape(3, -1) - np.argwhere(mask).mean(axis=0)[:, None]
    x, y, z = centred
    one, zero = np.ones_like(x), np.zeros_like(x)
    shifts = [np.stack(rows) for rows in ((one, zero, zero), (zero, one, zero), (zero, zero, one))]
    turns = [np.stack(rows) for rows in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    modes = np.stack([mode.reshape(3, *mask.shape) for mode in shifts + turns])
    inside = modes[:, :, mask].reshape(6, -1)
    weights, *_ = np.linalg.lstsq(inside.T, warp[:, mask].ravel(), rcond=None)
    return warp - np.tensordot(weights, modes, axes=1)


def with_error(values, mask, quality, generator):
    """Return a synthesis of ``values`` (X, Y, Z; 1 mm) as it might come out: 0 outside ``mask``."""
    shape, spread = values.shape, values[mask].std()
    warp = _without_rigid_part(np.stack([smooth_noise(generator, shape, 8.0) for _ in range(3)]), mask)
    warp *= quality.warp / np.sqrt((warp[:, mask] ** 2).sum(axis=0).mean())
    image = ndimage.map_coordinates(values, np.indices(shape) + warp, order=1, mode="nearest")
    image = ndimage.gaussian_filter(image, quality.blur)
    image = image * (1 + quality.bias * smooth_noise(generator, shape, 20.0))
    image = image + quality.texture * spread * smooth_noise(generator, shape, 2.5)
    image = image + quality.noise * spread * generator.normal(size=shape)
    return np.where(mask, np.maximum(image - image[mask].min(), 0) + 1, 0).astype(np.float32)


def cone(shape=CONE_MM):
    """Return a probe's field of view at 1 mm, (depth, width, thickness) bool: a cut pyramid with a curved far end."""
    depth, width, thickness = (np.arange(n, dtype=np.float32) for n in shape)
    across = np.abs(width - (shape[1] - 1) / 2)[None, :, None]
    through = np.abs(thickness - (shape[2] - 1) / 2)[None, None, :]
    deep = depth[:, None, None]
    sides = (across <= 12 + 0.5 * deep) & (through <= 10 + 0.35 * deep)
    return sides & (np.sqrt((deep + 25) ** 2 + across**2) <= shape[0] + 25)


def probe_grid(head, generator):
    """Return an oblique 1 mm grid of the cone's size, placed on the head's upper surface and looking at its middle."""
    brain = sitk.GetArrayViewFromImage(head) > 0
    inside = np.argwhere(brain)[:, ::-1]
    middle = np.array(head.TransformContinuousIndexToPhysicalPoint(inside.mean(axis=0).tolist()))
    outward = generator.normal(size=3)
    outward[2] = abs(outward[2]) + 0.3
    outward /= np.linalg.norm(outward)
    reach = np.arange(0, 150.0)
    along = middle + reach[:, None] * outward
    at = [head.TransformPhysicalPointToContinuousIndex(point.tolist()) for point in along]
    values = ndimage.map_coordinates(brain.astype(np.float32), np.array(at)[:, ::-1].T, order=1)
    surface = middle + outward * (reach[values > 0.5].max() - 2)
    look = -outward + generator.normal(size=3) * 0.1
    look /= np.linalg.norm(look)
    side = np.cross(look, generator.normal(size=3))
    side /= np.linalg.norm(side)
    axes = np.stack([look, side, np.cross(look, side)], axis=1)
    grid = sitk.Image([int(n) for n in CONE_MM], sitk.sitkUInt8)
    grid.SetDirection(axes.ravel().tolist())
    corner = -np.array([0, (CONE_MM[1] - 1) / 2, (CONE_MM[2] - 1) / 2])
    grid.SetOrigin((surface + axes @ corner).tolist())
    return grid


def image_on(grid, values):
    """Return (X, Y, Z) values as an image with a grid's geometry."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0)))
    image.CopyInformation(grid)
    return image


def cone_field(head, generator):
    """Return the field of view of a cone on a head, non-zero inside."""
    return image_on(probe_grid(head, generator), cone().astype(np.uint8))


def truth_on(head, field):
    """Return the head's values inside a field of view, (N,)."""
    values = sitk.Resample(head, field, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    return sitk.GetArrayViewFromImage(values)[sitk.GetArrayViewFromImage(field) > 0].copy()


def synthesis_of(head, field, quality, seed):
    """Return the simulated synthesis of a head MR in a field of view at 1 mm."""
    generator = np.random.default_rng(seed)
    values = sitk.GetArrayFromImage(
        sitk.Resample(head, field, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    )
    mask = sitk.GetArrayFromImage(field).transpose(2, 1, 0) > 0
    return image_on(field, with_error(values.transpose(2, 1, 0), mask, quality, generator))


def rigid(degrees, shift, centre):
    """Return the (4, 4) matrix that turns by a rotation vector in degrees about ``centre``, then shifts, in mm."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(degrees)).as_matrix()
    matrix[:3, 3] = np.asarray(shift) + centre - matrix[:3, :3] @ centre
    return matrix


def displaced(image, matrix):
    """Return the image carried to another place by a (4, 4) rigid matrix: geometry alone changes, not a voxel."""
    carried = sitk.Image(image)
    carried.SetDirection((matrix[:3, :3] @ np.array(image.GetDirection()).reshape(3, 3)).ravel().tolist())
    carried.SetOrigin((matrix[:3, :3] @ np.array(image.GetOrigin()) + matrix[:3, 3]).tolist())
    return carried


def random_displacement(points, median, most_degrees, generator):
    """Return a rigid matrix that moves points (N, 3) by ``median`` mm in the median, turning up to ``most_degrees``."""
    centre = points.mean(axis=0)
    axis, way = (vector / np.linalg.norm(vector) for vector in generator.normal(size=(2, 3)))
    angle = generator.uniform(0, most_degrees)

    def moved(size):
        matrix = rigid(angle * axis, size * way, centre)
        return np.median(np.linalg.norm(points @ matrix[:3, :3].T + matrix[:3, 3] - points, axis=1))

    while moved(0) > median:
        angle *= 0.8
    low, high = 0.0, median + 1
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if moved(middle) < median else (low, middle)
    return rigid(angle * axis, low * way, centre)
