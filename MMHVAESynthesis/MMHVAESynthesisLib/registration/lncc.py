"""Multi-scale local normalised cross-correlation by gradient descent: the engine that needs PyTorch and nothing else.

The signed correlation coefficient in windows of 5 and 9 voxels, at 4, 2 and 1 mm, as in Dorent et al., IEEE TPAMI 2025,
section on registration. What is raised, by Adam over the six parameters of a rigid motion (twelve when affine), is the
information that the windows' correlations stand for: see :func:`similarity.information`.
"""

from dataclasses import dataclass
from typing import List, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from ..progress import Reporter
from .pyramid import Level
from .similarity import HIGHEST, INFORMATION_FLOOR, LEAST_FILLED, WINDOWS, seen
from .solution import MOST_STRETCH

_TURN, _SHIFT, _STRETCH = slice(0, 3), slice(3, 6), slice(6, 12)


@dataclass(frozen=True)
class Schedule:
    """One descent: its iterations, its first and last step in mm, and every how many voxels a window is centred."""

    iterations: int
    first_step: float
    last_step: float
    window_stride: int = 1

    def step(self, iteration: int) -> float:
        """Return the step in mm at an iteration: from the first to the last along half a cosine."""
        part = iteration / max(self.iterations - 1, 1)
        return self.last_step + (self.first_step - self.last_step) * 0.5 * (1 + np.cos(np.pi * part))


def box_matrix(length: int, width: int, stride: int) -> Tensor:
    """Return the matrix (ceil(length / stride), length) that sums ``width`` samples around every ``stride``-th."""
    centres = torch.arange(0, length, stride)
    return ((centres[:, None] - torch.arange(length)[None]).abs() <= width // 2).float()


class Windows:
    """Sums over the windows of one width. Products with band matrices beat pooling some sevenfold on a CPU."""

    def __init__(self, shape: Sequence[int], width: int, stride: int, device: torch.device):
        self.stride, self.least = stride, LEAST_FILLED * width**3
        self.x, self.y, self.z = (box_matrix(n, width, stride).to(device) for n in shape)

    def sums(self, values: Tensor) -> Tensor:
        """(..., X, Y, Z) -> the sums around every stride-th voxel, (..., X', Y', Z')."""
        values = self.y @ (values @ self.z.T)
        flat = values.flatten(-2)
        return (self.x @ flat).unflatten(-1, values.shape[-2:])

    def centres(self, where: Tensor, count: Tensor) -> Tensor:
        """Return around which voxels of ``where`` (0 or 1) a window counts, by how many voxels it holds: 0 or 1."""
        return where[..., :: self.stride, :: self.stride, :: self.stride] * (count >= self.least)


class Landscape:
    """The metric of several candidate poses (B of them) at one level, differentiable in their parameters.

    Which voxels count is settled by the poses at the start of a descent, so that no candidate gains by sliding out of
    view. The moving volume is sampled at these voxels (K of them in all) and nowhere else.
    """

    def __init__(self, level: Level, poses: Sequence[np.ndarray], parts: Sequence[np.ndarray], stride: int, device):
        """Take (4, 4) local poses, and for each the part of the field, (X, Y, Z) bool, to judge it by."""
        self.level, self.device = level, device
        self.poses = torch.tensor(np.stack(poses), dtype=torch.float64, device=device)
        points = level.fixed_points()
        self.radius = float(np.sqrt((points[level.mask.any(axis=0).ravel()] ** 2).sum(axis=1).mean()))
        self.moving = torch.tensor(level.moving, device=device)
        fixed = torch.tensor(level.fixed, device=device)
        self.shape = level.fixed.shape[1:]
        field = np.stack([level.mask & part for part in parts])
        where = field & np.stack([seen(level, pose) for pose in poses])
        sampled = np.flatnonzero(where.any(axis=(0, 1)))
        start = fixed[0].numel() * np.arange(len(poses))[:, None]
        self.sampled = torch.tensor((start + sampled).ravel(), device=device)
        self.points = torch.tensor(np.insert(points[sampled], 3, 1, axis=1), dtype=torch.float32, device=device)
        self.to_grid = torch.tensor(self._to_grid(), device=device)
        weight, field = (torch.tensor(v, dtype=torch.float32, device=device) for v in (where, field))
        self.windows = [Windows(self.shape, width, stride, device) for width in WINDOWS]
        self.weight, self.fixed = weight, weight * fixed
        self.statistics = [self._fixed_statistics(windows, fixed, field) for windows in self.windows]

    def _to_grid(self) -> np.ndarray:
        """Return the (4, 3) matrix that takes local points (N, 4), the last of them 1, to grid_sample's coordinates."""
        level = self.level
        scale = 2 / (np.array(level.moving.shape[1:]) - 1)
        matrix = np.zeros((4, 3))
        matrix[:3] = np.diag(scale / level.spacing)
        matrix[3] = -level.moving_origin / level.spacing * scale - 1
        # grid_sample's x is the last axis.
        return matrix[:, ::-1].copy()

    def _fixed_statistics(
        self, windows: Windows, fixed: Tensor, field: Tensor
    ) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
        count = windows.sums(self.weight)
        share = windows.centres(self.weight, count) / windows.centres(field, windows.sums(field)).sum(
            (-3, -2, -1), keepdim=True
        ).clamp(min=1)
        inverse = 1 / count.clamp(min=1)
        mean = windows.sums(self.fixed) * inverse
        variance = windows.sums(self.fixed * fixed) * inverse - mean**2
        return inverse, mean, (variance.clamp(min=0) + INFORMATION_FLOOR).rsqrt(), share

    def matrices(self, parameters: Tensor) -> Tensor:
        """Return the local poses (B, 4, 4) that (B, 6 or 12) parameters stand for: mm at the field's radius, and mm."""
        pose = torch.eye(4, dtype=torch.float64, device=self.device).repeat(len(parameters), 1, 1)
        linear = torch.matrix_exp(_cross(parameters[:, _TURN] / self.radius))
        if parameters.shape[1] > 6:
            linear = linear @ _stretch(parameters[:, _STRETCH] / self.radius)
        pose[:, :3, :3] = linear
        pose[:, :3, 3] = parameters[:, _SHIFT]
        return self.poses @ pose

    def _moved(self, matrices: Tensor, pair: int) -> Tensor:
        """Return the moving volume of a pair under (B, 4, 4) local poses, (B, X, Y, Z): 0 where it is not sampled."""
        grid = self.points @ (matrices.transpose(1, 2) @ self.to_grid).float()
        volume = self.moving[pair][None, None]
        values = F.grid_sample(volume, grid.view(1, -1, 1, 1, 3), padding_mode="border", align_corners=True)
        moved = values.new_zeros(len(matrices) * int(np.prod(self.shape)))
        return moved.index_copy(0, self.sampled, values.view(-1)).view(len(matrices), *self.shape)

    def metric(self, matrices: Tensor) -> Tensor:
        """Return the information of (B, 4, 4) local poses: (B,) nats, the mean over pairs, windows and voxels."""
        total = torch.zeros(len(matrices), device=self.device)
        for pair in range(len(self.moving)):
            moved = self._moved(matrices, pair)
            weighted = self.weight[:, pair] * moved
            products = torch.stack([weighted, weighted * moved, self.fixed[:, pair] * moved])
            for windows, (inverse, mean, scale, share) in zip(self.windows, self.statistics):
                g, gg, fg = windows.sums(products) * inverse[:, pair]
                variance = (gg - g * g).clamp(min=0) + INFORMATION_FLOOR
                local = (fg - mean[:, pair] * g) * scale[:, pair] * variance.rsqrt()
                nats = -0.5 * torch.log1p(-(local.clamp(0, HIGHEST) ** 2))
                total = total + (nats * share[:, pair]).sum((-3, -2, -1))
        return total / (len(self.moving) * len(self.windows))


_LEVEL = 16.0
"""Twice the argument at which a hyperbolic tangent is 1 to seven digits."""


def _cross(vectors: Tensor) -> Tensor:
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).view(-1, 3, 3)


def _stretch(values: Tensor) -> Tensor:
    """Return symmetric matrices near the identity that stretch by :data:`MOST_STRETCH` at most, whatever the direction.

    The bound is a hyperbolic tangent of the whole matrix, by way of exponentials: of each entry it would hold along the
    axes alone, and its eigenvectors have no derivative where nothing is stretched.
    """
    values = 2 / MOST_STRETCH * values
    # Farther off the tangent is level anyway, and exponentials outgrow the digits.
    beyond = (values**2).sum(-1, keepdim=True) / _LEVEL**2
    xx, yy, zz, xy, xz, yz = (values * beyond.clamp(min=1).rsqrt()).unbind(-1)
    raised = torch.matrix_exp(torch.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], dim=-1).view(-1, 3, 3))
    identity = torch.eye(3, dtype=values.dtype, device=values.device)
    return identity + MOST_STRETCH * torch.linalg.solve(raised + identity, raised - identity)


class _Adam:
    """Kingma and Ba, ICLR 2015. PyTorch's own, at its first step, imports a compiler for two seconds."""

    MEAN_DECAY, SQUARE_DECAY = 0.8, 0.9

    def __init__(self, parameters: Tensor):
        self.parameters, self.steps = parameters, 0
        self.mean, self.square = torch.zeros_like(parameters), torch.zeros_like(parameters)

    @torch.no_grad()
    def ascend(self, gradient: Tensor, size: float) -> None:
        """Move each parameter up its gradient by about ``size``."""
        self.steps += 1
        self.mean.lerp_(gradient, 1 - self.MEAN_DECAY)
        self.square.lerp_(gradient**2, 1 - self.SQUARE_DECAY)
        mean = self.mean / (1 - self.MEAN_DECAY**self.steps)
        square = self.square / (1 - self.SQUARE_DECAY**self.steps)
        self.parameters += size * mean / (square.sqrt() + 1e-12)


@torch.no_grad()
def informed(level: Level, poses: Sequence[np.ndarray], stride: int, device: torch.device) -> List[float]:
    """Return the information of (4, 4) local poses, nats, of windows around every ``stride``-th voxel."""
    whole = np.ones(level.fixed.shape[1:], dtype=bool)
    landscape = Landscape(level, poses, [whole] * len(poses), stride, device)
    return landscape.metric(landscape.poses).tolist()


def descend(
    level: Level,
    poses: Sequence[np.ndarray],
    schedule: Schedule,
    report: Reporter,
    device: torch.device,
    parts: Sequence[np.ndarray] = (),
    affine: bool = False,
) -> Tuple[List[np.ndarray], List[float]]:
    """Raise the information from several poses at once.

    :param poses: (4, 4) local poses to start from.
    :param parts: For each pose, the part of the field that it is judged by, (X, Y, Z) bool; none means the whole
        field.
    :param report: Is stepped once an iteration.
    :return: The best pose met on each way, and its information.
    """
    whole = np.ones(level.fixed.shape[1:], dtype=bool)
    landscape = Landscape(level, poses, parts or [whole] * len(poses), schedule.window_stride, device)
    parameters = torch.zeros(len(poses), 12 if affine else 6, dtype=torch.float64, device=device, requires_grad=True)
    adam = _Adam(parameters)
    best = landscape.poses.clone()
    highest = torch.full((len(poses),), -1.0, device=device)
    for iteration in range(schedule.iterations + 1):
        matrices = landscape.matrices(parameters)
        values = landscape.metric(matrices)
        better = values.detach() > highest
        highest = torch.where(better, values.detach(), highest)
        best = torch.where(better[:, None, None], matrices.detach(), best)
        if iteration == schedule.iterations:
            break
        adam.ascend(torch.autograd.grad(values.sum(), parameters)[0], schedule.step(iteration))
        report.step()
    return list(best.cpu().numpy()), highest.cpu().tolist()
