"""Cases from a folder, by the names of its files.

- One folder a case: its name is the case's, its files are looked at down to the last folder (BIDS: ``sub-01/anat``,
  ``sub-01/ses-pre/anat``); BIDS' ``derivatives``, ``sourcedata`` and ``code`` are left out.
- All files in one folder: a file's name begins with the case's up to its first figures (``ReMIND-001-3D_AX_T2``,
  ``Case27-US-before.nii.gz``), or as BIDS has it (``sub-01_T2w.nii.gz``).

What a file shows is guessed from its name (``modalities.recognise``). Every guess is noted. Of several files of a case
that look like one modality, the one is taken whose name says that it was taken before (``USpredura``, ``US-before``,
``preop``); where not exactly one does, the case is a problem and not a choice.
"""

import os
import re
from pathlib import Path
from typing import Dict, List, Optional, Set, Tuple, Union

from ..errors import InputError
from ..modalities import MODALITIES, US, is_preoperative, label, labels, recognise
from ..volumes import files
from .cases import Case, checked_name, usable

_READABLE = (*files.WRITABLE, ".nhdr", ".mhd")
_LEFT_OUT = ("derivatives", "sourcedata", "code")
_POSTOPERATIVE = re.compile(r"\bpost ?op\w*\b")
_BEFORE = re.compile(r"\b(us ?)?(pre|pre ?op\w*|pre ?dura\w*|before)\b")
_START = re.compile(r"(sub-[A-Za-z0-9]+|[^0-9]*[0-9]+)[ _.-]")
_HOW = "Register it (--register), or say in a table what lies on the ultrasound."


def find_cases(source: Union[str, Path], register: bool = False, results: Union[str, Path, None] = None) -> List[Case]:
    """Return the cases of a folder, by name.

    :param register: Whether the MR is pre-operative, to be registered; otherwise it lies on the ultrasound and is
        synthesised from.
    :param results: Where results are written: no case, should it lie in the folder.
    :raises InputError: when there is no such folder, or no case in it.
    """
    folder = Path(os.path.abspath(Path(source).expanduser()))
    results = None if results is None else Path(os.path.abspath(Path(results).expanduser()))
    if results == folder:
        raise InputError(f"The cases and the results cannot lie in one folder, {folder}: choose another for results.")
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error
    groups = {path.name: _volumes(path, results) for path in entries if path.is_dir() and _is_case(path)}
    groups = {name: volumes for name, volumes in groups.items() if volumes} or _by_start(_volumes(folder, None, "*"))
    return usable([_case(name, volumes, folder, register) for name, volumes in sorted(groups.items())])


def _is_case(path: Path) -> bool:
    return not path.name.startswith(".") and path.name not in _LEFT_OUT


def _volumes(folder: Path, results: Optional[Path], pattern: str = "**/*") -> List[Path]:
    return sorted(
        path
        for path in folder.glob(pattern)
        if files.suffix(path) in _READABLE
        and path.is_file()
        and not path.name.startswith(".")
        and results not in path.parents
    )


def _by_start(volumes: List[Path]) -> Dict[str, List[Path]]:
    groups: Dict[str, List[Path]] = {}
    for path in volumes:
        start = _START.match(path.name)
        # Without figures before the modality a file says nothing of its case: each is a case, and so a visible one.
        name = start.group(1) if start and recognise(start.group(1)) is None else files.stem(path)
        groups.setdefault(name, []).append(path)
    return groups


def _case(name: str, volumes: List[Path], folder: Path, register: bool) -> Case:
    name = checked_name(name)
    every, unknown = _recognised(name, volumes)
    elsewhere = [] if register else _lying_elsewhere(every)
    every = {m: [path for path in paths if path not in elsewhere] for m, paths in every.items()}
    found = {m: _before_others(paths, folder) for m, paths in every.items() if paths}
    later = [path for m, paths in every.items() for path in paths if path not in found.get(m, ())]
    twice = [f"{label(m)} ({', '.join(_shown(p, folder) for p in paths)})" for m, paths in found.items() if paths[1:]]
    if twice:
        return Case(name, problem=f"Several volumes look like {'; '.join(twice)}: say which one in a table.")
    chosen = {modality: str(paths[0]) for modality, paths in found.items()}
    inputs = {m: file for m, file in chosen.items() if m == US or not register}
    preoperative = {m: file for m, file in chosen.items() if m not in inputs}
    notes = _notes(chosen, {*unknown, *later}, elsewhere, folder)
    return Case(name, inputs, preoperative, notes, _problem(chosen, inputs, volumes, folder))


def _lying_elsewhere(found: Dict[str, List[Path]]) -> List[Path]:
    """Return the MR that by its own name is from before or after the operation: it does not lie on an ultrasound.

    A folder of that name says less: ReMIND's holds MR that its navigation put in place.
    """
    if US not in found:
        return []
    mr = [path for m, paths in found.items() if m != US for path in paths]
    return [p for p in mr if is_preoperative(p.name) or _POSTOPERATIVE.search(_words(p, p.parent))]


def _notes(chosen: Dict[str, str], unused: Set[Path], elsewhere: List[Path], folder: Path) -> Tuple[str, ...]:
    """Say what was guessed and what was left out, in a sentence each."""
    guessed = ", ".join(f"{label(m)} is '{_shown(Path(file), folder)}'" for m, file in chosen.items())
    left_out = ", ".join(_shown(path, folder) for path in sorted(unused))
    shown = ", ".join(_shown(path, folder) for path in elsewhere)
    return (
        *([f"Guessed from the names of files: {guessed}."] if guessed else []),
        *([f"Not used: {left_out}."] if left_out else []),
        *([f"Pre- or post-operative by name, so not on the ultrasound: {shown}. {_HOW}"] if elsewhere else []),
    )


def _before_others(paths: List[Path], folder: Path) -> List[Path]:
    """Return the one of several volumes of a modality that was taken first, by its name; all where none stands out.

    The models know the brain before the dura is opened.
    """
    first = [path for path in paths if _BEFORE.search(_words(path, folder))]
    return first if len(first) == 1 else paths


def _recognised(name: str, volumes: List[Path]) -> Tuple[Dict[str, List[Path]], List[Path]]:
    """Return the files by modality, in the modalities' order, and those that look like none."""
    guesses = [(_guess(name, path), path) for path in volumes]
    found = {m: [path for guess, path in guesses if guess == m] for m in MODALITIES}
    return {m: paths for m, paths in found.items() if paths}, [path for guess, path in guesses if guess is None]


def _guess(case: str, path: Path) -> Optional[str]:
    # The case's own name may hold anything, "T2-study" too, and says nothing of the file.
    rest = path.name[len(case) :] if path.name.startswith(case) else path.name
    return recognise(rest if rest.strip("-_. ") else path.name)


def _problem(chosen, inputs, volumes: List[Path], folder: Path) -> str:
    if inputs:
        return ""
    if chosen:
        return f"There is no ultrasound to register to, only {labels(chosen)}."
    shown = ", ".join(_shown(path, folder) for path in volumes[:5])
    return f"No volume looks like {labels(MODALITIES)} by its name ({shown}): name the files in a table."


def _words(path: Path, folder: Path) -> str:
    return re.sub(r"[^a-z0-9]+", " ", _shown(path, folder).lower())


def _shown(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
