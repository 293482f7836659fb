"""From a run to a checkpoint that everything else can load."""

import json
from pathlib import Path
from typing import List

from ..errors import ModelError, OutputError
from ..models import checkpoint
from ..models.header import ModelHeader, read_header
from . import distributed
from .loop import Run

EXPORTED_FILE = "exported.json"
"""In the folder of the state: the digests of all weights that the run has written."""

LICENCE = "Research use only; not for clinical use. The licences of the training data apply."


def export(run: Run, path: Path, licence: str = LICENCE) -> ModelHeader:
    """Write the run's weights (the averaged ones where there are any) in float16, with how they came about.

    Their digest is kept with the state, see :func:`is_of_run`.

    :raises OutputError: when the file cannot be written.
    """
    training = {
        "config": run.config.as_dict(),
        "steps": run.step,
        "of": run.steps,
        "processes": distributed.world(),
        "hours": round(run.seconds / 3600, 2),
        "cases": run.names,
        "held_out": run.held_out,
        "started_from": run.origin,
        "validation_psnr": run.scores.rows[-1] if run.scores.rows else {},
    }
    header = ModelHeader(
        name=path.stem,
        sizes=run.config.sizes,
        spacing=run.config.data.spacing,
        skull_stripped=run.config.data.skull_stripped,
        training=training,
        licence=licence,
    )
    header = checkpoint.save(path, header, run.learner.shipped, half=True)
    _remember(header.digest, run.folder)
    return header


def is_of_run(path: Path, folder: Path) -> bool:
    """Return whether a file holds weights that the run whose state is in ``folder`` has written."""
    try:
        return read_header(path)[0].digest in _exported(folder)
    except (OSError, ModelError):
        return False


def _exported(folder: Path) -> List[str]:
    try:
        return list(json.loads((folder / EXPORTED_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return []


def _remember(digest: str, folder: Path) -> None:
    digests = [*(former for former in _exported(folder) if former != digest), digest]
    try:
        (folder / EXPORTED_FILE).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"Cannot write into {folder}: {error.strerror or error}.") from error
