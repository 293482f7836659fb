"""A case's folder of results: made beside and put in place whole, and recognised as finished later on.

``provenance.json`` in it says how the results were made: inputs with their digests, the model with its digest,
settings, versions, seconds, and the sha256 of every other file of the results. Whatever else lies in the folder is the
user's: it is never deleted, and stays there when new results take the place of the former ones.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Set

from ..errors import InputError, OutputError
from ..modalities import MODALITIES, label
from ..paths import move
from ..volumes.files import WRITABLE, cannot_write
from ..volumes.naming import voxel_files
from . import unfinished

log = logging.getLogger(__name__)

PROVENANCE = "provenance.json"
REPORT, TABLE = "report.html", "report.csv"
FORMAT = 1

_MOMENT, _LOOK = 1.0, 0.1
"""Seconds that another run may take to put its results in place, and between two looks."""

_LABELS = "|".join(map(label, MODALITIES))
_VOLUMES = rf"synthetic-({_LABELS})(-uncertainty)?({'|'.join(map(re.escape, WRITABLE))})|registered-({_LABELS})\.nrrd"
_PICTURES = rf"(input|synthetic|uncertainty|registered|pre-operative)-({_LABELS})\.png|checkerboard\.png"


def is_results(folder: Path) -> bool:
    """Return whether a folder holds results: of a case, whatever it is called, or those of a batch with its report."""
    # Path.is_file would raise an error where the folder may not be entered.
    return is_ours(folder) or all(os.path.isfile(folder / name) for name in (REPORT, TABLE))


def sha256(path: Path) -> str:
    """Return the sha256 of a file's content, 64 hexadecimal figures."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _digest(volume: Path) -> str:
    """Return the sha256 of a volume's file; where that is a header alone, one of it and of the files of its voxels."""
    digests = [sha256(volume), *map(sha256, voxel_files(volume))]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode("ascii")).hexdigest()


def described(files: Mapping[str, str]) -> Dict[str, Dict[str, str]]:
    """Return ``{modality: {"file": name, "sha256": digest}}`` of a case's files.

    :raises InputError: when one cannot be read.
    """
    found = {}
    for modality, file in files.items():
        with reading(file):
            found[modality] = {"file": str(file), "sha256": _digest(Path(file))}
    return found


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Raise :class:`InputError` with the reason where a case's file cannot be read in this block."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{file} does not exist: check the name of the file.") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error


def identity(provenance: Mapping[str, Any]) -> Dict[str, Any]:
    """Return what decides whether two provenances mean the same results: digests and settings, not names and places."""
    return {
        "format": provenance["format"],
        "inputs": {modality: entry["sha256"] for modality, entry in provenance["inputs"].items()},
        "preoperative": {modality: entry["sha256"] for modality, entry in provenance["preoperative"].items()},
        "model": provenance["model"]["digest"],
        "settings": provenance["settings"],
    }


def read_provenance(folder: Path) -> Optional[Dict[str, Any]]:
    """Return a folder's provenance; None where there is none that can be read."""
    try:
        content = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
        identity(content)
        return content
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def is_ours(folder: Path, case: Optional[str] = None) -> bool:
    """Return whether a folder holds a case's results, be their provenance damaged; those of any case without one."""
    try:
        return (folder / PROVENANCE).is_file() and bool(own_files(folder, case))
    except OSError:
        return False


def own_files(folder: Path, case: Optional[str]) -> Set[str]:
    """Return the names of a folder's files that this software made.

    The provenance says them; where it is damaged they are told by their names, which begin with that of the case, or
    of any case where that is None. Without a provenance, nothing is ours.
    """
    outputs = (read_provenance(folder) or {}).get("outputs")
    if isinstance(outputs, dict):
        return {PROVENANCE, *outputs}
    if not (folder / PROVENANCE).is_file():
        return set()
    start = ".+" if case is None else re.escape(case)
    ours = re.compile(rf"{start}_({_VOLUMES}|registration\.tfm)|{_PICTURES}")
    found = {path.name for path in folder.iterdir() if ours.fullmatch(path.name)}
    # Other software calls a file so too.
    return {PROVENANCE, *found} if found else set()


def is_finished(folder: Path, wanted: Mapping[str, Any]) -> bool:
    """Return whether a folder holds, unharmed, the results that a provenance like ``wanted`` stands for."""
    there = read_provenance(folder)
    if there is None or identity(there) != identity(wanted):
        return False
    try:
        return all(sha256(folder / name) == digest for name, digest in there["outputs"].items())
    except (OSError, AttributeError):
        return False


def _is_whole(folder: Path) -> bool:
    """Return whether a folder holds any results unharmed."""
    there = read_provenance(folder)
    return there is not None and is_finished(folder, there)


class CaseFolder:
    """``with CaseFolder(output, name) as part:`` makes a hidden folder; :meth:`publish` puts it in place.

    :param job: Of which the results are; see ``unfinished``.
    """

    def __init__(self, output: Path, name: str, job: Optional[str] = None):
        self._output, self._name, self._job = output, name, job or uuid.uuid4().hex[:8]
        self._part = output / unfinished.part_name(name, self._job)
        self._aside: List[Path] = []

    @property
    def path(self) -> Path:
        """The folder in place."""
        return self._output / self._name

    def __enter__(self) -> Path:
        self.clear()
        unfinished.begin(self._part)
        try:
            self._part.mkdir()
        except OSError as error:
            unfinished.end(self._part)
            raise cannot_write(self._output, error) from error
        return self._part

    def __exit__(self, *_) -> None:
        shutil.rmtree(self._part, ignore_errors=True)
        unfinished.end(self._part)

    def clear(self) -> None:
        """Remove what a run that was killed left of this case; former results that it had moved aside come back.

        What another run is at work on stays, and so do former results until whole ones are in place.
        """
        found = [each for each in unfinished.find(self._output) if each.case == self._name]
        found = [each for each in found if each.is_left_behind(self._job)]
        for each in found:
            if each.kind == unfinished.PART:
                self._remove(each.path)
        former = [each for each in found if each.kind == unfinished.OLD]
        # The first one comes back: whole ones before those that were being deleted, then the latest.
        for each in sorted(former, key=lambda each: (not _is_whole(each.path), each.age())):
            if _is_whole(self.path):
                self._let_go(each.path)
            else:
                self._bring_back(each.path)
        self._aside = [each.path for each in former]

    def _remove(self, part: Path) -> None:
        """Delete what a killed run was making; should it live after all, it cannot put the rest of it in place."""
        doomed = part.with_name(unfinished.part_name(self._name, uuid.uuid4().hex[:8]))
        try:
            os.replace(part, doomed)
        except OSError as error:
            log.debug("%s stays: %s", part, error)
            return
        shutil.rmtree(doomed, ignore_errors=True)

    def publish(self, provenance: Mapping[str, Any]) -> None:
        """Write the provenance, with the digests of all files, and put the folder in place of a former one.

        Where another run was faster with the very same, its results stay.

        :raises OutputError: when that cannot be done.
        """
        former = self._part.with_suffix("." + unfinished.OLD)
        try:
            digests = {path.name: sha256(path) for path in sorted(self._part.iterdir())}
            text = json.dumps({**provenance, "outputs": digests}, indent=1, ensure_ascii=False)
            # Where a note names a file not in UTF-8, its letters become JSON's own escapes.
            with open(self._part / PROVENANCE, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            if not self._is_there(provenance):
                self._move_aside(former)
                move(self._part, self.path)
        except OSError as error:
            if not self._comes(provenance):
                kept = self._bring_back(former)
                raise OutputError(
                    f"Cannot put the results into {self.path}: {error.strerror or error}.{kept}"
                ) from error
        for each in (former, *self._aside):
            self._let_go(each)

    def _move_aside(self, former: Path) -> None:
        """Make room where the results go; whatever is there is then called ``former``."""
        if not self.path.exists():
            return
        try:
            os.utime(self.path)  # other machines count its age from now on
        except OSError as error:
            log.debug("%s keeps its time: %s", self.path, error)
        try:
            move(self.path, former)
        except FileNotFoundError:
            log.debug("another run has just moved %s aside", self.path)

    def _comes(self, provenance: Mapping[str, Any]) -> bool:
        """Return whether another run puts the very same results in place, now or in a moment."""
        end = time.monotonic() + _MOMENT
        while not is_finished(self.path, provenance):
            if time.monotonic() >= end:
                return False
            time.sleep(_LOOK)
        return True

    def _is_there(self, provenance: Mapping[str, Any]) -> bool:
        """Return whether finished results are in place already.

        :raises OutputError: when something is there that is no folder.
        """
        if self.path.exists() and not self.path.is_dir():
            raise OutputError(f"{self.path} is there already and is no folder of results: move it away.")
        return is_finished(self.path, provenance)

    def _bring_back(self, former: Path) -> str:
        """Put former results back; return a sentence that says where they are if that fails."""
        try:
            if not os.path.lexists(self.path):
                move(former, self.path)
        except OSError as error:
            log.debug("%s stays: %s", former, error)
        return f" The former ones are in {former}." if os.path.lexists(former) else ""

    def _let_go(self, former: Path) -> None:
        """Delete former results that new ones took the place of; what else lay beside them goes back into place."""
        if not former.exists():
            return
        kept, left, stuck = [], [], []
        why = ""
        try:
            why = _how_known(former)
            ours = own_files(former, self._name)
            # The provenance goes last: should this be cut off, it says the next run what may be deleted.
            for path in sorted(former.iterdir(), key=lambda path: (path.name == PROVENANCE, path.name)):
                mine = path.name in ours and (path.is_symlink() or not path.is_dir())
                if stuck and path.name == PROVENANCE:
                    continue
                try:
                    path.unlink() if mine else kept.append(_moved(path, self.path).name)
                except OSError:
                    if os.path.lexists(path):  # else another run has just done it
                        (stuck if mine else left).append(path.name)
            # Of a link nothing but the link would go, and with it the way to what is left.
            if not left and not stuck:
                former.unlink() if former.is_symlink() else former.rmdir()
        except OSError as error:
            log.debug("%s is not empty yet: %s", former, error)
        kept = [name for name in kept if not name.startswith(".")]
        if kept:
            log.warning("Kept in %s, being no result of a batch%s: %s.", self.path, why, ", ".join(kept))
        if left:
            log.warning("Not deleted, being no result of a batch, but still in %s: %s.", former, ", ".join(left))


def _how_known(folder: Path) -> str:
    """Return, for a sentence, what says which files of a folder of former results are ours."""
    if not (folder / PROVENANCE).is_file():
        return ""
    damaged = read_provenance(folder) is None
    return f" by name (its {PROVENANCE} was damaged)" if damaged else f" by the former {PROVENANCE}"


def _moved(path: Path, folder: Path) -> Path:
    """Move a file or folder of the user's into a folder, under a name that is free there, and return where it is."""
    target, number = folder / path.name, 0
    while os.path.lexists(target):
        number += 1
        target = folder / f"former-{number}-{path.name}"
    os.replace(path, target)
    return target
