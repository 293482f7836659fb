"""Names of files and folders as users give them, and files put in place where Windows hesitates."""

import os
import time
from pathlib import Path
from typing import Type, Union

from .errors import MMHVAEError

_PATIENCE = 5.0 if os.name == "nt" else 0.0
"""Seconds that a rename may be refused. Windows does so while a virus scanner or an indexer reads what was written."""

_LOOK = 0.1
"""Seconds between two attempts."""


def expanded(name: Union[str, Path]) -> Path:
    """Return a path with the ``~`` that it begins with as a home.

    That of nobody stays, and whoever opens it says that there is no such file; ``Path.expanduser`` raises RuntimeError.
    """
    return Path(os.path.expanduser(name))


def absolute(name: Union[str, Path]) -> str:
    """Return a file's name with its folder: one that is relative says nothing in another working folder."""
    return os.path.abspath(expanded(name))


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
