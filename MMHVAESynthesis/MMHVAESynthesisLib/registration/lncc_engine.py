"""The built-in engine: from all starts at 4 mm, then from the best ends and the starts themselves at 2 mm.

The best of those goes on at 1 mm, and is repeated on halves of the field.
"""

from contextlib import contextmanager
from typing import Any, Iterator, List, Sequence, Tuple

import numpy as np
import torch

from ..errors import DeviceError
from ..progress import Reporter
from ..request import AFFINE, RegistrationRequest
from ..threads import ONE_TORCH_THREAD
from .frame import gap
from .lncc import Schedule, descend, informed
from .parts import JITTER, REPEATS, halves, perturbed
from .problem import Problem
from .pyramid import Level
from .search import is_near
from .solution import Rival, Solution, stretched_alike
from .together import together

COARSE = Schedule(30, 1.5, 0.1)
MIDDLE = Schedule(25, 0.5, 0.05, window_stride=2)
FINE = Schedule(20, 0.3, 0.02, window_stride=2)
REPEAT = Schedule(20, 0.5, 0.05, window_stride=2)
STRETCH = Schedule(25, 0.3, 0.02)

CANDIDATES = 3
"""How many placements of each view that lie apart go on from 4 mm to 2 mm, where they are told apart far better.

The starts that lie apart from these go there as well: a descent at 4 mm, where little of a poor synthesis or of iUS is
left, may lead away from the truth that a start is close to.
"""

_APART = 3.0
"""mm between two solutions that count as two."""

_MOST_VIEWS = 2
"""How many views a problem has at most."""

_BATCH = 2
"""Poses that descend together: more leave a thread idle, fewer cost more."""


def torch_device(name: str) -> torch.device:
    """Return the device to compute on.

    :raises DeviceError: when it is absent. MPS lacks 3D interpolation, so that the CPU does its work.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() and _interpolates("cuda") else "cpu")
    if name.startswith("cuda"):
        if not torch.cuda.is_available() or int(name.partition(":")[2] or 0) >= torch.cuda.device_count():
            raise DeviceError(f"The device {name} is not there: choose auto or cpu.")
        if not _interpolates(name):
            raise DeviceError(f"PyTorch {torch.__version__} cannot compute on {name}: choose auto or cpu.")
        return torch.device(name)
    return torch.device("cpu")


def _interpolates(device: str) -> bool:
    """Return whether this PyTorch can compute on a GPU that is there: for older ones it may have no kernels."""
    try:
        volume, grid = torch.zeros(1, 1, 2, 2, 2, device=device), torch.zeros(1, 1, 1, 1, 3, device=device)
        torch.nn.functional.grid_sample(volume, grid, align_corners=True).cpu()
    except (RuntimeError, AssertionError):
        return False
    return True


class LnccEngine:
    """Gradient descent on the information of LNCC's windows in PyTorch."""

    name = "lncc"

    def __init__(self, device: str = "auto"):
        """Take the device's name as a request has it.

        :raises DeviceError: when it is absent.
        """
        self._device = torch_device(device)

    @property
    def device(self) -> str:
        """The name of the device that is used."""
        return str(self._device)

    def steps(self, request: RegistrationRequest, starts: int) -> int:
        """Return how often :meth:`solve` steps its reporter: once an iteration of each batch."""
        fine = FINE.iterations + (STRETCH.iterations if request.kind == AFFINE else 0)
        first = _first_steps(starts, _most_candidates(starts), _MOST_VIEWS)
        return first + _batches(REPEATS) * REPEAT.iterations + fine

    def solve(
        self, problem: Problem, request: RegistrationRequest, starts: Sequence[np.ndarray], report: Reporter
    ) -> Solution:
        """Return the best pose that can be reached from any of the (4, 4) local poses ``starts``.

        :raises DeviceError: when the device's memory runs out.
        """
        with self._computing():
            return self._solve(problem, request, starts, report, self._device)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        try:
            # The volumes are small: on two cores with other work, products on two threads took five times as long.
            with ONE_TORCH_THREAD:
                yield
        except torch.cuda.OutOfMemoryError as error:
            raise DeviceError(
                f"The memory of {self._device} ran out: close what else uses it, or choose the device 'cpu'."
            ) from error

    def informed(self, problem: Problem, poses: Sequence[np.ndarray], report: Reporter) -> List[float]:
        """Return the information, nats, at (4, 4) local poses, at 2 mm.

        :raises DeviceError: when the device's memory runs out.
        """
        level = problem.pyramid.level(2)

        def batch(cut: slice):
            return lambda relay: informed(level, poses[cut], MIDDLE.window_stride, self._device)

        with self._computing():
            found = together([batch(cut) for cut in _cuts(len(poses), _BATCH)], report)
        return [value for values in found for value in values]

    def _solve(self, problem: Problem, request: RegistrationRequest, starts, report: Reporter, device) -> Solution:
        pyramid, points = problem.pyramid, problem.points
        ends: List[np.ndarray] = []
        for view in problem.views:
            poses, values = _descend(view.level(4), starts, COARSE, _BATCH, report, device)
            found = [pose for pose, _ in _distinct(*_near(poses, values, points), points, CANDIDATES)]
            ends += [pose for pose in found if all(gap(pose, end, points) > _APART for end in ends)]
        missed = [start for start in starts if all(gap(start, end, points) > _APART for end in ends)]
        poses, values = _descend(pyramid.level(2), [*ends, *missed], MIDDLE, 1, report, device)
        most = _first_steps(len(starts), _most_candidates(len(starts)), _MOST_VIEWS)
        report.step(most - _first_steps(len(starts), len(poses), len(problem.views)))
        best, *others = _distinct(*_near(poses, values, points), points, len(poses))
        rivals = [Rival(other, _share(value, best[1]), gap(other, best[0], points)) for other, value in others]
        pose, repeats = self._refined(problem, request, best[0], report, device)
        on_cpu = "MPS cannot interpolate in 3D: the registration ran on the CPU."
        return Solution(pose, repeats, [on_cpu] if request.device == "mps" else [], rivals=rivals)

    @staticmethod
    def _refined(problem: Problem, request: RegistrationRequest, start, report: Reporter, device):
        """Return the pose that ``start`` leads to at 1 mm, and the poses of its repeats at 2 mm.

        Repeats are rigid. An affine result's stretch is put onto them, so that they tell how well its place is known.
        """
        pyramid, middle = problem.pyramid, problem.pyramid.level(2)
        begins = perturbed(start, problem.points, JITTER, REPEATS, request.seed)
        parts = halves(middle, REPEATS, request.seed)

        def fine(relay: Any) -> Tuple[np.ndarray, np.ndarray]:
            (rigid,), _ = descend(pyramid.level(1), [start], FINE, relay, device)
            pose = rigid
            if request.kind == AFFINE:
                (pose,), _ = descend(middle, [rigid], STRETCH, relay, device, affine=True)
            return rigid, pose

        def repeat(cut: slice):
            return lambda relay: descend(middle, begins[cut], REPEAT, relay, device, parts[cut])[0]

        (rigid, pose), *repeats = together([fine, *map(repeat, _cuts(REPEATS, _BATCH))], report)
        return pose, stretched_alike([each for batch in repeats for each in batch], rigid, pose)


def _cuts(count: int, size: int) -> List[slice]:
    return [slice(first, first + size) for first in range(0, count, size)]


def _batches(count: int) -> int:
    return len(_cuts(count, _BATCH))


def _most_candidates(starts: int) -> int:
    return _MOST_VIEWS * min(starts, CANDIDATES) + starts


def _first_steps(starts: int, candidates: int, views: int) -> int:
    """Return how often the descents from so many starts, and from so many of their ends, step their reporter."""
    return views * _batches(starts) * COARSE.iterations + candidates * MIDDLE.iterations


def _descend(
    level: Level, poses: Sequence[np.ndarray], schedule: Schedule, size: int, report: Reporter, device: torch.device
) -> Tuple[List[np.ndarray], List[float]]:
    """Raise the information from several poses, ``size`` of them in each batch; see :func:`descend`."""

    def batch(cut: slice):
        return lambda relay: descend(level, poses[cut], schedule, relay, device)

    found = together([batch(cut) for cut in _cuts(len(poses), size)], report)
    return [pose for ends, _ in found for pose in ends], [value for _, values in found for value in values]


def _near(poses: List[np.ndarray], values: List[float], points: np.ndarray) -> Tuple[List[np.ndarray], List[float]]:
    """Return the poses that have not gone farther than is looked for, with their values; all where all have."""
    near = [place for place, pose in enumerate(poses) if is_near(pose, points)] or range(len(poses))
    return [poses[place] for place in near], [values[place] for place in near]


def _share(value: float, best: float) -> float:
    return min(max(value / best, 0.0), 1.0) if best > 0 else 1.0


def _distinct(
    poses: List[np.ndarray], values: List[float], points: np.ndarray, count: int
) -> List[Tuple[np.ndarray, float]]:
    """Return the best pose, and up to ``count`` in all that lie apart from those before, each with its value."""
    kept: List[Tuple[np.ndarray, float]] = []
    for index in np.argsort(-np.array(values), kind="stable"):
        if len(kept) < count and all(gap(poses[index], other, points) > _APART for other, _ in kept):
            kept.append((poses[index], values[index]))
    return kept
