"""The files of an evaluation in their folder: which they are, and how they take the place of former ones."""

import json
from contextlib import contextmanager
from pathlib import Path
from typing import Iterable, Iterator, List, Sequence

from .. import outputs

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
        figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        sweeps, real = (list(figures["cases"][name]) for name in ("sweeps", "real iUS"))
        simulated = figures.get("simulated_us", {}).get("which", ())
        paired = [case for number, case in enumerate(sweeps) if f"{number} {case}" not in simulated]
        names = picture_names(sweeps, real, [*real, *paired])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return [name for name in names if Path(name).name == name]


def picture_names(sweeps: Sequence[str], real: Sequence[str], temperature: Sequence[str]) -> List[str]:
    """Return the names of all pictures that there may be of an evaluation, by the cases that they are of."""
    of_sweeps = [name.format(number, case) for number, case in enumerate(sweeps) for name in (SWEEP, LATENTS)]
    of_cases = ((REAL, real), (TEMPERATURE, temperature))
    return [*of_sweeps, *(name.format(title) for name, cases in of_cases for title in titles(cases))]


def titles(cases: Sequence[str]) -> List[str]:
    """Return the names of cases, with a number where a case before is called the same."""
    found: List[str] = []
    for case in cases:
        title, number = case, 1
        while title in found:
            number += 1
            title = f"{case}-{number}"
        found.append(title)
    return found


@contextmanager
def put_in_place(folder: Path, overwrite: bool) -> Iterator[Path]:
    """Give a folder to write results into, and put them into ``folder`` at the end of the block, the figures last.

    Former results are removed then, so that no picture of another evaluation stays beside the figures of this one.

    :raises OutputError: when a file is there that may not be overwritten, or cannot be: nothing is changed then.
    """
    with outputs.hidden_folders([folder]) as beside:
        part = beside[folder]
        yield part
        files = sorted(part.iterdir(), key=lambda each: (each.name == FIGURES, each.name))
        parts = {folder / file.name: file for file in files}
        old = former(folder)
        check_absent([*old, *parts], overwrite)
        outputs.replace(parts, [file for file in old if file not in parts], beside)


def check_absent(files: Iterable[Path], overwrite: bool) -> None:
    """Raise :class:`OutputError` where a result is there already, unless it may be overwritten, or a folder."""
    outputs.check_absent(dict.fromkeys(files), overwrite, "another folder")
