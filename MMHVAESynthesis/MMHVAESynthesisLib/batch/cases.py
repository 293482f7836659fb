"""What a case is: a name, and files by modality."""

import os
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Dict, Iterable, List, Mapping, Tuple

from ..errors import InputError
from ..outputs import NO_FILE_NAME
from ..paths import check_letters
from .case_folder import REPORT, TABLE

CASES = "cases"
"""The stage of progress that counts cases."""

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_LONGEST = 100
_MOST_BYTES = 190
"""With what is put before and behind it while its results are made, a folder's name has 255 at most."""


@dataclass(frozen=True)
class Case:
    """One patient, or one session.

    :param name: What its folder and its files will be called.
    :param inputs: ``{modality: file}``, lying on one another: what is synthesised from.
    :param preoperative: ``{modality: file}``, lying on one another, of the MR to register, or to compare with.
    :param notes: What the user has to see: guesses that were made, files that were left out.
    :param problem: Why nothing can be done; empty when something can.
    """

    name: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    preoperative: Mapping[str, str] = field(default_factory=dict)
    notes: Tuple[str, ...] = ()
    problem: str = ""


def problem_of(case: Case, register: bool) -> str:
    """Return why nothing can be done with a case; empty where something can.

    :param register: Whether its pre-operative MR is to be registered. An input that is that very MR would lie where the
        MR lies: the synthetic MR made from it would be found there too, wherever the brain is.
    """
    if case.problem or not register:
        return case.problem
    inputs = {place(file) for file in case.inputs.values()}
    both = [file for file in case.preoperative.values() if place(file) in inputs]
    return f"{both[0]} is given as an input and as pre-operative: synthesise from the ultrasound alone." if both else ""


def place(file: str) -> str:
    """Return the one name of a file or folder, whatever links and roundabout ways lead to it."""
    return os.path.normcase(os.path.realpath(os.path.expanduser(file)))


def checked_name(name: str) -> str:
    """Return ``name`` if it can be a folder's on every system.

    :raises InputError: when it cannot; the message says why.
    """
    if not name or len(name) > _LONGEST:
        raise InputError(f"A case's name must have 1 to {_LONGEST} characters, not {len(name)}: {name[:40]!r}.")
    if len(name.encode("utf-8", "surrogatepass")) > _MOST_BYTES:
        raise InputError(
            f"The case {name[:40]!r}... cannot have this name: give it at most {_MOST_BYTES} bytes (a letter with an "
            "accent has 2, others up to 4)."
        )
    if NO_FILE_NAME.search(name) or name[0] in ". " or name[-1] in ". " or _RESERVED.fullmatch(name):
        raise InputError(
            f"The case {name!r} cannot have this name, which is to be a folder's: leave out "
            '< > : " / \\ | ? *, dots and blanks at the ends, and the names that Windows reserves.'
        )
    if folder_identity(name) in (REPORT, TABLE):
        raise InputError(f"The case {name!r} cannot have this name, which the batch's report has: choose another.")
    check_letters(name, InputError)
    return name


def folder_identity(name: str) -> str:
    """Return what two names have in common that mean one folder on some system."""
    return unicodedata.normalize("NFC", name).casefold()


def check_distinct(cases: Iterable[Case]) -> None:
    """Raise :class:`InputError` where two cases would share a folder on some system."""
    seen: Dict[str, str] = {}
    for case in cases:
        same = folder_identity(case.name)
        if same in seen:
            raise InputError(
                f"Two cases are called {seen[same]!r} and {case.name!r}: give each case a name of its own."
            )
        seen[same] = case.name


def usable(cases: List[Case]) -> List[Case]:
    """Return ``cases`` if there are any and their names are apart.

    :raises InputError: otherwise.
    """
    if not cases:
        raise InputError("There is no case: give a table with one case a line, or a folder with one folder a case.")
    check_distinct(cases)
    return cases
