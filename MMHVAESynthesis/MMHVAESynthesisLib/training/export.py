"""From a run to a checkpoint that everything else can load."""

from pathlib import Path

from ..models import checkpoint
from ..models.header import ModelHeader
from . import distributed, exported
from .loop import Run

LICENCE = "Research use only; not for clinical use. The licences of the training data apply."


def export(run: Run, path: Path) -> ModelHeader:
    """Write the run's weights (the averaged ones where there are any) in float16, with how they came about.

    Their digest is kept with the state, see :mod:`.exported`.

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
        licence=LICENCE,
    )
    header = checkpoint.save(path, header, run.learner.shipped, half=True)
    exported.add(header.digest, run.folder)
    return header
