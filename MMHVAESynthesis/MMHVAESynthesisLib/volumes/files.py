"""Volumes in files: NRRD, NIfTI and MetaImage, read with all checks, written whole or not at all."""

import logging
import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Callable, Iterable, List, Optional, Sequence, Tuple, TypeVar, Union

import numpy as np
import SimpleITK as sitk

from ..errors import DeviceError, InputError, OutputError
from ..paths import check_letters, expanded, for_itk, if_windows_refuses, move, part_of
from .checks import array_view, check_layout, is_no_memory, scalar, slabs
from .integrity import check_whole, is_nifti_2
from .naming import PAIRS, opened, suffix, twin, voxel_files

log = logging.getLogger(__name__)

_Read = TypeVar("_Read")

_IMPOSSIBLE = 2**34
"""Voxels; a header that states as many is damaged, whatever the memory."""

WRITABLE = (".nrrd", ".nii", ".nii.gz", ".mha")
"""File name endings that can be written: formats that keep the geometry, in one file."""

_GEOMETRY_TOLERANCE = 1e-3
"""In voxels. NIfTI keeps its matrix in single precision."""

_STEP_TOLERANCE = 2e-4
"""Of the step from one voxel to the next."""


def count_voxels(source: Union[str, Path]) -> int:
    """Return how many voxels a volume's file states, 0 where that cannot be read."""
    header = _what_it_states(source)
    return 0 if header is None else int(np.prod(header.GetSize()))


def _what_it_states(source: Union[str, Path]) -> Optional[sitk.ImageFileReader]:
    """Return what has read a file's header, None where that cannot be read."""
    reader = sitk.ImageFileReader()
    try:
        check_letters(source, InputError)
        # Of a folder HDF5, asked whether it is one of its files, says much on the terminal.
        if not os.path.isfile(expanded(source)):
            return None
        with opened(expanded(source)) as path:
            reader.SetFileName(for_itk(path))
            reader.ReadImageInformation()
    except (OSError, RuntimeError, MemoryError, InputError):
        return None
    return reader


def read(source: Union[str, Path]) -> sitk.Image:
    """Read a volume, in its own voxel type.

    A fourth axis of length 1, as some NIfTI files have it, is dropped; vectors of one component are read as numbers.

    :raises InputError: when the file is absent, unreadable, cut off or no grey 3D volume.
    :raises DeviceError: when memory runs out.
    """
    return _described(_read, _existing(source))


def check_header(source: Union[str, Path]) -> None:
    """Raise :class:`InputError` unless a file is a grey 3D volume by its header; its voxels are not read."""
    _described(_header, _existing(source))


def _existing(source: Union[str, Path]) -> Path:
    """Return the path of a volume's file.

    :raises InputError: when it, or the other of a pair, is absent, or has a name that SimpleITK does not take.
    """
    if not str(source).strip():
        raise InputError("A volume's name is empty: give a file. Is a variable of the shell not set?")
    path = expanded(source)
    check_letters(path, InputError)
    if path.is_dir():
        raise InputError(
            f"{path} is a folder: give a volume's file (load a DICOM series in Slicer and save it as .nrrd)."
        )
    if not path.is_file():
        raise InputError(f"{path} does not exist: check the name of the file.")
    if suffix(path) in PAIRS and not voxel_files(path):
        raise InputError(
            f"{path} is one of two files of a volume: put the other one, which ends with "
            f"{' or '.join(PAIRS[suffix(path)])}, beside it."
        )
    return path


def _described(reading: Callable[[Path, Path], _Read], path: Path) -> _Read:
    """Return what ``reading`` makes of a file, in words of ours where it cannot be read."""
    try:
        with opened(path) as readable:
            return reading(readable, path)
    except (OSError, RuntimeError, MemoryError) as error:
        log.debug("reading %s", path, exc_info=True)
        if is_no_memory(error) and 0 < count_voxels(path) < _IMPOSSIBLE:
            raise _out_of_memory(path) from error
        if is_nifti_2(path):
            raise InputError(
                f"{path} is a NIfTI-2 file, which is not read: save it as .nii (NIfTI-1) or .nrrd."
            ) from error
        if "orthonormal" in str(error):  # as NIfTI files may be that were written in single precision, or sheared
            raise InputError(
                f"{path} has axes that are not at right angles to one another, which cannot be read from NIfTI: load "
                "it in Slicer and save it as .nrrd, or resample it to a grid with right angles."
            ) from error
        raise InputError(
            f"{path} cannot be read as a volume: it is damaged, cut off or in an unknown format. "
            f"Give a NRRD, NIfTI or MetaImage file.{_of_capitals(path)}{if_windows_refuses(path)}"
        ) from error


def _read(readable: Path, path: Path) -> sitk.Image:
    """Read the volume at ``path`` under a name that ITK can open."""
    reader, size = _header(readable, path)
    check_whole(readable)
    reader.SetExtractSize(size + [0] * (reader.GetDimension() - len(size)))
    return scalar(reader.Execute())


def _header(readable: Path, path: Path) -> Tuple[sitk.ImageFileReader, List[int]]:
    """Return a reader that has read the header of the volume at ``path``, checked, and its size along three axes."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(for_itk(readable))
    reader.ReadImageInformation()
    size = list(reader.GetSize())
    while len(size) > 3 and size[-1] == 1:
        size.pop()
    check_layout(len(size), reader.GetNumberOfComponents(), str(path))
    return reader, size


def _out_of_memory(path: Path) -> DeviceError:
    """Return the error for the user where memory ran out while the volume at ``path`` was read or written."""
    return DeviceError(f"The memory of this machine ran out at {path}: close other programs, or crop the volume.")


def _of_capitals(path: Path) -> str:
    """Return a sentence on a header's ending in capital letters, which ITK does not open; empty for others."""
    ending = suffix(path)
    if ending != ".mhd" or path.name.endswith(ending):
        return ""
    return f" Or it is its name: rename it to end with {ending}."


def check_writable(folder: Union[str, Path], expected_bytes: int = 0) -> Path:
    """Make ``folder`` if need be and make sure that files of ``expected_bytes`` in all can be written into it.

    :raises OutputError: when they cannot; the message says why.
    """
    path = expanded(folder)
    check_room(path, expected_bytes)
    try:
        _make_a_file(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def _make_a_file(folder: Path) -> None:
    """Make a file that does not stay, be this process killed meanwhile: without a name, where there is such a thing."""
    if os.name == "nt":
        # Not by tempfile, which tries one name after the other for ages where Windows lets none be made.
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_TEMPORARY
        os.close(os.open(folder / f".mmhvae-{uuid.uuid4().hex[:8]}.probe", flags))
    else:
        tempfile.TemporaryFile(prefix=".mmhvae-", suffix=".probe", dir=folder).close()


def check_room(folder: Path, expected_bytes: int) -> None:
    """Make ``folder`` if need be and make sure that ``expected_bytes`` more fit on its disk.

    :raises OutputError: when they do not; the message says how many do.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise cannot_write(folder, error) from error
    if free < expected_bytes:
        raise OutputError(
            f"{folder} has {free / 1e6:.0f} MB left, the results need {expected_bytes / 1e6:.0f} MB: "
            "free some space or choose another folder."
        )


def cannot_write(folder: Path, error: OSError) -> OutputError:
    """Return the error of a folder into which nothing can be written."""
    return OutputError(f"Cannot write into {folder}: {error.strerror or error}. Choose another folder.")


def check_names(targets: Iterable[Path]) -> None:
    """Raise :class:`OutputError` where volumes cannot be written under their names.

    These must be in UTF-8, and no NIfTI file may lie there of the same name, but compressed, or not.
    """
    for target in targets:
        check_letters(target, OutputError)
        other = twin(target)  # its name may be too long for a file, of which Path.exists would make an error
        if other.name != target.name and os.path.exists(other):
            raise OutputError(
                f"{other} is there, whose voxels other programs would take for those of {target.name}: remove it, or "
                "choose another folder or name."
            )


def check_format(path: Union[str, Path]) -> None:
    """Raise :class:`OutputError` unless a volume of this name can be written, in the format that its ending says."""
    check_letters(path, OutputError)
    if suffix(Path(path)) not in WRITABLE:
        raise OutputError(f"Cannot write {path}: its name must end with one of {', '.join(WRITABLE)}.")


def write(image: sitk.Image, target: Union[str, Path], compress: bool = True) -> Path:
    """Write a volume beside ``target``, read it back, compare, then put it in place.

    SimpleITK may cut a NIfTI file short on a full disk without an error; comparing finds that too.

    A warning is logged where a NIfTI file comes to lie beside one of the same name, compressed or not.

    :return: The file's path.
    :raises OutputError: when the format is unknown, cannot hold the geometry, or the file cannot be written whole.
    :raises DeviceError: when memory runs out.
    """
    path = expanded(target)
    check_format(path)
    part = part_of(path, suffix(path))
    try:
        sitk.WriteImage(image, for_itk(part), compress)
        _compare(image, part)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        move(part, path)
    except (OSError, RuntimeError, MemoryError) as error:
        log.debug("writing %s", path, exc_info=True)
        if is_no_memory(error):
            raise _out_of_memory(path) from error
        raise OutputError(
            f"{path} could not be written whole: is the disk full, or the folder not writable? "
            f"Nothing was left half-written.{if_windows_refuses(path)}"
        ) from error
    finally:
        if part.exists():
            part.unlink()
    if twin(path) != path and os.path.exists(twin(path)):
        log.warning(
            "%s lies beside %s: other programs take the voxels of one for the other's. Rename or remove one of them.",
            path,
            twin(path).name,
        )
    return path


def _compare(image: sitk.Image, file: Path) -> None:
    """Raise :class:`OSError` unless ``file`` holds the voxels, :class:`OutputError` unless it holds the geometry."""
    with opened(file) as readable:
        written = sitk.ReadImage(for_itk(readable))
    if written.GetSize() != image.GetSize() or written.GetPixelID() != image.GetPixelID():
        raise OSError("size or type differ")
    pairs = zip(slabs(array_view(image)), slabs(array_view(written)))
    if not all(np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f") for ours, theirs in pairs):
        raise OSError("voxels differ")
    if not same_geometry(image, written, _GEOMETRY_TOLERANCE):
        raise _no_geometry(suffix(file))


def check_holds(source: Union[str, Path], ending: str) -> None:
    """Raise :class:`OutputError` where files of an ending cannot hold a volume's geometry: before the work, not after.

    :param source: The volume's file; where its header cannot be read nothing is said.
    """
    header = _what_it_states(source)
    if header is None or header.GetDimension() != 3:
        return
    tiny = sitk.Image([2, 2, 2], sitk.sitkUInt8)
    try:
        tiny.SetSpacing(header.GetSpacing())
        tiny.SetOrigin(header.GetOrigin())
        tiny.SetDirection(header.GetDirection())
        with tempfile.TemporaryDirectory(prefix="mmhvae-") as folder:
            file = for_itk(Path(folder, f"tiny{ending}"))
            sitk.WriteImage(tiny, file)
            written = sitk.ReadImage(file)
    except (OSError, RuntimeError) as error:
        log.debug("whether %s holds the geometry of %s is not known: %s", ending, source, error)
        return
    if not _agree(tiny, written, header.GetSize(), _GEOMETRY_TOLERANCE):
        raise _no_geometry(ending)


def _no_geometry(ending: str) -> OutputError:
    if ending == ".nrrd":
        return OutputError("The volume's geometry cannot be kept: resample the input to a grid with right angles.")
    return OutputError(
        f"The format {ending} cannot hold this volume's geometry (sheared axes, or an origin far from 0): choose .nrrd."
    )


def same_geometry(first: sitk.Image, second: sitk.Image, tolerance: float = 1e-4) -> bool:
    """Return whether two volumes have one grid: corners closer than ``tolerance`` voxels of the first, equal sizes."""
    return first.GetSize() == second.GetSize() and _agree(first, second, first.GetSize(), tolerance)


def _agree(first: sitk.Image, second: sitk.Image, size: Sequence[int], tolerance: float) -> bool:
    """Return whether two grids are one, as far as ``size`` voxels along each axis: as :func:`same_geometry`."""
    last = [length - 1 for length in size]
    for corner in np.ndindex(2, 2, 2):
        index = [float(end * at) for end, at in zip(last, corner)]
        there = first.TransformPhysicalPointToContinuousIndex(second.TransformContinuousIndexToPhysicalPoint(index))
        if np.abs(np.subtract(there, index)).max() > tolerance:
            return False
    # A volume of one voxel along an axis says nothing of that axis's direction in its corners. Its step is compared, as
    # formats share it out differently between spacing and direction.
    ours, theirs = (np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing() for image in (first, second))
    return bool((np.abs(ours - theirs) <= _STEP_TOLERANCE * np.linalg.norm(ours, axis=0)).all())
