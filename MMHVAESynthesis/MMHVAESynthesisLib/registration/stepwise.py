"""Engines whose descent is not ours: every start at 2 mm, the best on at 1 mm, and repeats on halves of the field.

Without a search the one start comes by a chain of smoothed volumes: 4 mm, then 2 mm from where that ended.
"""

from typing import List, Optional, Protocol, Sequence

import numpy as np

from ..progress import Reporter
from ..request import AFFINE, RegistrationRequest
from .frame import nearest_orthonormal, pose_of
from .parts import JITTER, REPEATS, halves, perturbed
from .problem import Problem
from .pyramid import Level
from .similarity import information
from .solution import MOST_STRETCH, Solution, stretched_alike
from .together import together

LEAST_SAMPLES = 2000
"""Voxels that a descent looks at, where the field has as many: mutual information of fewer is mostly chance."""


class Descent(Protocol):
    """Aligns one pair of volumes at one resolution. As a context it holds what its runs share."""

    name: str

    def __enter__(self) -> "Descent":
        """Get ready for several runs."""

    def __exit__(self, *error) -> Optional[bool]:
        """Let go of what the runs shared."""

    def run(
        self, level: Level, pair: int, start: np.ndarray, step: float, mask: np.ndarray, affine: bool, report: Reporter
    ) -> np.ndarray:
        """Return the (4, 4) local pose reached from ``start``.

        :param step: mm, the largest step.
        :param mask: (X, Y, Z) bool, where the fixed volume counts.
        :param report: To be checked now and then, never stepped.
        :raises Cancelled: once asked to stop.
        """


class StepwiseEngine:
    """Runs a descent from every start, on the one contrast that the starts show to be the most alike."""

    def __init__(self, descent: Descent):
        self.descent, self.name, self.device = descent, descent.name, "cpu"

    def steps(self, request: RegistrationRequest, starts: int) -> int:
        """Return how often :meth:`solve` steps its reporter: once a run."""
        return starts + (request.starts == 1) + REPEATS + 1 + (request.kind == AFFINE)

    def solve(
        self, problem: Problem, request: RegistrationRequest, starts: Sequence[np.ndarray], report: Reporter
    ) -> Solution:
        """Return the best pose that can be reached from any of the (4, 4) local poses ``starts``."""
        coarse, middle, fine = (problem.pyramid.level(stride) for stride in (4, 2, 1))
        pair = int(np.argmax(np.max([information(middle, start) for start in starts], axis=0)))
        whole = middle.mask[pair]

        def run(level, start, step, mask, affine=False):
            pose = self.descent.run(level, pair, start, step, mask, affine, report)
            report.step()
            return pose

        with self.descent:
            if request.starts == 1:
                chained = run(coarse, starts[0], 2.0, coarse.mask[pair])
                starts = [max(starts[0], chained, key=lambda pose: information(middle, pose)[pair])]
            poses = [run(middle, start, 1.0, whole) for start in starts]
            best = max(poses, key=lambda pose: information(middle, pose)[pair])
            begins = perturbed(best, problem.points, JITTER, REPEATS, request.seed)
            parts = halves(middle, REPEATS, request.seed)
            repeats = [run(middle, begin, 0.5, whole & part) for begin, part in zip(begins, parts)]
            pose = rigid = run(fine, best, 0.2, fine.mask[pair])
            if request.kind == AFFINE:
                stretched = bounded(run(fine, rigid, 0.2, fine.mask[pair], affine=True))
                # Another measure's optimum, or the bound, may be worse than no stretch at all.
                pose = max(rigid, stretched, key=lambda found: information(fine, found)[pair])
        used = problem.modalities[pair] if len(problem.modalities) > 1 else None
        return Solution(pose, stretched_alike(repeats, rigid, pose), refined_on=used)

    def informed(self, problem: Problem, poses: Sequence[np.ndarray], report: Reporter) -> List[float]:
        """Return the information, nats, at (4, 4) local poses, at 2 mm."""
        level = problem.pyramid.level(2)

        def at(pose: np.ndarray):
            return lambda relay: float(np.mean(information(level, pose)))

        return together([at(pose) for pose in poses], report)


def sampled_part(part: float, mask: np.ndarray) -> float:
    """Return which part, 0 to 1, of a mask to look at: ``part``, or more where that is too few voxels."""
    return float(min(1.0, max(part, LEAST_SAMPLES / max(int(mask.sum()), 1))))


def bounded(pose: np.ndarray) -> np.ndarray:
    """Return an affine pose with its stretch cut to the bound of :data:`MOST_STRETCH`, whatever the direction."""
    turn = nearest_orthonormal(pose[:3, :3])
    scales, axes = np.linalg.eigh(turn.T @ pose[:3, :3])
    return pose_of(turn @ (axes * np.clip(scales, 1 - MOST_STRETCH, 1 + MOST_STRETCH)) @ axes.T, pose[:3, 3])
