"""A head of smooth random texture, fields of view cut from it, and known displacements."""

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

CENTRE = np.array([5.0, -20.0, 30.0])


def head(seed=0, size=112, spacing=1.0, scale=3.0):
    values = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size,) * 3), scale, mode="wrap")
    image = sitk.GetImageFromArray((1000 + 300 * values / values.std()).astype(np.float32))
    image.SetSpacing([spacing] * 3)
    image.SetOrigin((CENTRE - spacing * (size - 1) / 2).tolist())
    return image


def axes(degrees=(0, 0, 0), left_handed=False):
    matrix = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    return matrix * ([1, 1, -1] if left_handed else [1, 1, 1])


def field(source, size=(48, 44, 40), spacing=(1.0, 1.0, 1.0), degrees=(0, 0, 0), left_handed=False):
    """What a synthesis would give: the source on a smaller grid about CENTRE, 0 in a corner that no probe sees."""
    direction = axes(degrees, left_handed)
    grid = sitk.Image(list(size), sitk.sitkUInt8)
    grid.SetSpacing(spacing)
    grid.SetDirection(direction.ravel().tolist())
    grid.SetOrigin((CENTRE - direction @ ((np.array(size) - 1) * spacing / 2)).tolist())
    image = sitk.Resample(source, grid, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    array = sitk.GetArrayFromImage(image)
    array[:, : size[1] // 5, : size[0] // 5] = 0
    seen = sitk.GetImageFromArray(array)
    seen.CopyInformation(image)
    return seen


def noisy(image, amount=0.5, seed=1):
    array = sitk.GetArrayFromImage(image)
    spread = array[array > 0].std()
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=array.shape), 1.0)
    array = np.where(array > 0, array + amount * spread * noise / noise.std(), 0).astype(np.float32)
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result


def motion(degrees, shift):
    """A (4, 4) matrix that turns about CENTRE by a rotation vector in degrees, then shifts, in mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(degrees, degrees=True).as_matrix()
    matrix[:3, 3] = np.array(shift) + CENTRE - matrix[:3, :3] @ CENTRE
    return matrix


def carried(image, matrix):
    """The image carried to another place by a rigid matrix, by its geometry alone."""
    result = sitk.Image(image)
    result.SetDirection((matrix[:3, :3] @ np.array(image.GetDirection()).reshape(3, 3)).ravel().tolist())
    result.SetOrigin((matrix[:3, :3] @ np.array(image.GetOrigin()) + matrix[:3, 3]).tolist())
    return result


def error(transform, matrix, radius=20.0):
    """The largest distance in mm, at the corners of a cube about CENTRE, from where a transform should put a point."""
    corners = CENTRE + radius * (np.indices((2, 2, 2)).reshape(3, -1).T * 2 - 1)
    found = np.array([transform.TransformPoint(corner.tolist()) for corner in corners])
    return np.linalg.norm(found - (corners @ matrix[:3, :3].T + matrix[:3, 3]), axis=1).max()
