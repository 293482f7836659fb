"""How alike two volumes are wherever they are placed: what a placement has to stand out from."""

from typing import Callable, List, Sequence

import numpy as np

from .frame import gap, pose_of, rotation
from .search import FARTHEST, is_near

Informed = Callable[[Sequence[np.ndarray]], Sequence[float]]
"""Returns the information, nats, at (4, 4) local poses."""

PLACEMENTS = 48
"""How many placements are drawn."""

_ELSEWHERE = 16.0
"""mm from a placement, root mean square over the field of view, from which on another has nothing of what it shows."""

_EXCEEDED = 0.9
"""Quantile of the information elsewhere: the mean says less of what a search would find there."""

_MOST_DEGREES = 20.0
_LEAST = 1e-3
"""nats: volumes that tell next to nothing of one another anywhere must not make chance look like nothing."""


def times_chance(pose: np.ndarray, points: np.ndarray, informed: Informed) -> float:
    """Return how many times the information a (4, 4) local pose has that one in ten placements elsewhere exceeds.

    The placements are drawn at random, alike each time, as far from the start as a result may lie; those that the MR
    does not reach tell less.

    :param points: (N, 3) local points of the field of view, mm.
    """
    elsewhere = [other for other in drawn(points) if gap(pose, other, points) > _ELSEWHERE]
    own, *others = informed([pose, *elsewhere])
    return own / max(float(np.quantile(others, _EXCEEDED)) if others else 0.0, _LEAST)


def drawn(points: np.ndarray) -> List[np.ndarray]:
    """Return :data:`PLACEMENTS` (4, 4) local poses: turned by up to 20 degrees, and within :data:`search.FARTHEST`."""
    generator = np.random.default_rng(0)
    poses: List[np.ndarray] = []
    while len(poses) < PLACEMENTS:
        turn = np.radians(generator.uniform(0, _MOST_DEGREES)) * _direction(generator)
        pose = pose_of(rotation(turn), generator.uniform(0, FARTHEST) * _direction(generator))
        if is_near(pose, points):
            poses.append(pose)
    return poses


def _direction(generator: np.random.Generator) -> np.ndarray:
    vector = generator.normal(size=3)
    return vector / np.linalg.norm(vector)
