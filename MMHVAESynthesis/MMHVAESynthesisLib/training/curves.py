"""The curves of a run: one row every few steps, kept with the state, written as CSV and as a picture."""

import csv
import json
import logging
import math
from pathlib import Path
from typing import Dict, Iterable, List, Sequence

from ..paths import move

log = logging.getLogger(__name__)

Row = Dict[str, float]


class Curves:
    """Rows of numbers by name; the names may grow."""

    def __init__(self, rows: Sequence[Row] = ()):
        self.rows: List[Row] = list(rows)

    def add(self, row: Row) -> None:
        """Append a row."""
        self.rows.append(dict(row))

    def to_text(self) -> str:
        """Return the rows as JSON, for the state."""
        return json.dumps(self.rows)

    @classmethod
    def from_text(cls, text: str) -> "Curves":
        """Read what :meth:`to_text` wrote."""
        return cls(json.loads(text))

    def write(self, path: Path) -> None:
        """Write the rows as CSV, beside and then renamed; numbers that a row lacks stay empty."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        beside = path.with_name(path.name + ".part")
        with beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            for row in self.rows:
                writer.writerow({name: f"{value:.6g}" for name, value in row.items()})
        move(beside, path)


class Means:
    """Means of the terms since they were last taken, of this process's steps."""

    def __init__(self):
        self._sums: Dict[str, float] = {}
        self._counts: Dict[str, int] = {}

    def to_text(self) -> str:
        """Return the sums as JSON, for the state."""
        return json.dumps({name: [self._sums[name], self._counts[name]] for name in self._sums})

    @classmethod
    def from_text(cls, text: str) -> "Means":
        """Read what :meth:`to_text` wrote."""
        return cls.together([text])

    @classmethod
    def together(cls, texts: Iterable[str]) -> "Means":
        """Return the means over all steps of several, each as :meth:`to_text` gave it."""
        means = cls()
        for text in texts:
            for name, (total, count) in json.loads(text).items():
                means._sums[name] = means._sums.get(name, 0.0) + total
                means._counts[name] = means._counts.get(name, 0) + count
        return means

    def add(self, terms: Row) -> None:
        """Count one step's terms."""
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> Row:
        """Return the means and start anew."""
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means


def draw(losses: Curves, validation: Curves, path: Path) -> None:
    """Draw both curves into a PNG: the terms of the loss, and the PSNR of each pair of input and target, in dB.

    Without rows there is nothing to draw; without matplotlib nothing is drawn, and the log says so.
    """
    if not losses.rows and not validation.rows:
        return
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        log.info("The curves are not drawn: matplotlib is not installed.")
        return
    figure = Figure(figsize=(14, 6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for name in ("l1", "l2", "kl", "gan", "discriminator"):
        _plot(left, losses, name, {})
    left.set(xlabel="step", yscale="log", title="terms of the loss, means of the steps between rows")
    names = sorted({name for row in validation.rows for name in row} - {"step"})
    styles = ("-", "--", ":", "-.")
    for index, name in enumerate(names):
        _plot(right, validation, name, {"linestyle": styles[index % len(styles)]})
    right.set(xlabel="step", ylabel="dB", title="PSNR on held-out slices")
    for axes in (left, right):
        if axes.lines:
            axes.legend(fontsize=7, ncols=2)
    beside = path.with_name("part-" + path.name)
    figure.savefig(beside, dpi=90)
    move(beside, path)


def _plot(axes, curves: Curves, name: str, style: Dict[str, str]) -> None:
    points = [(row["step"], row[name]) for row in curves.rows if math.isfinite(row.get(name, math.nan))]
    if any(value > 0 for _, value in points):
        axes.plot(*zip(*points), label=name, linewidth=1, **style)
