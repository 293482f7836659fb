"""How alike the fixed and the moved volumes are: the local correlation by which every engine's result is judged."""

from typing import List

import numpy as np
from scipy import ndimage

from .frame import apply
from .pyramid import Level

WINDOWS = (5, 9)
"""Edges of LNCC's windows, in voxels."""

FLOOR = 0.05
"""Added to each local variance (the whole field's is 1), so that flat windows say little."""

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
    return [
        _lncc(level.fixed[p], moved(level, pose, p), seen(level, pose, p), level.mask[p])
        for p in range(len(level.fixed))
    ]


def _lncc(fixed: np.ndarray, moving: np.ndarray, where: np.ndarray, field: np.ndarray) -> float:
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
        spread = (np.maximum(ff - f * f, 0) + FLOOR) * (np.maximum(gg - g * g, 0) + FLOOR)
        scores.append(float(((fg - f * g) / np.sqrt(spread))[counts].sum()) / max(int(of.sum()), 1))
    return float(np.mean(scores))
