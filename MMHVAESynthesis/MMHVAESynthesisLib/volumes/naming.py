"""What a volume's file is called, which files belong to it, and a name under which ITK reads that very file."""

import os
import re
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Union

from ..paths import for_itk

_DOUBLE = (".nii.gz", ".img.gz")

PAIRS = {".hdr": (".img", ".img.gz"), ".img": (".hdr",), ".img.gz": (".hdr",)}
"""NIfTI's two files of one volume (its predecessor's too), whichever is named."""

NIFTI = (".nii", ".nii.gz", *PAIRS)
NRRD = (".nrrd", ".nhdr")
METAIMAGE = (".mha", ".mhd")

LONGEST_HEADER = 1 << 20
_VOXELS_ELSEWHERE = re.compile(r"(?:ElementDataFile *=|data ?file:) *(\S|\S.*\S) *", re.IGNORECASE)


def suffix(path: Path) -> str:
    """Return the ending of a volume's file name in lower case, ``.nii.gz`` whole."""
    name = path.name.lower()
    return next((ending for ending in _DOUBLE if name.endswith(ending)), path.suffix.lower())


def stem(path: Path) -> str:
    """Return a volume's file name without its ending.

    >>> stem(Path("Case27/us.nii.gz"))
    'us'
    """
    return path.name[: len(path.name) - len(suffix(path))] or path.name


def voxel_files(source: Union[str, Path]) -> List[Path]:
    """Return the files in which a volume's voxels lie where its own file is a header alone, those that are there.

    NRRD: http://teem.sourceforge.net/nrrd/format.html, "data file"; MetaImage: its field ElementDataFile. Each may name
    one file, a list of files, or a pattern with first number, last number and step.

    :return: Empty where the voxels lie behind the header, and for all other formats.
    :raises OSError: when the file cannot be read.
    """
    path = Path(source)
    if suffix(path) in PAIRS:
        return _partners(path)
    if suffix(path) not in (*NRRD, *METAIMAGE):
        return []
    with open(path, "rb") as file:
        lines = re.split("\r?\n", file.read(LONGEST_HEADER).decode("utf-8", "surrogateescape"))
    for number, line in enumerate(lines):
        named = _VOXELS_ELSEWHERE.fullmatch(line)
        if named:
            places = [path.parent / name for name in _named(named.group(1), lines[number + 1 :])]
            return [place for place in places if place.is_file()]
        if not line:  # what follows in a NRRD file are voxels
            return []
    return []


def _partners(path: Path) -> List[Path]:
    """Return the other files of a pair, in the letters of the one that is named: small, or all capital."""
    capital = path.name[len(stem(path)) :].isupper()
    endings = [ending.upper() if capital else ending for ending in PAIRS[suffix(path)]]
    return [place for place in (path.with_name(stem(path) + ending) for ending in endings) if place.is_file()]


def _named(value: str, following: List[str]) -> List[str]:
    """Return the names of files for which a header's field stands, given the lines behind it."""
    first, *more = value.split()
    if first.upper() in ("LIST", "LOCAL"):
        return [line.strip() for line in following if line.strip()] if first.upper() == "LIST" else []
    try:
        start, end, step = map(int, more[:3])
        return [first % number for number in range(start, end + (1 if step > 0 else -1), step)]
    except (TypeError, ValueError):  # no pattern: a name, which may have blanks
        return [value]


def twin(path: Path) -> Path:
    """Return the name by which ITK's NIfTI library, and so other programs, may take one file's voxels for another's.

    It takes those of ``v.nii`` for ``v.nii.gz`` where both are there.
    """
    other = {".nii": ".nii.gz", ".nii.gz": ".nii"}.get(suffix(path))
    return path if other is None else path.with_name(stem(path) + other)


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """Give a name under which ITK reads the very file that is named: the path itself, or a link to it for the while.

    ITK opens ``.mha`` and a mixture such as ``.Nii.gz`` by its letters, looks for the voxels of a NIfTI file by the
    name without its ending, and may open no name on Windows that is not ASCII.

    :raises OSError: when a link is needed, and the file can be neither linked nor copied.
    """
    parts = _parts(path)
    if not parts:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="mmhvae-") as folder:
        for name, file in parts.items():
            _place(file.resolve(), Path(folder) / name)
        yield Path(folder) / next(iter(parts))


def _parts(path: Path) -> Dict[str, Path]:
    """Return the files that need a link, by its name, the one that is named first; empty where the path serves."""
    ending = suffix(path)
    is_plain = sys.platform != "win32" or for_itk(path).isascii()
    small = is_plain and path.name.endswith(ending)
    if ending in PAIRS:
        if small and (ending != ".img.gz" or not path.with_name(stem(path) + ".img").is_file()):
            return {}
        others = _partners(path)[:1]
    else:
        if (is_plain and ending in NRRD) or (small and (ending != ".nii.gz" or not twin(path).is_file())):
            return {}
        if ending in (*NRRD, *METAIMAGE) and voxel_files(path):
            return {}
        others = []
    return {f"volume{suffix(file)}": file for file in (path, *others)}


def _place(file: Path, at: Path) -> None:
    """Make ``file`` readable at another name: by a link, which Windows may refuse, else by a copy."""
    for way in (os.symlink, os.link):
        try:
            way(file, at)
            return
        except (OSError, NotImplementedError):
            continue
    shutil.copyfile(file, at)
