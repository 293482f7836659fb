"""Volumes in files: NRRD, NIfTI and MetaImage, read with all checks, written whole or not at all."""

import logging
import os
import shutil
import uuid
from pathlib import Path
from typing import Union

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, OutputError
from .checks import array_view, check_layout, slabs

log = logging.getLogger(__name__)

WRITABLE = (".nrrd", ".nii", ".nii.gz", ".mha")
"""File name endings that can be written: formats that keep the geometry, in one file."""

_GEOMETRY_TOLERANCE = 1e-3
"""In voxels. NIfTI keeps its matrix in single precision."""


def suffix(path: Path) -> str:
    """Return the ending of a volume's file name in lower case, ``.nii.gz`` whole."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def stem(path: Path) -> str:
    """Return a volume's file name without its ending.

    >>> stem(Path("Case27/us.nii.gz"))
    'us'
    """
    return path.name[: len(path.name) - len(suffix(path))] or path.name


def count_voxels(source: Union[str, Path]) -> int:
    """Return how many voxels a volume's file states, 0 where that cannot be read."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(Path(source).expanduser()))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return 0
    return int(np.prod(reader.GetSize()))


def read(source: Union[str, Path]) -> sitk.Image:
    """Read a volume, in its own voxel type.

    A fourth axis of length 1, as some NIfTI files have it, is dropped.

    :raises InputError: when the file is absent, unreadable, cut off or no grey 3D volume.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        raise InputError(
            f"{path} is a folder: give a volume's file (load a DICOM series in Slicer and save it as .nrrd)."
        )
    if not path.is_file():
        raise InputError(f"{path} does not exist: check the name of the file.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size = list(reader.GetSize())
        while len(size) > 3 and size[-1] == 1:
            size.pop()
        check_layout(len(size), reader.GetNumberOfComponents(), str(path))
        reader.SetExtractSize(size + [0] * (reader.GetDimension() - len(size)))
        return reader.Execute()
    except RuntimeError as error:
        log.debug("reading %s", path, exc_info=True)
        raise InputError(
            f"{path} cannot be read as a volume: it is damaged, cut off or in an unknown format. "
            "Give a NRRD, NIfTI or MetaImage file."
        ) from error


def check_writable(folder: Union[str, Path], expected_bytes: int = 0) -> Path:
    """Make ``folder`` if need be and make sure that files of ``expected_bytes`` in all can be written into it.

    :raises OutputError: when they cannot; the message says why.
    """
    path = Path(folder).expanduser()
    # Threads of this process, or machines that share the folder, may do the same at the same moment.
    probe = path / f".mmhvae-{uuid.uuid4().hex}.probe"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
        free = shutil.disk_usage(path).free
    except OSError as error:
        raise OutputError(f"Cannot write into {path}: {error.strerror or error}. Choose another folder.") from error
    if free < expected_bytes:
        raise OutputError(
            f"{path} has {free / 1e6:.0f} MB left, the results need {expected_bytes / 1e6:.0f} MB: "
            "free some space or choose another folder."
        )
    return path


def check_format(path: Union[str, Path]) -> None:
    """Raise :class:`OutputError` unless volumes can be written in the format that the name's ending says."""
    if suffix(Path(path)) not in WRITABLE:
        raise OutputError(f"Cannot write {path}: its name must end with one of {', '.join(WRITABLE)}.")


def write(image: sitk.Image, target: Union[str, Path], compress: bool = True) -> Path:
    """Write a volume beside ``target``, read it back, compare, then put it in place.

    SimpleITK may cut a NIfTI file short on a full disk without an error; comparing finds that too.

    :return: The file's path.
    :raises OutputError: when the format is unknown, cannot hold the geometry, or the file cannot be written whole.
    """
    path = Path(target).expanduser()
    check_format(path)
    part = path.with_name(f".{stem(path)}.{os.getpid()}.part{suffix(path)}")
    try:
        sitk.WriteImage(image, str(part), compress)
        _compare(image, part)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, RuntimeError) as error:
        log.debug("writing %s", path, exc_info=True)
        raise OutputError(
            f"{path} could not be written whole: is the disk full, or the folder not writable? "
            "Nothing was left half-written."
        ) from error
    finally:
        if part.exists():
            part.unlink()
    return path


def _compare(image: sitk.Image, file: Path) -> None:
    """Raise :class:`OSError` unless ``file`` holds the voxels, :class:`OutputError` unless it holds the geometry."""
    written = sitk.ReadImage(str(file))
    if written.GetSize() != image.GetSize() or written.GetPixelID() != image.GetPixelID():
        raise OSError("size or type differ")
    pairs = zip(slabs(array_view(image)), slabs(array_view(written)))
    if not all(np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f") for ours, theirs in pairs):
        raise OSError("voxels differ")
    if not same_geometry(image, written, _GEOMETRY_TOLERANCE):
        raise OutputError(
            f"The format {suffix(file)} cannot hold this volume's geometry (sheared axes?): choose .nrrd."
        )


def same_geometry(first: sitk.Image, second: sitk.Image, tolerance: float = 1e-4) -> bool:
    """Return whether two volumes have one grid: corners closer than ``tolerance`` voxels of the first, equal sizes."""
    if first.GetSize() != second.GetSize():
        return False
    last = [size - 1 for size in first.GetSize()]
    for corner in np.ndindex(2, 2, 2):
        index = [float(end * at) for end, at in zip(last, corner)]
        there = first.TransformPhysicalPointToContinuousIndex(second.TransformContinuousIndexToPhysicalPoint(index))
        if np.abs(np.subtract(there, index)).max() > tolerance:
            return False
    # A volume of one voxel along an axis says nothing of that axis's direction in its corners.
    return np.allclose(first.GetSpacing(), second.GetSpacing(), rtol=1e-4) and np.allclose(
        first.GetDirection(), second.GetDirection(), atol=1e-4
    )
