"""Halves of the field of view, on which a registration is repeated to see how far its answers lie apart."""

from typing import List, Tuple

import numpy as np

from .frame import pose_of, rotation
from .pyramid import Level

BLOCK = 16.0
"""mm, the edge of the blocks that a half is made of: wider than the windows in which volumes are compared. In a field
that would have too few of them it is halved until they do.
"""

FEWEST_BLOCKS, HEAVIEST = 8, 0.2
"""How many blocks a field must have, and the largest part of it that one of them may hold: so no half holds less than
0.3 of it.
"""

REPEATS = 4
"""Halves of the field on which the result is repeated."""

JITTER = 1.5
"""mm by which a repeat starts off the result."""


def halves(level: Level, count: int, seed: int) -> List[np.ndarray]:
    """Return ``count`` random halves of the field, (X, Y, Z) bool: every second one completes the one before it."""
    generator = np.random.default_rng(seed)
    number, weight = _blocks(level)
    found: List[np.ndarray] = []
    while len(found) < count:
        chosen = _half(generator, number, weight)
        found.extend([chosen, ~chosen])
    return found[:count]


def _blocks(level: Level) -> Tuple[np.ndarray, np.ndarray]:
    """Return each voxel's block, (X, Y, Z) int, and how many voxels of the field each block holds, (N,)."""
    edge = BLOCK
    while True:
        blocks = [np.floor(level.spacing * np.arange(n) / edge).astype(int) for n in level.fixed.shape[1:]]
        size = tuple(int(block[-1]) + 1 for block in blocks)
        number = np.ravel_multi_index(np.ix_(*blocks), size)
        weight = np.bincount(number[level.mask.any(axis=0)], minlength=int(np.prod(size)))
        is_fine = np.count_nonzero(weight) >= FEWEST_BLOCKS and weight.max() <= HEAVIEST * weight.sum()
        if is_fine or edge <= level.spacing:
            return number, weight
        edge /= 2


def _half(generator, number: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Take blocks in random order until they hold half of the field's voxels."""
    order = generator.permutation(len(weight))
    taken = np.zeros(len(weight), dtype=bool)
    taken[order[np.cumsum(weight[order]) <= weight.sum() / 2]] = True
    return taken[number]


def perturbed(pose: np.ndarray, points: np.ndarray, size: float, count: int, seed: int) -> List[np.ndarray]:
    """Return ``count`` local poses (4, 4) about ``pose`` that move the field's points (N, 3) by some ``size`` mm."""
    generator = np.random.default_rng(seed)
    radius = float(np.sqrt((points**2).sum(axis=1).mean()))
    draws = size * generator.normal(size=(count, 2, 3))
    return [pose @ pose_of(rotation(turn / radius), shift) for turn, shift in draws]
