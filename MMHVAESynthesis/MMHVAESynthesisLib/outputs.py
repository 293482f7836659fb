"""What a command writes: refused before any work where it is there already, and no folder made for nothing."""

import os
import re
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Dict, Iterable, Iterator, Sequence, Union

from .errors import OutputError

_NO_FILE_NAME = re.compile(r'[<>:"/\\|?*\x00-\x1f]')

_LONGEST = 255
"""Bytes of a file's name, on nearly all systems."""
_ROOM = 55
"""Bytes for what is put behind the name that is given: the contrast, the ending."""


def check_absent(targets: Iterable[Path], overwrite: bool, otherwise: str, why: str = "") -> None:
    """Raise :class:`OutputError` where a file is there already, unless it may be overwritten, or a folder.

    :param otherwise: What to choose instead, as the message says it: ``another folder``.
    :param why: A part of the message on how the file came to be there.
    :raises OutputError: also where a name is too long for a file.
    """
    there = [target for target in targets if _is_there(target)]
    folders = [target for target in there if target.is_dir()]
    if folders:
        raise OutputError(f"{folders[0]} is a folder, where a file is to be written: choose {otherwise}, or remove it.")
    if there and not overwrite:
        more = f", and {len(there) - 1} more of the results" if there[1:] else ""
        raise OutputError(
            f"{there[0]} is there already{why}{more}: choose {otherwise}, or give --overwrite to replace it."
        )


def _is_there(target: Path) -> bool:
    """Return whether a file is there already; raise :class:`OutputError` where none of that name can be."""
    length = _length(target.name)
    if length > _LONGEST:
        raise OutputError(
            f"{target.name[:40]}... is too long for a file's name, {length} bytes: choose one of {_LONGEST} at most."
        )
    try:
        return target.exists()
    except OSError as error:
        raise OutputError(f"Cannot write {target}: {error.strerror or error}. Choose another place for it.") from error


def _length(name: str) -> int:
    """Return how many bytes a file's name takes: most systems count these, not letters."""
    return len(name.encode("utf-8", "surrogatepass"))


def check_no_inputs(targets: Iterable[Path], inputs: Iterable[Union[str, Path]], otherwise: str) -> None:
    """Raise :class:`OutputError` where a file to be written is one of those that are read, whatever they are called.

    :param otherwise: What to choose instead, as the message says it: ``another name for the output``.
    """
    read = [Path(source).expanduser() for source in inputs]
    for target in targets:
        if any(_same(target, source) for source in read):
            raise OutputError(f"{target} is one of the inputs: choose {otherwise}.")


def _same(target: Path, source: Path) -> bool:
    try:
        # Where capital letters do not count, or a file has two names, the paths differ.
        return target.resolve() == source.resolve() or os.path.samefile(target, source)
    except OSError:
        return False


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


@contextmanager
def put_in_place(targets: Sequence[Path]) -> Iterator[Dict[Path, Path]]:
    """Yield for each target where to write it; when all are written they are put in place, in the order given.

    When the block raises nothing of them is left, and what was there before stays.

    :raises OutputError: when no file can be made in a target's folder, or a target, such as one that is open under
        Windows, cannot be replaced: those before it are.
    """
    with ExitStack() as stack:
        try:
            beside = {
                folder: Path(stack.enter_context(TemporaryDirectory(prefix=".mmhvae-", dir=folder)))
                for folder in {target.parent for target in targets}
            }
        except OSError as error:
            raise OutputError(
                f"Cannot write {targets[0]}: {error.strerror or error}. Choose another folder."
            ) from error
        parts = {target: beside[target.parent] / target.name for target in targets}
        yield parts
        for target, part in parts.items():
            try:
                os.replace(part, target)
            except OSError as error:
                raise OutputError(
                    f"{target} could not be written: {error.strerror or error}. Is it open in another program?"
                ) from error


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
    check_length(name)


def check_length(name: str) -> None:
    """Raise :class:`OutputError` where the names of files that begin with ``name`` would be too long."""
    most = _LONGEST - _ROOM
    if _length(name) > most:
        raise OutputError(
            f"{name[:40]}... is too long for the names of files: give one of at most {most} bytes with --name (a "
            "letter with an accent has 2, others up to 4)."
        )
