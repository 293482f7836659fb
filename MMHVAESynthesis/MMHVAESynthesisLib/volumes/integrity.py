"""Whether a volume's file holds all its voxels, undamaged, where ITK reads on without an error.

ITK takes a NIfTI file that ends early as one whose last voxels are 0, and what a changed byte makes of compressed
voxels as they are. Checksums and lengths of compressed streams: RFC 1950 (zlib) and RFC 1952 (gzip).
"""

import gzip
import math
import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Tuple

from .naming import LONGEST_HEADER, METAIMAGE, NIFTI, NRRD, PAIRS, suffix, voxel_files

_NIFTI_HEADER, _NIFTI_2_HEADER = 348, 540
_GZIP = b"\x1f\x8b"
_ZLIB_OR_GZIP = 47
_BLOCK = 1 << 15
"""Bytes read at a time: what they hold, at most a thousand times as much, stays small."""

_METAIMAGE_COMPRESSED = re.compile(rb"^CompressedData *= *[Tt1]", re.MULTILINE)
_METAIMAGE_BEFORE_VOXELS = re.compile(rb"^ElementDataFile *= *LOCAL *\r?\n", re.MULTILINE)
_METAIMAGE_SKIPPED = re.compile(rb"^HeaderSize *= *(\d+)", re.MULTILINE)
_NRRD_COMPRESSED = re.compile(rb"^encoding: *gz(?:ip)? *\r?$", re.MULTILINE | re.IGNORECASE)
_NRRD_SKIPS = re.compile(rb"^(?:line|byte) ?skip: *(?!0 *\r?$)", re.MULTILINE | re.IGNORECASE)
_NRRD_BEFORE_VOXELS = re.compile(rb"\r?\n\r?\n")


def check_whole(path: Path) -> None:
    """Make sure that a volume's voxels are all there and that no compressed byte was changed.

    What no checksum guards is read as it is: voxels that are not compressed, and other formats than those read here.

    :param path: A file whose header can be read.
    :raises OSError: when the file is cut off or damaged, or the other file of a pair is missing.
    """
    try:
        if suffix(path) in NIFTI:
            _check_nifti(path)
        elif suffix(path) in METAIMAGE:
            _check_metaimage(path)
        elif suffix(path) in NRRD:
            _check_nrrd(path)
    except (zlib.error, struct.error) as error:
        raise OSError(f"{path} is damaged: {error}") from error


def is_nifti_2(path: Path) -> bool:
    """Return whether a volume's file is one of NIfTI-2, which ITK does not read; False where it cannot be read.

    Its first four bytes say how long its header is: https://nifti.nimh.nih.gov/pub/dist/doc/nifti2.h.
    """
    if suffix(path) not in NIFTI:
        return False
    try:
        headers = [path] if suffix(path) not in PAIRS or suffix(path) == ".hdr" else voxel_files(path)
        return any(_first_number(header) == _NIFTI_2_HEADER for header in headers)
    except (OSError, EOFError, zlib.error, struct.error):
        return False


def _first_number(path: Path) -> int:
    """Return the whole number that a file's first four bytes are, in the order of bytes that makes it smaller."""
    with open(path, "rb") as file:
        compressed = _is_gzip(file)
    with gzip.open(path) if compressed else open(path, "rb") as file:
        start = file.read(4)
    return min(struct.unpack(order + "i", start)[0] for order in "<>")


def _check_nifti(path: Path) -> None:
    header_file = voxel_file = path
    if suffix(path) in PAIRS:
        others = voxel_files(path)
        if not others:
            raise OSError(f"{path} lacks its other file")
        header_file, voxel_file = (path, others[0]) if suffix(path) == ".hdr" else (others[0], path)
    with open(voxel_file, "rb") as file:
        if _is_gzip(file):
            length, start = _inflated(file)
        else:
            length, start = voxel_file.stat().st_size, file.read(_NIFTI_HEADER)
    if header_file != voxel_file:
        start = header_file.read_bytes()
    stated = _stated_bytes(start, least=_NIFTI_HEADER if header_file == voxel_file else 0)
    if length < stated:
        raise OSError(f"{path} holds {length} bytes of {stated}")


def _stated_bytes(header: bytes, least: int) -> int:
    """Return where the last voxel ends after a header of NIfTI-1 or Analyze 7.5, in bytes.

    https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h: dim, bitpix and vox_offset.

    :param least: Where the first voxel begins at least.
    """
    order = "<" if struct.unpack_from("<i", header)[0] == _NIFTI_HEADER else ">"
    axes, *lengths = struct.unpack_from(order + "8h", header, 40)
    (bits,) = struct.unpack_from(order + "h", header, 72)
    (offset,) = struct.unpack_from(order + "f", header, 108)
    first = max(int(offset), least) if math.isfinite(offset) else least
    return first + math.prod(max(1, length) for length in lengths[:axes]) * (bits // 8)


def _check_metaimage(path: Path) -> None:
    with open(path, "rb") as file:
        header = file.read(LONGEST_HEADER)
        before = _METAIMAGE_BEFORE_VOXELS.search(header)
        if not _METAIMAGE_COMPRESSED.search(header[: before.end() if before else None]):
            return
        if before:
            file.seek(before.end())
            _inflated(file)
            return
    skipped = _METAIMAGE_SKIPPED.search(header)
    _check_streams(path, int(skipped.group(1)) if skipped else 0)


def _check_nrrd(path: Path) -> None:
    with open(path, "rb") as file:
        start = file.read(LONGEST_HEADER)
        before = _NRRD_BEFORE_VOXELS.search(start)
        header = start[: before.end() if before else None]
        if not _NRRD_COMPRESSED.search(header) or _NRRD_SKIPS.search(header):
            return
        if before and not voxel_files(path):
            file.seek(before.end())
            _inflated(file)
            return
    _check_streams(path, 0)


def _check_streams(path: Path, skipped: int) -> None:
    """Read the streams in the files that a header names to their ends."""
    for place in voxel_files(path):
        with open(place, "rb") as file:
            file.seek(skipped)
            _inflated(file)


def _is_gzip(file: BinaryIO) -> bool:
    found = file.read(len(_GZIP)) == _GZIP
    file.seek(0)
    return found


def _inflated(file: BinaryIO) -> Tuple[int, bytes]:
    """Read a zlib stream or the gzip streams that follow from here to the end; what lies behind does not matter.

    :return: How many bytes they hold, and the first of them, as many as a header of NIfTI has.
    :raises zlib.error: when bytes were changed.
    :raises OSError: when it ends early.
    """
    length, start, block = 0, b"", b""
    while True:
        stream = zlib.decompressobj(_ZLIB_OR_GZIP)
        while not stream.eof:
            block = block or file.read(_BLOCK)
            if not block:
                raise OSError("the compressed voxels end early")
            inflated = stream.decompress(block)
            block = b""
            length += len(inflated)
            start += inflated[: _NIFTI_HEADER - len(start)]
        block = stream.unused_data
        if len(block) < len(_GZIP):
            block += file.read(_BLOCK)
        if not block.startswith(_GZIP):
            return length, start
