"""Instance norm of one slice in channels-last order."""

from typing import Tuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .layout import rows

EPS = 1e-5


def _column_moments(matrix: Tensor) -> Tuple[Tensor, Tensor]:
    """Return the mean and the biased variance of each column of a matrix."""
    if hasattr(torch, "batch_norm_update_stats"):
        return torch.batch_norm_update_stats(matrix, None, None, 0.0)
    mean = matrix.mean(0)
    return mean, (matrix - mean).square_().mean(0)


def scale_and_shift(matrix: Tensor, channels: int) -> Tuple[Tensor, Tensor]:
    """Return rows ``a`` and ``b`` such that ``a x + b`` is the instance norm of a slice.

    The moments of a channel come from those of the columns that hold it. Each column is short, so that float32 sums
    lose no more than those of ``F.instance_norm``; over all pixels at once they would lose thirty times as much.

    :param matrix: The slice, (N, g C), with g pixels a row as from ``layout.rows``.
    """
    means, variances = (moment.view(-1, channels) for moment in _column_moments(matrix))
    mean = means.mean(0, keepdim=True)
    spread = means - mean
    scale = torch.addcmul(variances, spread, spread).mean(0, keepdim=True).add_(EPS).rsqrt_()
    shift = torch.mul(mean, scale).neg_()
    return scale.expand_as(means).reshape(-1), shift.expand_as(means).reshape(-1)


def _multiply_add(x: Tensor, out: Tensor) -> None:
    matrix = rows(x)
    scale, shift = scale_and_shift(matrix, x.shape[1])
    torch.addcmul(shift, matrix, scale, out=rows(out))


def normalised(x: Tensor) -> Tensor:
    """Return the instance norm of ``x``, (1, C, H, W), channels-last."""
    result = torch.empty_like(x)
    _multiply_add(x, result)
    return result


def silu_normalised(x: Tensor) -> Tensor:
    """Return SiLU of the instance norm of ``x``."""
    return F.silu(normalised(x), inplace=True)


def silu_normalised_(x: Tensor) -> Tensor:
    """Put SiLU of the instance norm of ``x`` in its place; return it."""
    _multiply_add(x, x)
    return F.silu(x, inplace=True)
