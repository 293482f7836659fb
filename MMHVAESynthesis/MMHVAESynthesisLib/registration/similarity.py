"""How alike the fixed and the moved volumes are: the local correlation, and what it tells of the place.

Every engine's result is judged by :func:`information`; users are told :func:`lncc`, which is easier to read.
"""

from typing import Callable, List

import numpy as np
from scipy import ndimage

from .frame import apply
from .pyramid import Level

WINDOWS = (5, 9)
"""Edges of LNCC's windows, in voxels."""

FLOOR, INFORMATION_FLOOR = 0.05, 0.02
"""Added to each local variance (the whole field's is 1), so that flat windows say little: to LNCC, to information."""

HIGHEST = 0.995
"""The local correlation from which on information grows no more."""

LEAST_FILLED = 0.25
"""Part of a window that must lie in the field of view for the window to count."""


def moved(level: Level, pose: np.ndarray, pair: int) -> np.ndarray:
    """Return the moving volume of a pair at the fixed voxels under a (4, 4) local pose, (X, Y, Z), edges repeated."""
    at = level.moving_indices(apply(pose, level.fixed_points())).T
    values = ndimage.map_coordinates(level.moving[pair], at, order=1, mode="nearest", output=np.float32)
    return values.reshape(level.fixed.shape[1:])


def seen(level: Level, pose: np.ndarray, pair: int) -> np.ndarray:
    """Return where both images of a pair have data under a local pose, (X, Y, Z) bool."""
    there = level.valid_at(pair, level.moving_indices(apply(pose, level.fixed_points())))
    return level.mask[pair] & there.reshape(level.fixed.shape[1:])


def overlap(level: Level, pose: np.ndarray) -> float:
    """Return the part of the field of view, 0 to 1, in which every pair has data under a local pose."""
    return min(
        float(seen(level, pose, pair).sum() / max(level.mask[pair].sum(), 1)) for pair in range(len(level.fixed))
    )


def lncc(level: Level, pose: np.ndarray) -> List[float]:
    """Return each pair's local normalised cross-correlation under a (4, 4) local pose, -1 to 1.

    The signed correlation coefficient in windows of :data:`WINDOWS` voxels around each voxel of the field of view,
    averaged over voxels and window sizes. Only voxels where both images have data count in a window; where the moving
    image has none the correlation is 0, so that nothing is gained by moving out of sight.
    """
    return _of_pairs(level, pose, FLOOR, lambda correlation: correlation)


def information(level: Level, pose: np.ndarray) -> List[float]:
    """Return what each pair's windows tell of one another under a (4, 4) local pose: nats a voxel, 0 or more.

    -log(1 - r^2) / 2, the mutual information of two Gaussian variables that correlate by r (Gelfand and Yaglom, 1957),
    of the windows that :func:`lncc` averages; 0 where r is negative. A synthesis agrees well with the truth in some
    places and not at all in most: a mean of r drowns the first in the chance of the others.
    """
    return _of_pairs(level, pose, INFORMATION_FLOOR, _nats)


def _nats(correlation: np.ndarray) -> np.ndarray:
    return -0.5 * np.log1p(-(np.clip(correlation, 0, HIGHEST) ** 2))


def _of_pairs(level: Level, pose: np.ndarray, floor: float, told: Callable) -> List[float]:
    """Return for each pair the mean of ``told``, a function of the local correlations, over voxels and windows."""
    return [
        _of_pair(level.fixed[p], moved(level, pose, p), seen(level, pose, p), level.mask[p], floor, told)
        for p in range(len(level.fixed))
    ]


def _of_pair(
    fixed: np.ndarray, moving: np.ndarray, where: np.ndarray, field: np.ndarray, floor: float, told: Callable
) -> float:
    weight = where.astype(np.float32)
    scores = []
    for width in WINDOWS:
        box = {"size": width, "mode": "constant"}
        filled = ndimage.uniform_filter(weight, **box)
        counts = where & (filled >= LEAST_FILLED)
        of = field & (ndimage.uniform_filter(field.astype(np.float32), **box) >= LEAST_FILLED)
        count = np.maximum(filled, 1e-6)
        f, g, ff, gg, fg = (
            ndimage.uniform_filter(weight * values, **box) / count
            for values in (fixed, moving, fixed * fixed, moving * moving, fixed * moving)
        )
        spread = (np.maximum(ff - f * f, 0) + floor) * (np.maximum(gg - g * g, 0) + floor)
        scores.append(float(told(((fg - f * g) / np.sqrt(spread))[counts]).sum()) / max(int(of.sum()), 1))
    return float(np.mean(scores))
