"""Cases from a table: CSV in UTF-8, with a line of column names and one case a line.

======================================  ==============================================================================
column                                  what
======================================  ==============================================================================
``case``                                the case's name; its results' folder and files are called after it
``us``, ``t2``, ``cet1``, ``flair``     files to synthesise from, which lie on one another; empty where there is none
``preoperative_t2`` and so on           pre-operative MR, which is registered, or compared with as it lies
======================================  ==============================================================================

Columns are separated by commas, semicolons or tabs; a line ``sep=;`` before all others, as for Excel, says by which.
Relative file names start from the table's folder. Backslashes, as Windows writes them, are taken for slashes on other
systems, where only that gives a file.
"""

import csv
import io
import os
import re
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Union

from ..errors import InputError
from ..modalities import MODALITIES, MR
from ..paths import expanded
from ..request import modality_of
from .cases import Case, checked_name, usable

CASE, PREOPERATIVE = "case", "preoperative_"
COLUMNS = (CASE, *MODALITIES, *(PREOPERATIVE + modality for modality in MR))

_SEPARATORS = ",;\t"
_SAID = re.compile(r'"?sep=([,;\t])"?\s*', re.IGNORECASE)


def read_table(source: Union[str, Path]) -> List[Case]:
    """Return the cases of a table, in its order.

    :raises InputError: when it is absent, unreadable, has unknown columns, or a name twice. A line whose files are not
        there is a case with trouble of its own, found when its turn comes.
    """
    path = expanded(source)
    rows = _rows(_text(path), path)
    cases = []
    for number, row in rows:
        try:
            cases.append(_case(row, path.absolute().parent))
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
    return usable(cases)


def _text(path: Path) -> str:
    wrong = f"The table {path} is not in UTF-8: save it as 'CSV UTF-8', as spreadsheets offer it."
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"The table {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InputError(wrong) from error
    if "\0" in text:  # UTF-16 without its mark is valid UTF-8
        raise InputError(wrong)
    return text


def _rows(text: str, path: Path) -> List[Tuple[int, Dict[str, str]]]:
    """Return the filled lines with their numbers, by column."""
    first = text.split("\n", 1)[0]
    said = _SAID.fullmatch(first)
    separator = said.group(1) if said else max(_SEPARATORS, key=first.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        if said:
            next(reader)
        columns = [_column(name, path) for name in _without_empty_end(next(reader, []))]
        if CASE not in columns or len(set(columns)) != len(columns):
            raise InputError(
                f"The table {path} must begin with a line of column names, each once, 'case' among them. Columns: "
                f"{', '.join(COLUMNS)}."
            )
        rows = []
        for cells in reader:
            if len(cells) > len(columns) and any(cell.strip() for cell in cells[len(columns) :]):
                raise InputError(f"{path}, line {reader.line_num}: more cells than columns; is a name to be quoted?")
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, {name: cell.strip() for name, cell in zip(columns, cells)}))
        return rows
    except csv.Error as error:
        raise InputError(f"The table {path} cannot be read as CSV: {error}.") from error


def _without_empty_end(cells: List[str]) -> List[str]:
    """Return cells without the empty ones at the end, as spreadsheets write them where something once stood."""
    filled = [number for number, cell in enumerate(cells, 1) if cell.strip()]
    return cells[: max(filled, default=0)]


def _column(name: str, path: Path) -> str:
    key = name.strip().lower().replace("-", "_")
    start = PREOPERATIVE if key.startswith(PREOPERATIVE) else ""
    key = start + modality_of(key[len(start) :])
    if not key:
        raise InputError(f"The table {path} has a column without a name before others: name it, or remove it.")
    if key not in COLUMNS:
        raise InputError(f"The table {path} has an unknown column {name!r}. Columns: {', '.join(COLUMNS)}.")
    return key


def _case(row: Dict[str, str], folder: Path) -> Case:
    name = checked_name(row.get(CASE, ""))
    inputs = {modality: _file(row.get(modality), folder) for modality in MODALITIES}
    preoperative = {modality: _file(row.get(PREOPERATIVE + modality), folder) for modality in MR}
    given = {modality: file for modality, file in inputs.items() if file}
    problem = "" if given else "There is no volume to synthesise from: fill one of " + ", ".join(MODALITIES) + "."
    return Case(name, given, {modality: file for modality, file in preoperative.items() if file}, problem=problem)


def _file(cell: Optional[str], folder: Path) -> str:
    if not cell:
        return ""
    path = folder / expanded(cell)
    if os.sep == "/" and "\\" in cell and not os.path.exists(path):
        slashed = folder / expanded(cell.replace("\\", "/"))
        return str(slashed if os.path.exists(slashed) else path)
    return str(path)
