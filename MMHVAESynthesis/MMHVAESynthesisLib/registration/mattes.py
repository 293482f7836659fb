"""The engine for where PyTorch is missing: SimpleITK's Mattes mutual information at 2 and 1 mm, from every start."""

import contextlib
from typing import Iterator, List, Optional, Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813

from ..errors import Cancelled
from ..progress import Reporter
from ..request import AFFINE, RegistrationRequest
from .frame import nearest_orthonormal, pose_of
from .parts import halves, perturbed
from .problem import Problem
from .pyramid import Level
from .similarity import lncc
from .solution import MOST_STRETCH, Solution
from .transforms import matrix_of

REPEATS = 4
"""Halves of the field on which the result is repeated."""

BINS, SAMPLED, ITERATIONS = 32, 0.3, 60

_JITTER = 1.0
"""mm by which a repeat starts off the result."""


class MattesEngine:
    """SimpleITK's mutual information, on the one contrast that the start shows to be the most alike."""

    name = "mattes"

    def steps(self, request: RegistrationRequest, starts: int) -> int:
        """Return how often :meth:`solve` steps its reporter: once a descent."""
        return starts + REPEATS + 1 + (request.kind == AFFINE)

    def solve(
        self, problem: Problem, request: RegistrationRequest, starts: Sequence[np.ndarray], report: Reporter
    ) -> Solution:
        """Return the best pose that can be reached from any of the (4, 4) local poses ``starts``."""
        with _one_thread():
            return self._solve(problem, request, starts, report)

    def _solve(self, problem: Problem, request: RegistrationRequest, starts, report: Reporter) -> Solution:
        middle, fine = problem.pyramid.level(2), problem.pyramid.level(1)
        pair = int(np.argmax(np.max([lncc(middle, start) for start in starts], axis=0)))
        coarse = _Descent(middle, pair, request.seed, report)
        poses = [coarse.run(start, sitk.Euler3DTransform(), 1.0) for start in starts]
        for _ in range(request.starts - len(starts)):
            report.step()
        best = max(poses, key=lambda pose: lncc(middle, pose)[pair])
        repeats = self._repeats(problem, request, coarse, best)
        refined = _Descent(fine, pair, request.seed, report)
        pose = refined.run(best, sitk.Euler3DTransform(), 0.2)
        if request.kind == AFFINE:
            pose = bounded(refined.run(pose, sitk.AffineTransform(3), 0.2))
        return Solution(pose, repeats)

    @staticmethod
    def _repeats(
        problem: Problem, request: RegistrationRequest, coarse: "_Descent", pose: np.ndarray
    ) -> List[np.ndarray]:
        starts = perturbed(pose, problem.points, _JITTER, REPEATS, request.seed)
        parts = halves(coarse.level, REPEATS, request.seed)
        return [coarse.run(start, sitk.Euler3DTransform(), 0.5, part) for start, part in zip(starts, parts)]


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Sum on one thread, so that results repeat bit for bit. The metric heeds the global number alone."""
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def bounded(pose: np.ndarray) -> np.ndarray:
    """Return an affine pose with its scales and shears cut to the bound of :data:`MOST_STRETCH`."""
    turn = nearest_orthonormal(pose[:3, :3])
    stretch = turn.T @ pose[:3, :3]
    return pose_of(turn @ (np.eye(3) + np.clip(stretch - np.eye(3), -MOST_STRETCH, MOST_STRETCH)), pose[:3, 3])


class _Descent:
    """Mattes mutual information of one pair at one level, in local coordinates."""

    def __init__(self, level: Level, pair: int, seed: int, report: Reporter):
        self.level, self.pair, self.seed, self.report = level, pair, seed, report
        self.fixed = _image(level.fixed[pair], level.fixed_origin, level.spacing)
        self.moving = _image(level.moving[pair], level.moving_origin, level.spacing)

    def run(
        self, start: np.ndarray, change: sitk.Transform, step: float, part: Optional[np.ndarray] = None
    ) -> np.ndarray:
        """Return the (4, 4) local pose reached from ``start`` in steps of up to ``step`` mm, on a part of the field."""
        level, pair = self.level, self.pair
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(BINS)
        mask = level.mask[pair] if part is None else level.mask[pair] & part
        method.SetMetricFixedMask(_image(mask.astype(np.uint8), level.fixed_origin, level.spacing))
        if not level.valid[pair].all():
            method.SetMetricMovingMask(_image(level.valid[pair].astype(np.uint8), level.moving_origin, level.spacing))
        method.SetMetricSamplingStrategy(method.RANDOM)
        # SimpleITK takes seed 0 to mean the clock.
        method.SetMetricSamplingPercentage(SAMPLED, self.seed + 1)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(step, step / 50, ITERATIONS, relaxationFactor=0.6)
        method.SetOptimizerScalesFromPhysicalShift()
        before = sitk.AffineTransform(3)
        before.SetMatrix(start[:3, :3].ravel().tolist())
        before.SetTranslation(start[:3, 3].tolist())
        method.SetMovingInitialTransform(before)
        method.SetInitialTransform(change, inPlace=True)
        method.AddCommand(sitk.sitkIterationEvent, lambda: self._stop_if_asked(method))
        try:
            method.Execute(self.fixed, self.moving)
        except RuntimeError:
            # Too few samples meet in the moving volume from here: this start leads nowhere.
            self.report.step()
            return start
        self.report.step()
        return start @ matrix_of(change)

    def _stop_if_asked(self, method: sitk.ImageRegistrationMethod) -> None:
        try:
            self.report.check()
        except Cancelled:
            method.StopRegistration()


def _image(values: np.ndarray, origin: np.ndarray, spacing: float) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0)))
    image.SetOrigin(origin.tolist())
    image.SetSpacing([spacing] * 3)
    return image
