"""The paper's Table I: every set of inputs, every target, means over slices; as CSV and Markdown."""

import csv
import math
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Collection, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from ..modalities import label, labels
from ..paths import move
from ..training.psnr import counts, psnr, to_8bit
from .metrics import Perceptual, ssim

Inputs = Tuple[str, ...]
METRICS = ("psnr", "ssim", "lpips")
_HEADINGS = {"psnr": "PSNR dB", "ssim": "SSIM %", "lpips": "LPIPS %"}
_SCALES = {"psnr": 1.0, "ssim": 100.0, "lpips": 100.0}


def input_sets(modalities: Sequence[str]) -> List[Inputs]:
    """Return every non-empty subset, singles first.

    >>> input_sets(["us", "t2"])
    [('us',), ('t2',), ('us', 't2')]
    """
    return [subset for count in range(1, len(modalities) + 1) for subset in combinations(modalities, count)]


@dataclass
class Table:
    """Values of each slice for each set of inputs and target."""

    values: Dict[Tuple[Inputs, str, str], List[float]] = field(default_factory=dict)
    places: Dict[Tuple[Inputs, str], List[Tuple[int, int]]] = field(default_factory=dict)
    """Which slices they are of: numbers of sample and slice."""

    def add(
        self,
        inputs: Inputs,
        target: str,
        targets: np.ndarray,
        images: np.ndarray,
        perceptual: Perceptual,
        sample: int = 0,
    ) -> None:
        """Compare images with targets, (B, 1, S, S) in the network's range, slice by slice.

        :param sample: Number of the sample that the slices are of.
        """
        for number, (wanted, image) in enumerate(zip(targets[:, 0], images[:, 0])):
            wanted, image = to_8bit(wanted), to_8bit(image)
            if not counts(wanted):
                continue
            self.places.setdefault((inputs, target), []).append((sample, number))
            # Equal images would make the mean infinite; 100 dB is better than 8-bit images can differ.
            self._append(inputs, target, "psnr", min(psnr(wanted, image), 100.0))
            self._append(inputs, target, "ssim", ssim(wanted, image))
            if perceptual.available:
                self._append(inputs, target, "lpips", perceptual(wanted, image))

    def _append(self, inputs: Inputs, target: str, metric: str, value: float) -> None:
        self.values.setdefault((inputs, target, metric), []).append(value)

    def mean(self, inputs: Inputs, target: str, metric: str) -> float:
        """Return the mean over slices; NaN where there is none."""
        found = self.values.get((inputs, target, metric), [])
        return float(np.mean(found)) if found else math.nan

    def loss(self, fewer: Inputs, more: Inputs, target: str) -> float:
        """Return by how many dB of PSNR a target is worse with ``more`` inputs, over the slices that both have."""
        before, after = (
            dict(zip(self.places.get((inputs, target), []), self.values.get((inputs, target, "psnr"), [])))
            for inputs in (fewer, more)
        )
        both = before.keys() & after.keys()
        return float(np.mean([before[place] - after[place] for place in both])) if both else math.nan

    def only(self, samples: Collection[int]) -> "Table":
        """Return the table of some samples' slices alone."""
        chosen = Table()
        for (inputs, target), places in self.places.items():
            kept = [number for number, (sample, _) in enumerate(places) if sample in samples]
            if kept:
                chosen.places[inputs, target] = [places[number] for number in kept]
                for metric in self.metrics:
                    values = self.values[inputs, target, metric]
                    chosen.values[inputs, target, metric] = [values[number] for number in kept]
        return chosen

    def slices(self, inputs: Inputs, target: str) -> int:
        """Return how many slices the means are over."""
        return len(self.values.get((inputs, target, "psnr"), []))

    @property
    def rows(self) -> List[Inputs]:
        """The sets of inputs, in the order in which they came."""
        return list(dict.fromkeys(inputs for inputs, _, _ in self.values))

    @property
    def targets(self) -> List[str]:
        """The targets, in the order in which they came."""
        return list(dict.fromkeys(target for _, target, _ in self.values))

    @property
    def metrics(self) -> List[str]:
        """The metrics that were computed."""
        present = {metric for _, _, metric in self.values}
        return [metric for metric in METRICS if metric in present]

    def write_csv(self, path: Path) -> None:
        """Write one row for each set of inputs and target, beside and then renamed."""
        beside = path.with_name(path.name + ".part")
        with beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["inputs", "target", "slices", *self.metrics])
            for inputs in self.rows:
                for target in self.targets:
                    if self.slices(inputs, target):
                        values = [f"{self.mean(inputs, target, metric):.4f}" for metric in self.metrics]
                        writer.writerow(["+".join(inputs), target, self.slices(inputs, target), *values])
        move(beside, path)

    def to_markdown(self) -> str:
        """Return the table with a column a target and metric and the means over all sets of inputs below.

        A sentence in its place where it has no rows.
        """
        if not self.rows:
            return "There was nothing to measure here.\n"
        columns = [(target, metric) for target in self.targets for metric in self.metrics]
        heads = [f"{label(target)} {_HEADINGS[metric]}" for target, metric in columns]
        lines = ["| inputs | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(columns)]
        for inputs in self.rows:
            lines.append(_row(labels(inputs), [self.mean(inputs, *column) * _SCALES[column[1]] for column in columns]))
        means = [
            float(np.nanmean([self.mean(inputs, *column) for inputs in self.rows])) * _SCALES[column[1]]
            for column in columns
        ]
        return "\n".join([*lines, _row("mean", means)]) + "\n"


def _row(name: str, values: Sequence[float]) -> str:
    return f"| {name} | " + " | ".join("-" if math.isnan(value) else f"{value:.1f}" for value in values) + " |"


def violations(table: Table, tolerance: float) -> List[Mapping[str, object]]:
    """Return where more inputs make a target worse by more than ``tolerance`` dB, the worst first."""
    found = []
    for fewer in table.rows:
        for more in table.rows:
            if set(fewer) < set(more):
                for target in table.targets:
                    loss = table.loss(fewer, more, target)
                    if loss > tolerance:
                        row = {
                            "fewer": "+".join(fewer),
                            "more": "+".join(more),
                            "target": target,
                            "loss_db": round(loss, 3),
                        }
                        found.append(row)
    return sorted(found, key=lambda row: -row["loss_db"])
