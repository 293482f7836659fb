"""Cases from a folder, by the names of its files.

- One folder a case: its name is the case's, its files are looked at down to the last folder (BIDS: ``sub-01/anat``,
  ``sub-01/ses-pre/anat``), but not behind links; BIDS' ``derivatives``, ``sourcedata`` and ``code`` are left out.
- All files in one folder: a file's name begins with the case's up to its first figures (``ReMIND-001-3D_AX_T2``,
  ``Case27-US-before.nii.gz``), or as BIDS has it (``sub-01_T2w.nii.gz``); a date before that (``2023-01-05_Case27_US``)
  belongs to it. One that only says what it shows is no case.
- Files beside folders of cases: both, but for those files whose names say nothing.

Results of earlier batches are no cases. A folder that holds images in other formats alone, or may not be read, is a
case with a problem. What is left out is logged.

What a file shows is guessed from its name (``modalities.recognise``), and each guess is noted; what this software calls
synthetic, previews too, shows nothing of the patient. Of several files of a case that look like one modality, the one
is taken whose name says that it was taken before (``USpredura``, ``US-before``, ``preop``); where not exactly one does,
the case is a problem and not a choice.
"""

import logging
import os
import re
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Set, Tuple, Union

from ..errors import InputError
from ..modalities import MODALITIES, US, is_preoperative, is_synthetic_name, label, labels, recognise
from ..paths import check_letters, expanded, printable
from ..volumes import files, naming
from .case_folder import is_results
from .cases import Case, checked_name, folder_identity, place, usable

log = logging.getLogger(__name__)

_READABLE = (*files.WRITABLE, ".nhdr", ".mhd")
_OTHER_FORMATS = re.compile(r"\.(dcm|dicom|ima|\d+|hdr|img|mgz|mgh|mnc|gipl|par|rec|head|brik)", re.IGNORECASE)
"""Endings; one of figures is that of a DICOM file called after its identifier."""

_NO_IMAGE = re.compile(r"readme|licen[cs]e|changes|authors|citation|makefile", re.IGNORECASE)
_LEFT_OUT = ("derivatives", "sourcedata", "code", "lost+found", "System Volume Information")
"""Folders: of BIDS, and those that systems keep on a disk and let nobody read."""

_POSTOPERATIVE = re.compile(r"\bpost ?op\w*\b")
_BEFORE = re.compile(r"\b(us ?)?(pre|pre ?op\w*|pre ?dura\w*|before)\b")
_START = re.compile(r"(sub-[A-Za-z0-9]+|[^0-9]*[0-9]+)[ _.-]")
_DATE = re.compile(r"(\d{4}([-_.])\d\d?\2\d\d?|\d\d?([-_.])\d\d?\3\d{4})[ _.-]+")
"""At the beginning of a name it does not say whose a file is: that day others were scanned too."""

_HOW = "Register it (--register), or say in a table what lies on the ultrasound."
_WHOSE = (
    "says what it shows but not, with a number before that, whose it is: give --folder the folder that holds this "
    "patient's folder, or name the files in a table."
)
_SAVE = "load a DICOM series in Slicer and save it as .nrrd."
_RIGHTS = "Give the right to read it to whoever starts the batch, or move it away."
_SHOWN = 5


def find_cases(source: Union[str, Path], register: bool = False, results: Union[str, Path, None] = None) -> List[Case]:
    """Return the cases of a folder, by name.

    :param register: Whether the MR is pre-operative, to be registered; otherwise it lies on the ultrasound and is
        synthesised from.
    :param results: Where results are written: no case, should it lie in the folder.
    :raises InputError: when there is no such folder, or no case in it.
    """
    folder = Path(os.path.abspath(expanded(source)))
    results = None if results is None else Path(place(str(results)))
    if results is not None and results == Path(place(str(folder))):
        raise InputError(f"The cases and the results cannot lie in one folder, {folder}: choose another for results.")
    try:
        entries = sorted(folder.iterdir())
        inside = [path for path in entries if path.is_dir()]
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error
    folders, problems = _looked_into(
        [path for path in inside if path.name not in _LEFT_OUT and _may_hold_cases(path, results)], results
    )
    loose = [path for path in sorted({*entries} - {*inside}) if not path.name.startswith(".")]
    groups, nobodys = _joined(folders, _by_start([path for path in loose if _is_volume(path)]))
    if nobodys and not folders and not any(_guess(name, path) for name in groups for path in groups[name]):
        raise InputError(f"{nobodys[0].name} {_WHOSE}")
    _tell("No case, since the name does not say whose it is", nobodys)
    _tell("Not read, being in another format", [path for path in loose if _looks_foreign(path)])
    return usable(
        [
            Case(name, problem=problems[name]) if name in problems else _case(name, images, folder, register)
            for name, images in sorted(groups.items())
        ]
    )


def _looked_into(folders: List[Path], results: Optional[Path]) -> Tuple[Dict[str, List[Path]], Dict[str, str]]:
    """Return the images of those folders that are cases, by name, and the problem of those that cannot be read."""
    found: Dict[str, List[Path]] = {}
    problems: Dict[str, str] = {}
    for path in folders:
        try:
            images, problem = _images(path, results), ""
        except OSError as error:
            where, why = error.filename or path, error.strerror or error
            images, problem = [], f"The folder {where} cannot be read: {why}. {_RIGHTS}"
        if any(map(_is_volume, images)) or ((images or problem) and _can_be_a_case(path.name)):
            found[path.name] = images
            problems.update({path.name: problem} if problem else {})
        elif problem:
            _tell("No case, since it cannot be read", [path])
        else:
            _tell("Not read, being in another format", images)
    return found, problems


def _may_hold_cases(path: Path, results: Optional[Path]) -> bool:
    if path.name.startswith("."):
        return False
    if results is not None and Path(place(str(path))) == results:
        if _holds_volumes(path):
            _tell("No case, being the folder for the results, though volumes lie in it", [path])
        return False
    if is_results(path):
        _tell("No case, being results of an earlier batch", [path])
        return False
    return True


def _holds_volumes(folder: Path) -> bool:
    """Return whether volumes lie in a folder that are neither results nor synthetic, at any depth."""
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not (name.startswith(".") or is_results(Path(root, name)))]
        if any(_is_volume(Path(name)) and not name.startswith(".") and not is_synthetic_name(name) for name in names):
            return True
    return False


def _images(folder: Path, results: Optional[Path]) -> List[Path]:
    """Return the volumes of a case's folder, at any depth, and its images in formats that are not read.

    :raises OSError: when a folder cannot be read.
    """
    found: List[Path] = []
    for root, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if _may_hold_cases(Path(root, name), results)]
        _tell("Not looked into, being a link to a folder", filter(os.path.islink, (Path(root, n) for n in folders)))
        found += [Path(root, name) for name in names if not name.startswith(".")]
    images = [path for path in found if _is_volume(path) or _looks_foreign(path)]
    if not images:
        _tell("No case, for want of an image in it", [folder])
    return sorted(images)


def _raise(error: OSError) -> None:
    raise error


def _can_be_a_case(name: str) -> bool:
    """Return False for the name of a folder that no case can have: without a volume it need not stop the others."""
    try:
        return bool(checked_name(name))
    except InputError:
        return False


def _is_volume(path: Path) -> bool:
    return naming.suffix(path) in _READABLE


def _looks_foreign(path: Path) -> bool:
    """Return whether a file looks like an image in a format that is not read: DICOM files often have no ending."""
    name = Path(path.name[:-3] if path.name.lower().endswith(".gz") else path.name)
    return bool(_OTHER_FORMATS.fullmatch(name.suffix) if name.suffix else not _NO_IMAGE.match(name.name))


def _joined(folders: Dict[str, List[Path]], loose: Dict[str, List[Path]]) -> Tuple[Dict[str, List[Path]], List[Path]]:
    """Return the files of all cases, and those that say what they show but not of which case they are.

    Loose ones beside folders count only where they belong to one, or a name says what they are: an atlas may lie there.
    """
    groups, nobodys = dict(folders), []
    names = {folder_identity(name): name for name in folders}
    for start, paths in loose.items():
        name = names.get(folder_identity(start), start)
        if name not in folders and recognise(start) is not None:
            nobodys += paths
        elif not folders or name in folders or any(_guess(start, path) for path in paths):
            groups[name] = [*folders.get(name, ()), *paths]
        else:
            _tell("No case, since the name says of no modality", paths)
    return groups, nobodys


def _tell(why: str, paths: Iterable[Path]) -> None:
    for path in paths:
        log.warning("%s: %s", why, path)


def _by_start(volumes: List[Path]) -> Dict[str, List[Path]]:
    groups: Dict[str, List[Path]] = {}
    for path in volumes:
        date = _DATE.match(path.name)
        start = _START.match(path.name, date.end() if date else 0)
        # Without figures before the modality a file says nothing of its case. It is called by its whole name, and so
        # seen: as what is nobody's where that says what it shows, else as a case.
        name = path.name[: start.end(1)] if start and recognise(start.group(1)) is None else naming.stem(path)
        groups.setdefault(name, []).append(path)
    return groups


def _case(name: str, images: List[Path], folder: Path, register: bool) -> Case:
    try:
        check_letters(name, InputError)
    except InputError as error:
        return Case(printable(name), problem=str(error))
    name = checked_name(name)
    volumes = [path for path in images if _is_volume(path)]
    foreign = [path for path in images if path not in volumes]
    if not volumes:
        return Case(name, problem=f"There is no NRRD, NIfTI or MetaImage in it, only {_some(foreign, folder)}: {_SAVE}")
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
    notes = _notes(chosen, {*unknown, *later}, elsewhere, foreign, folder)
    return Case(name, inputs, preoperative, notes, _problem(chosen, inputs, volumes, folder))


def _lying_elsewhere(found: Dict[str, List[Path]]) -> List[Path]:
    """Return the MR that by its own name is from before or after the operation: it does not lie on an ultrasound.

    A folder of that name says less: ReMIND's holds MR that its navigation put in place.
    """
    if US not in found:
        return []
    mr = [path for m, paths in found.items() if m != US for path in paths]
    return [p for p in mr if is_preoperative(p.name) or _POSTOPERATIVE.search(_words(p, p.parent))]


def _notes(
    chosen: Dict[str, str], unused: Set[Path], elsewhere: List[Path], foreign: List[Path], folder: Path
) -> Tuple[str, ...]:
    """Say what was guessed and what was left out, in a sentence each."""
    guessed = ", ".join(f"{label(m)} is '{_shown(Path(file), folder)}'" for m, file in chosen.items())
    left_out = ", ".join(_shown(path, folder) for path in sorted(unused))
    shown = ", ".join(_shown(path, folder) for path in elsewhere)
    return (
        *([f"Guessed from the names of files: {guessed}."] if guessed else []),
        *([f"Not used: {left_out}."] if left_out else []),
        *([f"Not read, being in another format: {_some(foreign, folder)}."] if foreign else []),
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
    if is_synthetic_name(path.name):  # a preview says what it shows, and is none of the patient's
        return None
    # The case's own name may hold anything, "T2-study" too, and says nothing of the file.
    rest = path.name[len(case) :] if path.name.startswith(case) else path.name
    return recognise(rest if rest.strip("-_. ") else path.name)


def _problem(chosen, inputs, volumes: List[Path], folder: Path) -> str:
    if inputs:
        return ""
    if chosen:
        return f"There is no ultrasound to register to, only {labels(chosen)}."
    shown = _some(volumes, folder)
    return f"No volume looks like {labels(MODALITIES)} by its name ({shown}): name the files in a table."


def _words(path: Path, folder: Path) -> str:
    return re.sub(r"[^a-z0-9]+", " ", _shown(path, folder).lower())


def _some(paths: List[Path], folder: Path) -> str:
    """Return the names of the first few files, and how many more there are."""
    more = len(paths) - _SHOWN
    return ", ".join(_shown(path, folder) for path in paths[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _shown(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
