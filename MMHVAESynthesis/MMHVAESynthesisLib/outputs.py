"""What a command writes: refused before any work where it is there already, and no folder made for nothing."""

import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterable, Iterator, Union

from .errors import OutputError

_NO_FILE_NAME = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def check_absent(targets: Iterable[Path], overwrite: bool, otherwise: str, why: str = "") -> None:
    """Raise :class:`OutputError` where a file is there already, unless it may be overwritten.

    :param otherwise: What to choose instead, as the message says it: ``another folder``.
    :param why: A part of the message on how the file came to be there.
    """
    there = [target for target in targets if target.exists()]
    if there and not overwrite:
        more = f", and {len(there) - 1} more of the results" if there[1:] else ""
        raise OutputError(
            f"{there[0]} is there already{why}{more}: choose {otherwise}, or give --overwrite to replace it."
        )


@contextmanager
def no_empty_folders(*folders: Union[str, Path]) -> Iterator[None]:
    """Remove what the block made of these folders, and left empty, when it raises."""
    paths = [Path(folder).expanduser().absolute() for folder in folders]
    absent = {each for path in paths for each in (path, *path.parents) if not each.exists()}
    try:
        yield
    except BaseException:
        for path in sorted(absent, key=lambda each: len(each.parts), reverse=True):
            with suppress(OSError):
                path.rmdir()
        raise


def ending(text: str) -> str:
    """Return the ending of a file's name as it is written, ``.nrrd``, whether or not it was given with the dot."""
    text = text.strip().lower()
    return text if text.startswith(".") else f".{text}"


def check_file_name(name: str) -> None:
    """Raise :class:`OutputError` unless ``name`` can be the beginning of a file's name on every system."""
    if not name.strip() or name[0] in ". " or _NO_FILE_NAME.search(name):
        raise OutputError(
            f'The name {name!r} cannot be that of files: leave out < > : " / \\ | ? *, and dots and blanks in front; '
            "the folder is given with --output-dir."
        )
