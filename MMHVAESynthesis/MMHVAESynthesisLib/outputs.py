"""What a command writes: refused before any work where it is there already, and no folder made for nothing."""

import logging
import os
import re
import shutil
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, Mapping, Sequence, Union

from .errors import MMHVAEError, OutputError
from .paths import expanded, move

log = logging.getLogger(__name__)

_FORMER = "former"
"""In a hidden folder: where files are kept that are being replaced."""

NO_FILE_NAME = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
"""What some system does not allow in the name of a file or folder."""

_LONGEST = 255
"""Bytes of a file's name, on nearly all systems."""
_ROOM = 55
"""Bytes for what is put behind the name that is given: the contrast, the ending."""


def check_absent(
    targets: Iterable[Path], overwrite: bool, otherwise: str, why: Callable[[Path], str] = lambda _: ""
) -> None:
    """Raise :class:`OutputError` where a file is there already, unless it may be overwritten, or a folder.

    :param otherwise: What to choose instead, as the message says it: ``another folder``.
    :param why: Returns a part of the message on how a file came to be there.
    :raises OutputError: also where a name is too long for a file.
    """
    there = [target for target in targets if _is_there(target)]
    folders = [target for target in there if target.is_dir()]
    if folders:
        raise OutputError(f"{folders[0]} is a folder, where a file is to be written: choose {otherwise}, or remove it.")
    if there and not overwrite:
        more = f", and {len(there) - 1} more of the results" if there[1:] else ""
        raise OutputError(
            f"{there[0]} is there already{why(there[0])}{more}: choose {otherwise}, or give --overwrite to replace it."
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
    read = [expanded(source) for source in inputs]
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
    paths = [expanded(folder).absolute() for folder in folders]
    absent = {each for path in paths for each in (path, *path.parents) if not each.exists()}
    try:
        yield
    except BaseException:
        for path in sorted(absent, key=lambda each: len(each.parts), reverse=True):
            with suppress(OSError):
                path.rmdir()
        raise


@contextmanager
def put_in_place(targets: Sequence[Path], gone: Iterable[Path] = ()) -> Iterator[Dict[Path, Path]]:
    """Yield for each target where to write it; when all are written they are put in place, see :func:`replace`.

    When the block raises nothing of them is left, and what was there before stays.

    :raises OutputError: also when the block cannot write.
    """
    gone = list(gone)
    with hidden_folders(target.parent for target in (*targets, *gone)) as beside:
        parts = {target: beside[target.parent] / target.name for target in targets}
        try:
            with named_as({hidden: folder for folder, hidden in beside.items()}):
                yield parts
        except OSError as error:
            raise OutputError(f"Cannot write into {targets[0].parent}: {error.strerror or error}.") from error
        replace(parts, gone, beside)


@contextmanager
def named_as(places: Mapping[Path, Path]) -> Iterator[None]:
    """Name in the errors of the block what lies in a hidden folder by where it belongs.

    :param places: ``{hidden folder: folder in which its files are put}``.
    """
    try:
        yield
    except MMHVAEError as error:
        said = str(error)
        for hidden, folder in places.items():
            said = said.replace(str(hidden), str(folder))
        if said == str(error):
            raise
        raise type(error)(said) from error


@contextmanager
def hidden_folders(folders: Iterable[Path]) -> Iterator[Dict[Path, Path]]:
    """Yield a hidden folder in each of the folders; they are removed at the end, but for those taken out of the dict.

    A folder that is not there is made: another run that failed meanwhile may have removed it as its own, being empty.

    :raises OutputError: when one cannot be made.
    """
    beside: Dict[Path, Path] = {}
    try:
        for folder in dict.fromkeys(folders):
            # Not by tempfile: on Windows its folders are the user's alone, and so is what is moved out of them.
            hidden = folder / f".mmhvae-{uuid.uuid4().hex[:8]}"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                hidden.mkdir()
                beside[folder] = hidden
            except FileExistsError as error:
                raise OutputError(f"Cannot write into {folder}: it is a file. Choose a folder.") from error
            except OSError as error:
                why = error.strerror or error
                raise OutputError(f"Cannot write into {folder}: {why}. Choose another folder.") from error
        yield beside
    finally:
        for hidden in beside.values():
            shutil.rmtree(hidden, ignore_errors=True)


def replace(parts: Mapping[Path, Path], gone: Iterable[Path], beside: Dict[Path, Path]) -> None:
    """Put all files in place, in their order, and remove others; or change nothing.

    What was there before is moved aside first, the last file's first: who finds that one finds all that it is of. On
    any error it is brought back.

    :param parts: The files, by where they belong.
    :param gone: Files to remove, whether or not they are there.
    :param beside: From :func:`hidden_folders`, for the folders of all of them. A hidden folder that keeps something
        which cannot be brought back is taken out.
    :raises OutputError: when a file cannot be replaced or removed, as one that is open under Windows, or a folder is
        where one belongs.
    """
    gone = list(gone)
    check_absent([*parts, *gone], True, "another place")
    former: Dict[Path, Path] = {}
    placed: Dict[Path, Path] = {}
    at = Path()
    try:
        for at in (*reversed(list(parts)), *gone):
            if os.path.lexists(at):
                (beside[at.parent] / _FORMER).mkdir(exist_ok=True)
                former[at] = beside[at.parent] / _FORMER / at.name
                move(at, former[at])
        for at, part in parts.items():
            placed[at] = part
            move(part, at)
    except BaseException as error:
        left = _bring_back(former, placed, beside)
        if isinstance(error, OSError):
            raise OutputError(
                f"{at} could not be written: {error.strerror or error}. Is it open in another program?{left}"
            ) from error
        if left:
            log.error("Not all is as it was.%s", left)
        raise


def _bring_back(former: Mapping[Path, Path], placed: Mapping[Path, Path], beside: Dict[Path, Path]) -> str:
    """Take back what was placed, and put back what was moved aside; return in words what could not be."""
    left = []
    for target, part in placed.items():
        try:
            if not os.path.lexists(part) and os.path.lexists(target):
                move(target, part)
        except OSError:
            if target not in former:
                left.append(f" {target} is new, and could not be removed.")
    for target, aside in reversed(list(former.items())):
        try:
            if os.path.lexists(aside):
                move(aside, target)
        except OSError:
            left.append(f" The former {target.name} is kept as {aside}.")
            beside.pop(target.parent, None)
    return "".join(left)


def ending(text: str) -> str:
    """Return the ending of a file's name as it is written, ``.nrrd``, whether or not it was given with the dot."""
    text = text.strip().lower()
    return text if text.startswith(".") else f".{text}"


def check_file_name(name: str) -> None:
    """Raise :class:`OutputError` unless ``name`` can be the beginning of a file's name on every system."""
    if not name.strip() or name[0] in ". " or NO_FILE_NAME.search(name):
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
