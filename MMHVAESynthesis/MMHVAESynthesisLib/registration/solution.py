"""What an engine is and what it gives back."""

from dataclasses import dataclass, field
from typing import List, Optional, Protocol, Sequence

import numpy as np

from ..progress import Reporter
from ..request import RegistrationRequest
from .problem import Problem

MOST_STRETCH = 0.05
"""By how much an affine refinement may stretch or shrink any direction."""


@dataclass(frozen=True)
class Rival:
    """Another placement that an engine compared its result with.

    :param pose: (4, 4) local pose.
    :param share: Its information as a part of the result's, 0 to 1.
    :param apart: mm between the two, root mean square over the field of view.
    """

    pose: np.ndarray
    share: float
    apart: float


@dataclass(frozen=True)
class Solution:
    """An engine's answer, in local poses (4, 4) as :class:`Frame` has them.

    :param pose: The best.
    :param repeats: Poses found again, from other starts or of other parts of the field; how far they and the close
        rivals lie from the best is the confidence.
    :param warnings: What a user should know whatever comes of it.
    :param doubts: About the pose; they go where it is given up.
    :param above_chance: How many times the information that chance gives it has, see :mod:`.chance`.
    :param refined_on: The one modality that the descent followed, where it cannot follow several.
    :param rivals: The other placements that it was compared with, no two close to one another, the best first; None
        where the engine does not tell.
    :param given_up: Whether the pose is the start since no placement is to be relied on, and a warning says so.
    """

    pose: np.ndarray
    repeats: Sequence[np.ndarray]
    warnings: List[str] = field(default_factory=list)
    doubts: List[str] = field(default_factory=list)
    above_chance: Optional[float] = None
    rivals: Optional[Sequence[Rival]] = None
    given_up: bool = False
    refined_on: Optional[str] = None


def stretched_alike(repeats: Sequence[np.ndarray], rigid: np.ndarray, pose: np.ndarray) -> List[np.ndarray]:
    """Return rigid repeats with the stretch that led from the rigid result to the final one: both (4, 4) local poses.

    So the distance of the repeats from an affine result says how well it is placed, not how much it was stretched.
    """
    if pose is rigid:
        return list(repeats)
    stretch = np.linalg.inv(rigid) @ pose
    return [repeat @ stretch for repeat in repeats]


class Engine(Protocol):
    """Aligns the volumes of a problem from several starts."""

    name: str
    device: str
    """The name of the device that is used: ``cpu``, ``cuda``, which is the first GPU, or ``cuda:N`` where asked for."""

    def steps(self, request: RegistrationRequest, starts: int) -> int:
        """Return how often :meth:`solve` steps its reporter."""

    def solve(
        self, problem: Problem, request: RegistrationRequest, starts: Sequence[np.ndarray], report: Reporter
    ) -> Solution:
        """Return the best pose that can be reached from any of the (4, 4) local poses ``starts``."""

    def informed(self, problem: Problem, poses: Sequence[np.ndarray], report: Reporter) -> List[float]:
        """Return the information, nats, at (4, 4) local poses, at 2 mm; ``report`` is never stepped."""
