"""Where the results of a batch go, looked at before any work: nothing of the user's may be there."""

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, Sequence

from ..errors import OutputError
from ..paths import check_letters
from .case_folder import REPORT, TABLE, is_ours
from .cases import Case, place
from .page import TITLE

_HOW = "Choose another folder for the results (--output-dir), or move it away."
_START_OF_TABLE = re.compile(r'"?case"?[,;\t]"?state\b')
_START = 4096
"""Bytes of a report that tell what it is."""


def placed(cases: Sequence[Case], output: Path) -> List[Case]:
    """Return the cases; those whose folder of results has something of the user's in it with that as their problem.

    :raises OutputError: when a file is where the report is written, and is no report, or volumes cannot be written
        below a folder of such a name.
    """
    check_letters(output, OutputError)
    for path in (output / TABLE, output / REPORT):
        if os.path.lexists(path) and not _is_report(path):
            raise OutputError(
                f"{path} is there already and is no report of a batch, which would replace it: choose another folder "
                "for the results (--output-dir), or give the file another name."
            )
    read_from = _folders_of_inputs(cases)
    return [case if case.problem else replace(case, problem=_in_the_way(case, output, read_from)) for case in cases]


def _is_report(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            start = file.read(_START).decode("utf-8-sig", errors="replace")
    except OSError:
        return False
    return bool(_START_OF_TABLE.match(start)) if path.name == TABLE else f"<title>{TITLE}</title>" in start


def _folders_of_inputs(cases: Sequence[Case]) -> Dict[Path, str]:
    """Return all folders above the cases' files, by their real names, each with one of these files."""
    files = [file for case in cases for file in (*case.inputs.values(), *case.preoperative.values())]
    return {folder: file for file in files for folder in Path(place(file)).parents}


def _in_the_way(case: Case, output: Path, read_from: Dict[Path, str]) -> str:
    """Return what keeps a case's results from being put in place; empty where nothing does."""
    folder = output / case.name
    inside = read_from.get(Path(place(str(folder))))
    if inside is not None:
        return (
            f"{inside} lies in {folder}, the folder of this case's results: choose another folder for the results "
            "(--output-dir)."
        )
    if not os.path.lexists(folder) or is_ours(folder, case.name):
        return ""
    if not folder.is_dir():
        return f"{folder} is there already and is no folder of results. {_HOW}"
    try:
        # Hidden files, as file managers leave them in a folder that looks empty, stay where they are.
        found = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        return f"{folder} is there already and cannot be read: {error.strerror or error}. {_HOW}"
    return f"{folder} is there already and holds no results of a batch, but {found[0]}. {_HOW}" if found else ""
