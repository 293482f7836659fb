"""Instance norm of one slice in channels-last order, and SiLU behind it."""

from functools import cache
from typing import Callable, Optional, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .layout import across, channels_last, rows

EPS = 1e-5

_FUSED_FROM = 1 << 18
"""Elements from which norm and SiLU in one pass take less time than two simple calls."""


def _column_moments(matrix: Tensor) -> Tuple[Tensor, Tensor]:
    """Return the mean and the biased variance of each column of a matrix."""
    if hasattr(torch, "batch_norm_update_stats"):
        return torch.batch_norm_update_stats(matrix, None, None, 0.0)
    mean = matrix.mean(0)
    return mean, (matrix - mean).square_().mean(0)


def scale_and_shift(matrix: Tensor, channels: int) -> Tuple[Tensor, Tensor]:
    """Return ``a`` and ``b``, (C,), such that ``a x + b`` is the instance norm of a slice.

    The moments of a channel come from those of the columns that hold it. Each column is short, so that float32 sums
    lose no more than those of ``F.instance_norm``; over all pixels at once they would lose thirty times as much.

    :param matrix: The slice, (N, g C), with g pixels a row as from ``layout.rows``.
    """
    means, variances = (moment.view(-1, channels) for moment in _column_moments(matrix))
    mean = means.mean(0, keepdim=True)
    spread = means - mean
    scale = torch.addcmul(variances, spread, spread).mean(0, keepdim=True).add_(EPS).rsqrt_()
    shift = torch.mul(mean, scale).neg_()
    return scale[0], shift[0]


def normalise_into(place: Tensor, matrix: Tensor, channels: int) -> None:
    """Put the instance norm of a slice, (N, g C) with g pixels a row, into ``place`` of the same shape."""
    scale, shift = (across(row, matrix) for row in scale_and_shift(matrix, channels))
    torch.addcmul(shift, matrix, scale, out=place)


def normalised(x: Tensor) -> Tensor:
    """Return the instance norm of ``x``, (1, C, H, W), channels-last."""
    result = torch.empty_like(x)
    normalise_into(rows(result), rows(x), x.shape[1])
    return result


def silu_normalised(x: Tensor, spare: bool = False) -> Tensor:
    """Return SiLU of the instance norm of ``x``, (1, C, H, W), channels-last.

    :param spare: Whether ``x`` may be overwritten.
    """
    fused = fused_scale_shift_silu() if x.numel() >= _FUSED_FROM else None
    if fused is not None:
        return fused(x, *scale_and_shift(rows(x), x.shape[1]))
    result = x if spare else torch.empty_like(x)
    normalise_into(rows(result), rows(x), x.shape[1])
    return F.silu(result, inplace=True)


@cache
def fused_scale_shift_silu() -> Optional[Callable[[Tensor, Tensor, Tensor], Tensor]]:
    """Return a function for SiLU(a x + b) in one pass over memory, channels-last; None where there is none.

    It is oneDNN's depthwise 1x1 convolution with SiLU behind it, a call that PyTorch has for its compiler and does not
    document. So it is tried before it is used.
    """

    def fused(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        weight = scale.view(-1, 1, 1, 1)
        convolve = torch.ops.mkldnn._convolution_pointwise
        return channels_last(convolve(x, weight, shift, [0, 0], [1, 1], [1, 1], len(scale), "swish", [], ""))

    x, scale, shift = torch.linspace(-20, 20, 16 * 64).view(1, 8, 8, 16).permute(0, 3, 1, 2), *torch.ones(2, 16)
    try:
        found = fused(x, scale, shift)
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return None
    return fused if torch.allclose(found, F.silu(x + 1), rtol=1e-5, atol=1e-6) else None
