"""The built-in engine: from all starts at 4 mm, the best on at 2 mm and at 1 mm, and repeats on halves of the field."""

import contextlib
from typing import Iterator, List, Sequence

import numpy as np
import torch

from ..errors import DeviceError
from ..progress import Reporter
from ..request import AFFINE, RegistrationRequest
from .frame import gap
from .lncc import Schedule, descend
from .parts import halves, perturbed
from .problem import Problem
from .solution import Solution

COARSE = Schedule(30, 1.5, 0.1)
MIDDLE = Schedule(25, 0.5, 0.05, window_stride=2)
FINE = Schedule(10, 0.1, 0.01, window_stride=2)
REPEAT = Schedule(20, 0.5, 0.05, window_stride=2)
STRETCH = Schedule(25, 0.3, 0.02)

CANDIDATES = 3
"""How many placements that lie apart go on from 4 mm to 2 mm, where their LNCC tells them apart far better."""

REPEATS = 4
"""Halves of the field on which the result is repeated."""

_JITTER = 1.0
"""mm by which a repeat starts off the result."""

_RIVAL = 0.9
"""Part of the best LNCC from which another solution counts as its rival."""

_APART = 3.0
"""mm between two solutions that count as two."""


def torch_device(name: str) -> torch.device:
    """Return the device to compute on.

    :raises DeviceError: when it is absent. MPS lacks 3D interpolation, so that the CPU does its work.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda"):
        if not torch.cuda.is_available() or int(name.partition(":")[2] or 0) >= torch.cuda.device_count():
            raise DeviceError(f"The device {name} is not there: choose auto or cpu.")
        return torch.device(name)
    return torch.device("cpu")


class LnccEngine:
    """Gradient descent on the LNCC in PyTorch."""

    name = "lncc"

    def steps(self, request: RegistrationRequest, starts: int) -> int:
        """Return how often :meth:`solve` steps its reporter."""
        schedules = [COARSE, MIDDLE, FINE, REPEAT] + ([STRETCH] if request.kind == AFFINE else [])
        return sum(schedule.iterations for schedule in schedules)

    def solve(
        self, problem: Problem, request: RegistrationRequest, starts: Sequence[np.ndarray], report: Reporter
    ) -> Solution:
        """Return the best pose that can be reached from any of the (4, 4) local poses ``starts``."""
        device = torch_device(request.device)
        with _one_thread():
            return self._solve(problem, request, starts, report, device)

    def _solve(self, problem: Problem, request: RegistrationRequest, starts, report: Reporter, device) -> Solution:
        pyramid, points = problem.pyramid, problem.points
        poses, values = descend(pyramid.level(4), starts, COARSE, report, device)
        poses = _distinct(poses, values, points, CANDIDATES)
        poses, values = descend(pyramid.level(2), poses, MIDDLE, report, device)
        best = int(np.argmax(values))
        rivals = [
            p for p, v in zip(poses, values) if v >= _RIVAL * values[best] and gap(p, poses[best], points) > _APART
        ]
        repeats = self._repeats(problem, request, poses[best], report, device)
        (pose,), _ = descend(pyramid.level(1), [poses[best]], FINE, report, device)
        if request.kind == AFFINE:
            (pose,), _ = descend(pyramid.level(2), [pose], STRETCH, report, device, affine=True)
        warnings = ["Another placement fits almost as well: check the result by eye."] if rivals else []
        if request.device == "mps":
            warnings.append("MPS cannot interpolate in 3D: the registration ran on the CPU.")
        return Solution(pose, [*repeats, *rivals], warnings)

    @staticmethod
    def _repeats(problem: Problem, request: RegistrationRequest, pose: np.ndarray, report: Reporter, device):
        level = problem.pyramid.level(2)
        starts = perturbed(pose, problem.points, _JITTER, REPEATS, request.seed)
        return descend(level, starts, REPEAT, report, device, halves(level, REPEATS, request.seed))[0]


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: so results repeat bit for bit, and threads do not wait for one another on a busy machine.

    The volumes are small: on two cores with other work, two threads took five times as long as one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _distinct(poses: List[np.ndarray], values: List[float], points: np.ndarray, count: int) -> List[np.ndarray]:
    """Return the best pose and up to ``count`` in all that lie apart from those before."""
    kept: List[np.ndarray] = []
    for index in np.argsort(-np.array(values), kind="stable"):
        if len(kept) < count and all(gap(poses[index], other, points) > _APART for other in kept):
            kept.append(poses[index])
    return kept
