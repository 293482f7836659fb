"""Volumes made for the tests."""

import numpy as np
import SimpleITK as sitk

ORDER = ("us", "t2", "cet1", "flair")

OBLIQUE = (0.36, 0.48, -0.8, -0.8, 0.6, 0.0, 0.48, 0.64, 0.6)
LEFT_HANDED = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
PERMUTED = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def volume(array, spacing=(0.5, 0.5, 0.5), origin=(0.0, 0.0, 0.0), direction=None):
    """Return an image of an array [k, j, i]."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    if direction is not None:
        image.SetDirection(direction)
    return image


def ball(shape=(10, 40, 44), radius=12, value=100, centre=None, dtype=np.uint8):
    """Return an array [k, j, i] that is textured inside a ball, 0 outside."""
    axes = np.indices(shape)
    centre = centre if centre is not None else [(length - 1) / 2 for length in shape]
    distance = np.sqrt(sum((axis - middle) ** 2 for axis, middle in zip(axes, centre)))
    texture = value + 40 * np.sin(axes[2] / 3) + 30 * np.cos(axes[1] / 4) + 5 * axes[0]
    return np.where(distance <= radius, texture, 0).astype(dtype)


def world(image):
    """Return each voxel's position, (k, j, i, 3), in mm."""
    direction = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    index = np.stack(np.indices(image.GetSize()[::-1])[::-1], axis=-1)
    return index @ direction.T + np.array(image.GetOrigin())
