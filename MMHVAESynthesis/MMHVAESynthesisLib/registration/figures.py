"""What shows a registration: displacement in mm over the field of view, and a checkerboard of both volumes."""

from pathlib import Path
from typing import Union

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, OutputError
from ..paths import check_letters, expanded, for_itk, if_windows_refuses, move, part_of
from ..volumes import checks
from ..volumes.cover import filled
from .frame import nearest_orthonormal
from .transforms import matrix_of

LINEAR_ONLY = (
    "A rigid or affine transform moves the brain as one piece: this map shows how far the MR was moved, not how the "
    "brain shifted or deformed inside the field of view."
)
"""To be shown beside any map of displacement."""

PIXEL = 0.5
"""mm, of a checkerboard picture."""

TILE = 10.0
"""mm, of a checkerboard."""


def displacement(fixed_to_moving: sitk.Transform, field: sitk.Image) -> sitk.Image:
    """Return how far in mm each point of the field of view was moved, as a volume on the field's grid; see LINEAR_ONLY.

    :param field: Above 0 in the field of view, holes in a slice counted with it; elsewhere the result is 0.
    :return: float32, mm: the distance between a fixed point and its place in the moving volume as it lay before.
    """
    change = matrix_of(fixed_to_moving) - np.eye(4)
    to_world = np.eye(4)
    to_world[:3, :3] = np.array(field.GetDirection()).reshape(3, 3) * np.array(field.GetSpacing())
    to_world[:3, 3] = field.GetOrigin()
    # The displacement is linear in the index, so each axis adds its own part.
    linear = change @ to_world
    view = checks.array_view(field)
    i, j, k = (np.arange(n)[:, None] * linear[:3, axis] for axis, n in enumerate(field.GetSize()))
    result = np.empty(view.shape, dtype=np.float32)
    for plane, offset in enumerate(k + linear[:3, 3]):
        result[plane] = np.linalg.norm(j[:, None] + i[None] + offset, axis=-1)
        # Black voxels amid the field, such as fluid in an iUS, are of the field too.
        result[plane][~filled(view[plane] > 0)] = 0
    image = sitk.GetImageFromArray(result)
    image.CopyInformation(field)
    return image


def checkerboard(fixed: sitk.Image, moving: sitk.Image, fixed_to_moving: sitk.Transform) -> sitk.Image:
    """Return a grey 8-bit 2D picture: three planes through the middle of the fixed volume's field of view, side by
    side.

    Tiles of :data:`TILE` mm show the fixed and the moved volume by turns: an edge that runs on from tile to tile is
    aligned.

    :raises InputError: when the fixed volume is empty.
    """
    where = np.argwhere(checks.array_view(fixed) != 0)
    if len(where) == 0:
        raise InputError("The synthetic MR is empty: there is nothing to show.")
    low, high = where.min(axis=0)[::-1].astype(float), where.max(axis=0)[::-1].astype(float)
    axes = nearest_orthonormal(np.array(fixed.GetDirection()).reshape(3, 3))
    centre = np.array(fixed.TransformContinuousIndexToPhysicalPoint(((low + high) / 2).tolist()))
    half = (high - low) * np.array(fixed.GetSpacing()) / 2
    planes = [_plane(fixed, moving, fixed_to_moving, centre, axes, half, normal) for normal in (2, 1, 0)]
    height = max(len(plane) for plane in planes)
    padded = [np.pad(plane, ((0, height - len(plane)), (0, 4))) for plane in planes]
    picture = sitk.GetImageFromArray(np.concatenate(padded, axis=1))
    picture.SetSpacing([PIXEL, PIXEL])
    return picture


def _plane(fixed, moving, fixed_to_moving, centre, axes, half, normal: int) -> np.ndarray:
    """Return one plane's tiles, (rows, columns) uint8: head or face up, the patient's left or back on the right."""
    across, down = (axis for axis in range(3) if axis != normal)
    size = [1, 1, 1]
    start = np.zeros(3)
    for axis in (across, down):
        size[axis] = int(np.ceil(2 * half[axis] / PIXEL)) + 1
        start[axis] = -PIXEL * (size[axis] - 1) / 2
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing([PIXEL] * 3)
    grid.SetDirection(axes.ravel().tolist())
    grid.SetOrigin((centre + axes @ start).tolist())
    here = _grey(sitk.Resample(fixed, grid, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32))
    there = _grey(sitk.Resample(moving, grid, fixed_to_moving, sitk.sitkLinear, 0.0, sitk.sitkFloat32))
    rows, columns = (np.arange(size[axis]) * PIXEL // TILE for axis in (down, across))
    odd = (rows[:, None] + columns[None]) % 2 == 1
    tiles = np.where(odd, there.reshape(odd.shape), here.reshape(odd.shape))
    if np.abs(axes[:, across]).argmax() > np.abs(axes[:, down]).argmax():
        tiles, across, down = tiles.T, down, across
    return tiles[:: _direction(axes[:, down], is_down=True), :: _direction(axes[:, across], is_down=False)]


def _direction(axis: np.ndarray, is_down: bool) -> int:
    """Return 1 where an axis (LPS) of a picture runs as is usual, -1 where it has to be turned round."""
    main = int(np.abs(axis).argmax())
    usual = -1 if main == 2 and is_down else 1
    return usual if axis[main] > 0 else -usual


def _grey(image: sitk.Image) -> np.ndarray:
    values = sitk.GetArrayFromImage(image)
    low, high = np.percentile(values[values != 0], (1, 99)) if (values != 0).any() else (0, 1)
    return np.clip(255 * (values - low) / max(high - low, 1e-6), 0, 255).astype(np.uint8)


def write_picture(picture: sitk.Image, target: Union[str, Path]) -> Path:
    """Write an 8-bit picture as PNG beside ``target``, read it back, compare, then put it in place.

    :raises OutputError: when it cannot be written whole.
    """
    path = expanded(target)
    check_letters(path, OutputError)
    if path.suffix.lower() != ".png":
        raise OutputError(f"Cannot write {path}: a picture's name must end with .png.")
    part = part_of(path, ".png")
    try:
        sitk.WriteImage(picture, for_itk(part))
        if not np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(for_itk(part))), sitk.GetArrayFromImage(picture)):
            raise OSError("the picture read back differs")
        move(part, path)
    except (OSError, RuntimeError) as error:
        raise OutputError(
            f"{path} could not be written: is the folder there and writable?{if_windows_refuses(path)}"
        ) from error
    finally:
        if part.exists():
            part.unlink()
    return path


def checkerboard_volume(fixed: sitk.Image, moving: sitk.Image, fixed_to_moving: sitk.Transform) -> sitk.Image:
    """Return a checkerboard in three dimensions, 8-bit, on the fixed volume's grid; 0 wherever that volume is 0.

    Blocks with edges of :data:`TILE` mm show the fixed and the moved volume by turns, each in its own grey levels.
    """
    inside = checks.array_view(fixed) != 0
    moved = sitk.Resample(moving, fixed, fixed_to_moving, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    here, there = _grey(fixed), _grey(moved)
    counts = [
        (np.arange(size) * spacing // TILE).astype(np.uint8)
        for size, spacing in zip(fixed.GetSize(), fixed.GetSpacing())
    ]
    i, j, k = counts
    odd = (k[:, None, None] + j[None, :, None] + i[None, None, :]) % 2 == 1
    blocks = np.where(odd, there, here)
    blocks[~inside] = 0
    image = sitk.GetImageFromArray(blocks)
    image.CopyInformation(fixed)
    return image
