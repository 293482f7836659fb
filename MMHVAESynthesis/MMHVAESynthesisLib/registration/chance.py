"""How alike two volumes are wherever they are placed: what a placement has to stand out from."""

from typing import List

import numpy as np

from ..progress import Reporter
from .frame import gap, pose_of, rotation
from .problem import Problem
from .search import FARTHEST, is_near
from .similarity import information
from .together import together

PLACEMENTS = 48
"""How many placements are drawn."""

_ELSEWHERE = 16.0
"""mm from a placement, root mean square over the field of view, from which on another has nothing of what it shows."""

_EXCEEDED = 0.9
"""Quantile of the information elsewhere: the mean says less of what a search would find there."""

_MOST_DEGREES = 20.0
_PARTS = 4
_LEAST = 1e-3
"""nats: volumes that tell next to nothing of one another anywhere must not make chance look like nothing."""


class Chance:
    """The information at placements drawn at random, alike each time, within what a search looks at."""

    def __init__(self, poses: List[np.ndarray], told: np.ndarray, points: np.ndarray):
        """Take (4, 4) local poses, the information at each (N,) in nats, and (M, 3) local points of the field."""
        self._poses, self._told, self._points = poses, told, points

    @classmethod
    def of(cls, problem: Problem, report: Reporter) -> "Chance":
        """Look at all placements, at 2 mm.

        :param report: Is never stepped.
        :raises Cancelled: once asked to stop.
        """
        poses, level = drawn(problem.points), problem.pyramid.level(2)

        def part(some: List[np.ndarray]):
            def told(relay) -> List[float]:
                found = []
                for pose in some:
                    relay.check()
                    found.append(float(np.mean(information(level, pose))))
                return found

            return told

        report.check()
        parts = together([part(poses[n::_PARTS]) for n in range(_PARTS)], report)
        report.check()
        told = np.zeros(len(poses))
        for n, values in enumerate(parts):
            told[n::_PARTS] = values
        return cls(poses, told, problem.points)

    def times(self, pose: np.ndarray, told: float) -> float:
        """Return how many times the information a (4, 4) local pose has that one in ten placements elsewhere exceeds.

        :param told: Its own information, nats.
        """
        elsewhere = [gap(pose, other, self._points) > _ELSEWHERE for other in self._poses]
        return told / max(float(np.quantile(self._told[elsewhere], _EXCEEDED)) if any(elsewhere) else 0.0, _LEAST)


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
