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


def seen(level: Level, pose: np.ndarray) -> np.ndarray:
    """Return where both images of each pair have data under a (4, 4) local pose, (P, X, Y, Z) bool."""
    return _seen(level, _indices(level, pose))


def overlap(level: Level, pose: np.ndarray) -> float:
    """Return the part of the field of view, 0 to 1, in which every pair has data under a local pose."""
    return min(float(there.sum() / max(mask.sum(), 1)) for there, mask in zip(seen(level, pose), level.mask))


def _indices(level: Level, pose: np.ndarray) -> np.ndarray:
    """Return where the fixed voxels lie in the moving arrays under a local pose, (X * Y * Z, 3) in voxels."""
    return level.moving_indices(apply(pose, level.fixed_points()))


def _seen(level: Level, indices: np.ndarray) -> np.ndarray:
    there = np.stack([level.valid_at(pair, indices) for pair in range(len(level.fixed))])
    return level.mask & there.reshape(level.mask.shape)


def _moved(level: Level, indices: np.ndarray) -> np.ndarray:
    """Return the moving volumes at the fixed voxels, (P, X, Y, Z), edges repeated."""
    at = np.ascontiguousarray(indices.T)
    values = [ndimage.map_coordinates(each, at, order=1, mode="nearest", output=np.float32) for each in level.moving]
    return np.stack(values).reshape(level.fixed.shape)


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
    indices = _indices(level, pose)
    pairs = zip(level.fixed, _moved(level, indices), _seen(level, indices), level.mask)
    return [_of_pair(*pair, floor, told) for pair in pairs]


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
