"""The record beside synthetic volumes: how each of them was made, though several runs wrote into one folder.

It is the provenance of the last run, with the names of the volumes that this one wrote under ``files``. Those of former
runs of which a volume was not replaced since are listed under ``earlier``, the newest first, each with its ``files``.
"""

import json
from pathlib import Path
from typing import Any, Collection, Dict, List, Mapping, Sequence

from ..modalities import LABELS
from ..volumes.files import WRITABLE

FILES, _EARLIER = "files", "earlier"

Run = Dict[str, Any]


def runs(file: Path) -> List[Run]:
    """Return what a record says of each run, the last one first; nothing where there is no such file.

    :raises ValueError: where the file is no record.
    """
    try:
        if not file.exists():
            return []
        record = json.loads(file.read_text(encoding="utf-8"))
        found = [{key: value for key, value in record.items() if key != _EARLIER}, *record.get(_EARLIER, ())]
        for run in found:
            run[FILES] = list(run[FILES]) if FILES in run else _volumes_of(run, file)
            reference(run)
    except (OSError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is no record of a synthesis") from error
    return found


def reference(run: Mapping[str, Any]) -> str:
    """Return the file of the input whose grid and mask a run's volumes have."""
    return str(run["inputs"][run["reference"]])


def _volumes_of(run: Mapping[str, Any], file: Path) -> List[str]:
    """Return the volumes of a record that does not name them, as they were before: those that are there."""
    start = file.name[: -len(file.suffix)]
    names = [f"{start}-{LABELS.get(target, target)}" for target in run["targets"]]
    endings = [more + ending for more in ("", "-uncertainty") for ending in WRITABLE]
    return [name + end for name in names for end in endings if (file.parent / (name + end)).exists()]


def text(provenance: Mapping[str, Any], files: Sequence[str], former: Sequence[Run], gone: Collection[str]) -> str:
    """Return the record as JSON.

    :param provenance: Of the run that is done.
    :param files: Names of the volumes that it wrote.
    :param former: From :func:`runs`, before it.
    :param gone: Names of volumes that it removed.
    """
    replaced = {*files, *gone}
    earlier = [{**run, FILES: [name for name in run[FILES] if name not in replaced]} for run in former]
    record = {**provenance, FILES: list(files), _EARLIER: [run for run in earlier if run[FILES]]}
    if not record[_EARLIER]:
        del record[_EARLIER]
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"
