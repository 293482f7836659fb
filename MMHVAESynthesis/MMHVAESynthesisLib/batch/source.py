"""Where a batch's cases come from: a table, or a folder."""

from pathlib import Path
from typing import List, Optional, Union

from ..errors import InputError
from .cases import Case
from .folder import find_cases
from .table import read_table


def cases_of(
    manifest: Union[str, Path, None] = None,
    folder: Union[str, Path, None] = None,
    register: bool = False,
    output_dir: Optional[Union[str, Path]] = None,
) -> List[Case]:
    """Return the cases of a table or of a folder; see :func:`table.read_table` and :func:`folder.find_cases`.

    :raises InputError: when not exactly one of the two is given, or it cannot be used.
    """
    check_one(manifest, folder)
    if output_dir is not None:
        check_where(output_dir, None)
    return find_cases(folder, register, output_dir) if manifest is None else read_table(manifest)


def check_one(manifest: Union[str, Path, None], folder: Union[str, Path, None]) -> None:
    """Raise :class:`InputError` unless exactly one of the two is given, as a path."""
    if (manifest is None) == (folder is None):
        raise InputError("Give the cases either as a table (manifest) or as a folder (folder).")
    given = folder if manifest is None else manifest
    if not isinstance(given, (str, Path)):
        raise InputError(f"{'folder' if manifest is None else 'manifest'} is a path, not {given!r}.")


def check_where(output: Union[str, Path], scheduler: Optional[str]) -> None:
    """Raise :class:`InputError` unless the place for the results is a path, and the scheduler, if any, an address."""
    if not isinstance(output, (str, Path)) or not str(output).strip():
        raise InputError(f"output_dir is the path of the folder for the results, not {output!r}.")
    if scheduler is not None and not isinstance(scheduler, str):
        raise InputError(f"scheduler is an address such as tcp://host:8786, not {scheduler!r}.")
