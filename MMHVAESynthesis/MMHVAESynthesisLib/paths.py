"""Names of files as users give them and as ITK opens them; files put in place where Windows hesitates."""

import os
import sys
import time
import uuid
from pathlib import Path
from typing import Iterator, Type, Union

from .errors import MMHVAEError

_PATIENCE = 5.0 if os.name == "nt" else 0.0
"""Seconds that a rename may be refused. Windows does so while a virus scanner or an indexer reads what was written."""

_LOOK = 0.1
"""Seconds between two attempts."""

_LONG_ON_WINDOWS = 220
"""Letters of a name with all its folders: of 259, and other names are needed there meanwhile."""


def expanded(name: Union[str, Path]) -> Path:
    """Return a path with the ``~`` that it begins with as a home.

    That of nobody stays, and whoever opens it says that there is no such file; ``Path.expanduser`` raises RuntimeError.
    """
    return Path(os.path.expanduser(name))


def absolute(name: Union[str, Path]) -> str:
    """Return a file's name with its folder: one that is relative says nothing in another working folder."""
    return os.path.abspath(expanded(name))


def for_itk(path: Path) -> str:
    """Return a name by which ITK opens a file, there or not: on Windows one of ASCII letters, where its folder has one.

    There ITK opens no other unless the program asks Windows for UTF-8: Slicer does, but not the Python beside it nor
    any other. Tried are the name as seen from the working folder and the folder's short one (8.3).
    """
    if sys.platform != "win32" or str(path).isascii():
        return str(path)
    return next(filter(str.isascii, _other_names(path)), str(path))


def _other_names(path: Path) -> Iterator[str]:
    """Yield other names by which Windows knows a file."""
    try:
        yield os.path.relpath(path)
    except ValueError:  # it lies on another drive
        pass
    folder = _short_name(os.path.dirname(os.path.abspath(path)))
    if folder:
        yield os.path.join(folder, path.name)


def _short_name(folder: str) -> str:
    """Return the short name that Windows keeps for a folder, empty where it keeps none."""
    import ctypes

    get = ctypes.WinDLL("kernel32").GetShortPathNameW
    buffer = ctypes.create_unicode_buffer(get(folder, None, 0) + 1)
    return buffer.value if get(folder, buffer, len(buffer)) else ""


def if_windows_refuses(path: Path) -> str:
    """Return a sentence, to follow others, on a name that ITK may not be able to open on Windows; empty for others."""
    if sys.platform != "win32":
        return ""
    length, said = len(absolute(path)), ""
    if length > _LONG_ON_WINDOWS:
        said += (
            f" Or it is the length of its name: {length} letters with all its folders, where Windows may allow 259, "
            "and fewer for what is written. Move it to a folder whose name is shorter."
        )
    if str(path).isascii():
        return said
    return said + (
        " Or it is its name: it has letters that the library which reads and writes images may not be able to open on "
        "Windows. Move it to a folder and a name of plain letters (a to z) and figures."
    )


def part_of(path: Path, ending: str) -> Path:
    """Return the name of a file in which ``path`` is written before it is put in place, in the same folder.

    It is short, for a name may be as long as can be, and ASCII (:func:`for_itk`).
    """
    return path.with_name(f".mmhvae-{uuid.uuid4().hex[:8]}.part{ending}")


def printable(text: Union[str, Path]) -> str:
    """Return a name, or a text with names, for any page: ``\\udc`` and two figures for what is not in UTF-8."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def check_letters(name: Union[str, Path], error: Type[MMHVAEError]) -> None:
    """Raise ``error`` where a name is not in UTF-8, as Linux allows it: SimpleITK ends the process over such a one."""
    if printable(name) != str(name):
        raise error(
            f"{printable(name)} has letters that are not in UTF-8 (those shown as \\udc..): rename the file or folder "
            "that has them."
        )


def move(source: Union[str, Path], target: Union[str, Path]) -> None:
    """Rename a file or folder, in the place of a file that is there; on Windows try for a while.

    :raises OSError: as ``os.replace``; at once where a folder is in the way.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if time.monotonic() >= end or os.path.isdir(target):
                raise
        time.sleep(_LOOK)
