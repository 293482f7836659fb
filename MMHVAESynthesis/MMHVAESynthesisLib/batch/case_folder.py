"""A case's folder of results: made beside and put in place whole, and recognised as finished later on.

``provenance.json`` in it says how the results were made: inputs with their digests, the model with its digest,
settings, versions, seconds, and the sha256 of every other file of the folder.
"""

import hashlib
import json
import os
import re
import shutil
import uuid
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

from ..errors import InputError, OutputError
from ..volumes.files import voxel_files

PROVENANCE = "provenance.json"
REPORT, TABLE = "report.html", "report.csv"
FORMAT = 1

_UNFINISHED = re.compile(r"\.(?P<case>.+)\.[0-9a-f]{32}\.(part|old)")


def is_results(folder: Path) -> bool:
    """Return whether a folder holds results: of a case, or those of a batch with its report."""
    return (folder / PROVENANCE).is_file() or all((folder / name).is_file() for name in (REPORT, TABLE))


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
        try:
            found[modality] = {"file": str(file), "sha256": _digest(Path(file))}
        except FileNotFoundError as error:
            raise InputError(f"{file} does not exist: check the name of the file.") from error
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error
    return found


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


def is_finished(folder: Path, wanted: Mapping[str, Any]) -> bool:
    """Return whether a folder holds, unharmed, the results that a provenance like ``wanted`` stands for."""
    there = read_provenance(folder)
    if there is None or identity(there) != identity(wanted):
        return False
    try:
        return all(sha256(folder / name) == digest for name, digest in there["outputs"].items())
    except (OSError, AttributeError):
        return False


class CaseFolder:
    """``with CaseFolder(output, name) as part:`` makes a hidden folder; :meth:`publish` puts it in place."""

    def __init__(self, output: Path, name: str):
        self._output, self._name = output, name
        self._part = output / f".{name}.{uuid.uuid4().hex}.part"

    @property
    def path(self) -> Path:
        """The folder in place."""
        return self._output / self._name

    def __enter__(self) -> Path:
        self.clear()
        self._part.mkdir()
        return self._part

    def __exit__(self, *_) -> None:
        shutil.rmtree(self._part, ignore_errors=True)

    def clear(self) -> None:
        """Remove what a run that was killed left of this case; former results that it had moved aside come back."""
        for path in list(self._output.iterdir()):
            unfinished = _UNFINISHED.fullmatch(path.name)
            if unfinished and unfinished.group("case") == self._name:
                if unfinished.group(2) == "old" and not self.path.exists():
                    self._bring_back(path)
                else:
                    shutil.rmtree(path, ignore_errors=True)

    def publish(self, provenance: Mapping[str, Any]) -> None:
        """Write the provenance, with the digests of all files, and put the folder in place of a former one.

        :raises OutputError: when that cannot be done.
        """
        digests = {path.name: sha256(path) for path in sorted(self._part.iterdir())}
        text = json.dumps({**provenance, "outputs": digests}, indent=1, ensure_ascii=False)
        former = self._part.with_suffix(".old")
        try:
            with open(self._part / PROVENANCE, "w", encoding="utf-8", newline="\n") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            if self.path.exists():
                os.replace(self.path, former)
            os.replace(self._part, self.path)
        except OSError as error:
            kept = self._bring_back(former)
            raise OutputError(f"Cannot put the results into {self.path}: {error.strerror or error}.{kept}") from error
        shutil.rmtree(former, ignore_errors=True)

    def _bring_back(self, former: Path) -> str:
        """Put former results back; return a sentence that says where they are if that fails."""
        try:
            if former.exists() and not self.path.exists():
                os.replace(former, self.path)
        except OSError:
            return f" The former ones are in {former}."
        return ""
