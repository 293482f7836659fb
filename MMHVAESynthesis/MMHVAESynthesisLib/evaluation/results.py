"""The files of an evaluation in their folder: which they are, and how they take the place of former ones."""

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List

from ..errors import OutputError

FIGURES = "figures.json"
SWEEPS, HEADS = "table-sweeps", "table-heads"
"""Each is a table in two files."""

SWEEP, LATENTS = "sweep-{}-{}.png", "latents-{}-{}.png"
"""Pictures of a sweep, by its number and case."""
REAL, TEMPERATURE = "real-ius-{}.png", "temperature-{}.png"
"""Pictures of real ultrasound, by its case."""


def former(folder: Path) -> List[Path]:
    """Return the files of an evaluation that are in a folder, its figures first: tables, and the pictures of the cases
    that the figures are of. What else lies there is someone else's."""
    tables = [f"{name}.{ending}" for name in (SWEEPS, HEADS) for ending in ("csv", "md")]
    return [folder / name for name in (FIGURES, *tables, *_pictures(folder)) if (folder / name).is_file()]


def _pictures(folder: Path) -> List[str]:
    try:
        cases = json.loads((folder / FIGURES).read_text(encoding="utf-8"))["cases"]
        sweeps, real = list(cases["sweeps"]), list(cases["real iUS"])
    except (OSError, ValueError, KeyError, TypeError):
        return []
    of_sweeps = [name.format(number, case) for number, case in enumerate(sweeps) for name in (SWEEP, LATENTS)]
    return [*of_sweeps, *(name.format(case) for case in real for name in (REAL, TEMPERATURE))]


@contextmanager
def put_in_place(folder: Path) -> Iterator[Path]:
    """Give a folder to write results into, and put them into ``folder`` at the end of the block, the figures last.

    Former results are removed then, so that no picture of another evaluation stays beside the figures of this one.

    :raises OutputError: when a file cannot be put there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".mmhvae-", dir=folder))
    try:
        yield part
        try:
            for file in former(folder):
                file.unlink()
            for file in sorted(part.iterdir(), key=lambda each: each.name == FIGURES):
                os.replace(file, folder / file.name)
        except OSError as error:
            raise OutputError(f"Cannot write into {folder}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
