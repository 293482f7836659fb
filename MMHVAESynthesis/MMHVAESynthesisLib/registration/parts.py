"""Halves of the field of view, on which a registration is repeated to see how far its answers lie apart."""

from typing import List, Tuple

import numpy as np

from .pyramid import Level

BLOCK = 16.0
"""mm, the edge of the blocks that a half is made of: wider than the windows in which volumes are compared."""


def halves(level: Level, count: int, seed: int) -> List[np.ndarray]:
    """Return ``count`` random halves of the field, (X, Y, Z) bool each; every second one is its predecessor's complement."""
    generator = np.random.default_rng(seed)
    shape = level.fixed.shape[1:]
    blocks = [np.floor(level.spacing * np.arange(n) / BLOCK).astype(int) for n in shape]
    found: List[np.ndarray] = []
    while len(found) < count:
        chosen = _half(generator, level, tuple(int(block[-1]) + 1 for block in blocks), blocks)
        found.extend([chosen, ~chosen])
    return found[:count]


def _half(generator, level: Level, size: Tuple[int, int, int], blocks) -> np.ndarray:
    """Take blocks in random order until they hold half of the field's voxels."""
    number = np.ravel_multi_index(np.ix_(*blocks), size)
    weight = np.bincount(number[level.mask.any(axis=0)], minlength=int(np.prod(size)))
    order = generator.permutation(len(weight))
    taken = np.zeros(len(weight), dtype=bool)
    taken[order[np.cumsum(weight[order]) <= weight.sum() / 2]] = True
    return taken[number]


def jitter(generator: np.random.Generator, radius: float, size: float) -> Tuple[np.ndarray, np.ndarray]:
    """Draw a small motion: a rotation vector (3,) and a shift (3,) that move points at ``radius`` mm by about ``size`` mm."""
    return generator.normal(size=3) * size / radius, generator.normal(size=3) * size
