"""Linear transforms as matrices, as SimpleITK's objects and as files.

Everywhere LPS millimetres. The file's direction is ITK's for resampling: it maps fixed points to moving points. Slicer
reads such a file as a transform node that, put over the moving volume, moves it onto the fixed one.
"""

import re
from pathlib import Path
from typing import Union

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, OutputError
from ..paths import check_letters, expanded, for_itk, if_windows_refuses, move, part_of

WRITABLE = (".h5", ".tfm", ".txt")

_KIND = re.compile(rb"(\w{0,40}Transform\w{0,9})_(?:double|float)_\d+_\d+")
"""What text and HDF5 files call each of their transforms."""

_STEP = 100.0
"""Millimetres between the points by which a transform is probed."""

_HALF_TURN = 1e-5
"""Of a rotation's trace plus 1, at and below which it is all but a half turn: files hold the vector part of a rigid
transform's versor, from which the small rest of one is not found again.
"""

_RIGID_TOLERANCE = 1e-10
"""How far from orthonormal a rotation may be: ITK's rigid transforms take no other. Rounding alone is far below."""


def matrix_of(transform: sitk.Transform) -> np.ndarray:
    """Return a linear transform, composed or not, as a (4, 4) matrix in LPS millimetres.

    :raises InputError: when it is non-linear, not 3D, or cannot be inverted.
    """
    if transform.GetDimension() != 3:
        raise InputError("The initial transform is not 3D: choose a linear 3D transform.")
    if not transform.IsLinear():
        raise InputError(
            "The initial transform is not linear, and registration can start from a linear one only: harden it onto "
            "the volume first, or choose a linear transform."
        )
    probes = np.vstack([np.zeros(3), _STEP * np.eye(3)])
    there = np.array([transform.TransformPoint(point.tolist()) for point in probes])
    matrix = np.eye(4)
    matrix[:3, :3] = (there[1:] - there[0]).T / _STEP
    matrix[:3, 3] = there[0]
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-6:
        raise InputError("The initial transform cannot be inverted: choose another one.")
    return matrix


def is_rigid(matrix: np.ndarray) -> bool:
    """Return whether a (4, 4) matrix is a rotation and a translation, without mirroring."""
    linear = matrix[:3, :3]
    return bool(np.abs(linear @ linear.T - np.eye(3)).max() < _RIGID_TOLERANCE and np.linalg.det(linear) > 0)


def affine_of(matrix: np.ndarray) -> sitk.AffineTransform:
    """Return a (4, 4) matrix as an affine transform about the origin."""
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    return transform


def transform_of(matrix: np.ndarray, centre: np.ndarray) -> sitk.Transform:
    """Return a (4, 4) matrix as a transform that turns about ``centre`` (3,): rigid where it is so, else affine.

    A half turn, such as from RAS to LPS, is affine too: a file would not keep it as a rigid one.
    """
    linear, shift = matrix[:3, :3], matrix[:3, 3]
    keeps = is_rigid(matrix) and np.trace(linear) + 1 > _HALF_TURN
    transform = sitk.VersorRigid3DTransform() if keeps else sitk.AffineTransform(3)
    transform.SetCenter(centre.tolist())
    transform.SetMatrix(linear.ravel().tolist())
    transform.SetTranslation((linear @ centre + shift - centre).tolist())
    return transform


def resampled(image: sitk.Image, grid: sitk.Image, fixed_to_moving: sitk.Transform) -> sitk.Image:
    """Return a moving volume on a fixed volume's ``grid``, in its own voxel type: linear, its lowest value beyond it.

    Whole numbers are rounded; ITK itself would cut off what stands behind the point, half a grey level on average.
    """
    lowest = float(sitk.GetArrayViewFromImage(image).min())
    kind = image.GetPixelID()
    if "float" in image.GetPixelIDTypeAsString():
        return sitk.Resample(image, grid, fixed_to_moving, sitk.sitkLinear, lowest, kind)
    values = sitk.Resample(image, grid, fixed_to_moving, sitk.sitkLinear, lowest, sitk.sitkFloat64)
    return sitk.Cast(sitk.Round(values), kind)


def read(source: Union[str, Path]) -> sitk.Transform:
    """Read a transform file that ITK or Slicer wrote.

    :raises InputError: when it is absent, unreadable, or of MINC, or holds several transforms.
    """
    path = expanded(source)
    check_letters(path, InputError)
    if not path.is_file():
        raise InputError(f"{path} does not exist: check the name of the transform file.")
    if path.suffix.lower() == ".xfm":
        raise InputError(
            f"{path} is a transform of MINC, in RAS coordinates that ITK would take for LPS: give an .h5 or .tfm file "
            "that Slicer or ITK wrote."
        )
    _check_single(path)
    try:
        return sitk.ReadTransform(for_itk(path))
    except RuntimeError as error:
        raise InputError(
            f"{path} cannot be read as a transform: give an .h5 or .tfm file that Slicer or ITK wrote."
            f"{if_windows_refuses(path)}"
        ) from error


def _check_single(path: Path) -> None:
    """Refuse a file of several transforms, unless they are the parts of a composite one: ITK would take the first."""
    try:
        kinds = _KIND.findall(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(kinds) > 1 and not any(kind.endswith(b"CompositeTransform") for kind in kinds):
        raise InputError(
            f"{path} holds {len(kinds)} transforms, and which one is meant cannot be told: save the one to start from "
            "in a file of its own."
        )


def check_writable_name(target: Union[str, Path]) -> Path:
    """Return ``target`` as a path if a transform can be written under that name, else raise :class:`OutputError`."""
    path = expanded(target)
    check_letters(path, OutputError)
    # ITK, and so Slicer, neither writes nor reads a transform whose ending is in upper case.
    if path.suffix not in WRITABLE:
        endings = ", ".join(WRITABLE)
        raise OutputError(f"Cannot write {path}: a transform's name must end with one of {endings}, in lower case.")
    return path


def write(transform: sitk.Transform, target: Union[str, Path]) -> Path:
    """Write a transform beside ``target``, read it back, compare, then put it in place.

    :return: The file's path.
    :raises OutputError: when the name's ending is unknown or the file cannot be written whole.
    """
    path = check_writable_name(target)
    part = part_of(path, path.suffix)
    try:
        sitk.WriteTransform(transform, for_itk(part))
        if not np.allclose(matrix_of(sitk.ReadTransform(for_itk(part))), matrix_of(transform), atol=1e-9):
            raise OSError("the transform read back differs")
        move(part, path)
    except (OSError, RuntimeError) as error:
        raise OutputError(
            f"{path} could not be written: is the folder there and writable? Nothing was left half-written."
            f"{if_windows_refuses(path)}"
        ) from error
    finally:
        if part.exists():
            part.unlink()
    return path
