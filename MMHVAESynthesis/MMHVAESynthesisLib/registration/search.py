"""Where to start: masked normalised cross-correlation by FFT over a grid of rotations and all shifts.

At 8 mm all rotations are looked at, and at 4 mm those that did best. The volumes are evened out first: a bias field, or
the edge of a brain without its skull, would otherwise outweigh what lies inside. The masked correlation follows
Padfield, "Masked object registration in the Fourier domain", IEEE TIP 2012. Its error does not depend on how far the
volumes start from one another, so the gradient descent behind it never has far to go.
"""

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any, List, Sequence, Tuple

import numpy as np
from scipy import fft, ndimage

from ..progress import Reporter
from .frame import apply, gap, pose_of, rotation
from .pyramid import Level, Pyramid
from .similarity import FLOOR
from .together import together

STEP_DEGREES = 8.0
STEPS = 3
"""Rotations about each axis: this many steps each way."""

KEPT = 12
"""Rotations that go on from 8 mm to 4 mm."""

EVENED = {8: 1.5, 4: 2.0}
"""By stride: standard deviation of the Gaussian in which mean and variance are evened out, in voxels of the level."""

LEAST_VOXELS = 100
"""Of the field of view at 8 mm: in fewer, chance alone correlates as well as the truth, and 4 mm must do."""

FARTHEST_SHIFT = 36.0
"""mm along each axis."""

FARTHEST = 34.0
"""mm, root mean square over the field of view, beyond which no peak is taken for a place to start, nor an end for a
result: MR that lies farther off is to be moved nearer by hand, and what fits there by chance would only hide the truth.
It is 4 mm more than the benchmark's capture range, since a peak is that inexact.
"""

LEAST_OVERLAP = 0.5
"""Part of the field of view in which the moving volume must have data."""

LEAST_VARIANCE = 0.1
"""Of the moving volume under the field of view, as a part of the median over all shifts."""

APART = 6.0
"""mm, root mean square over the field of view, between two peaks that count as two."""

_PARTS = 4
"""Into how many parts the rotations are divided among threads."""

_LEAST = 1e-4
"""Variance (the whole volume's is 1) below which single precision leaves nothing to compare."""


@dataclass(frozen=True)
class Peak:
    """A place to start: a (4, 4) local pose and its correlation, -1 to 1."""

    pose: np.ndarray
    correlation: float


def rotations() -> List[np.ndarray]:
    """Return the rotations searched, (3, 3) each: a grid of rotation vectors within a ball, the nearest first."""
    steps = [
        np.array(step)
        for step in itertools.product(range(-STEPS, STEPS + 1), repeat=3)
        if np.linalg.norm(step) <= STEPS + 0.5
    ]
    steps.sort(key=lambda step: (step @ step, *step))
    return [rotation(np.radians(STEP_DEGREES) * step) for step in steps]


def steps() -> int:
    """Return how often :func:`search` steps its reporter: once a rotation."""
    return len(rotations()) + KEPT


def search(pyramid: Pyramid, points: np.ndarray, count: int, report: Reporter) -> List[Peak]:
    """Return up to ``count`` peaks of the correlation, the best first, no two close to one another.

    :param pyramid: The volumes; those at 8 mm and at 4 mm are used.
    :param points: (N, 3) local points of the field of view, mm.
    :param report: Is stepped as often as :func:`steps` says.
    """
    turns = rotations()
    fine = evened(pyramid.level(4), EVENED[4])
    coarse = evened(pyramid.level(8), EVENED[8])
    if min(mask.sum() for mask in coarse.mask) >= LEAST_VOXELS:
        firsts = sorted(_peaks(coarse, turns, points, 1, report), key=lambda peak: -peak.correlation)
        turns = [peak.pose[:3, :3] for peak in firsts[:KEPT]]
        report.step(KEPT - len(turns))
    else:
        report.step(KEPT)
    found = _peaks(fine, turns, points, count, report)
    return _apart(sorted(found, key=lambda peak: -peak.correlation), points, count)


def is_near(pose: np.ndarray, points: np.ndarray) -> bool:
    """Return whether a (4, 4) local pose is within what is looked for; see :data:`FARTHEST`."""
    return gap(pose, np.eye(4), points) <= FARTHEST


def evened(level: Level, sigma: float) -> Level:
    """Return a level with the mean and the variance around each voxel, within ``sigma`` voxels, taken out."""
    return dataclasses.replace(
        level,
        fixed=np.stack([_evened(*pair, sigma) for pair in zip(level.fixed, level.mask)]),
        moving=np.stack([_evened(*pair, sigma) for pair in zip(level.moving, level.valid)]),
    )


def _evened(values: np.ndarray, where: np.ndarray, sigma: float) -> np.ndarray:
    def around(array: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(array, sigma, mode="constant", truncate=3)

    weight = np.maximum(around(where.astype(np.float32)), 1e-3)
    mean, square = around(values * where) / weight, around(values * values * where) / weight
    spread = np.sqrt(np.maximum(square - mean * mean, 0) + FLOOR)
    return np.where(where, (values - mean) / spread, 0).astype(np.float32)


def _peaks(level: Level, turns: Sequence[np.ndarray], points: np.ndarray, count: int, report: Reporter) -> List[Peak]:
    """Return the best ``count`` near peaks over the shifts of each rotation (3, 3)."""
    correlator = _Correlator(level)

    def of(some: Sequence[np.ndarray]):
        def part(relay: Any) -> List[Peak]:
            peaks = []
            for turn in some:
                peaks.extend(correlator.best(turn, points, count))
                relay.step()
            return peaks

        return part

    found = together([of(turns[n::_PARTS]) for n in range(_PARTS)], report)
    return [peak for peaks in found for peak in peaks]


def apart(found: Sequence[Sequence[Peak]], points: np.ndarray) -> List[Peak]:
    """Return the peaks of several searches, those of the first first, no two close to one another."""
    peaks = [peak for each in found for peak in each]
    return _apart(peaks, points, len(peaks))


def _apart(found: Sequence[Peak], points: np.ndarray, count: int) -> List[Peak]:
    """Return the first ``count`` of some peaks that are not close to one before them."""
    peaks: List[Peak] = []
    for peak in found:
        if len(peaks) == count:
            break
        if all(gap(peak.pose, other.pose, points) > APART for other in peaks):
            peaks.append(peak)
    return peaks


class _Correlator:
    """The fixed volumes' spectra, made once, against the moving volumes turned."""

    def __init__(self, level: Level):
        self.level = level
        self.reach = int(FARTHEST_SHIFT / level.spacing)
        self.size = [n + 2 * self.reach for n in level.fixed.shape[1:]]
        self.shape = [fft.next_fast_len(n, real=True) for n in self.size]
        axes = [start + level.spacing * (np.arange(n) - self.reach) for start, n in zip(level.fixed_origin, self.size)]
        self.points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        self.spectra, self.counts = [], []
        for fixed, mask in zip(level.fixed, level.mask):
            weight = mask.astype(np.float32)
            self.spectra.append(np.conj(self._spectrum(np.stack([weight, fixed * weight, fixed * fixed * weight]))))
            self.counts.append(float(weight.sum()))

    def _spectrum(self, volumes: np.ndarray) -> np.ndarray:
        return fft.rfftn(volumes, self.shape, axes=(-3, -2, -1))

    def _shifts(self, spectrum: np.ndarray) -> np.ndarray:
        """Return the correlation at shifts of -reach to reach along each axis."""
        return fft.irfftn(spectrum, self.shape, axes=(-3, -2, -1))[(..., *(slice(0, 2 * self.reach + 1),) * 3)]

    def best(self, turn: np.ndarray, points: np.ndarray, count: int) -> List[Peak]:
        """Return the ``count`` best local maxima over the shifts that are near, for one rotation (3, 3)."""
        correlation = self._correlation(turn)
        maxima = (correlation == ndimage.maximum_filter(correlation, 3, mode="nearest")) & (correlation > 0)
        where = np.argwhere(maxima)
        values = correlation[maxima]
        shifts = (where - self.reach) * self.level.spacing
        peaks = (
            Peak(pose_of(turn, turn @ shifts[best]), float(values[best])) for best in np.argsort(-values, kind="stable")
        )
        # What lies too far off must not take the place of what is near.
        return list(itertools.islice((peak for peak in peaks if is_near(peak.pose, points)), count))

    def _correlation(self, turn: np.ndarray) -> np.ndarray:
        """Return the pairs' mean correlation over the shifts; -1 where overlap or variance does not let it count."""
        at = self.level.moving_indices(apply(pose_of(turn, np.zeros(3)), self.points)).T
        total: np.ndarray = 0.0
        usable = np.ones((2 * self.reach + 1,) * 3, dtype=bool)
        for pair in range(len(self.level.fixed)):
            correlation, trusted = self._pair(pair, at)
            total, usable = total + correlation, usable & trusted
        return np.where(usable, total / len(self.level.fixed), -1.0)

    def _turned(self, pair: int, at: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Return the moving volume at voxel positions (3, N), and where it has data, on the searched grid."""
        valid = self.level.valid_at(pair, at.T)
        values = ndimage.map_coordinates(self.level.moving[pair], at, order=1, mode="nearest", output=np.float32)
        return (values * valid).reshape(self.size), valid.astype(np.float32).reshape(self.size)

    def _pair(self, pair: int, at: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        values, valid = self._turned(pair, at)
        weight, first, second = self.spectra[pair]
        g, gg, w = self._spectrum(np.stack([values, values * values, valid]))
        n, f, ff, sum_g, sum_gg, fg = self._shifts(
            np.stack([weight * w, first * w, second * w, weight * g, weight * gg, first * g])
        )
        n = np.maximum(n, 1.0)
        overlaps = n >= LEAST_OVERLAP * self.counts[pair]
        variance_f = ff / n - (f / n) ** 2
        variance_g = sum_gg / n - (sum_g / n) ** 2
        floor = LEAST_VARIANCE * float(np.median(variance_g[overlaps])) if overlaps.any() else 0.0
        trusted = overlaps & (variance_g > max(floor, _LEAST)) & (variance_f > _LEAST)
        correlation = (fg / n - f * sum_g / n**2) / np.sqrt(np.maximum(variance_f * variance_g, _LEAST**2))
        return correlation, trusted
