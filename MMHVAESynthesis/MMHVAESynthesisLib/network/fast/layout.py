"""Tensors in channels-last order and their views as matrices."""

from functools import cache

import torch
from torch import Tensor

_ROW = 2048
"""Floats in a row of :func:`rows`, at most: a row of sums then stays in the first-level cache."""


def channels_last(x: Tensor) -> Tensor:
    """Return ``x``, (1, C, H, W), with its channels last in memory; itself when it is so already."""
    return x.contiguous(memory_format=torch.channels_last)


def pixels(x: Tensor) -> Tensor:
    """View (1, C, H, W), channels-last, as a matrix (H W, C)."""
    return x.permute(0, 2, 3, 1).view(-1, x.shape[1])


def image(matrix: Tensor, height: int, width: int) -> Tensor:
    """View a matrix (H W, C) as (1, C, H, W), channels-last."""
    return matrix.view(1, height, width, -1).permute(0, 3, 1, 2)


def rows(x: Tensor) -> Tensor:
    """View (1, C, H, W), channels-last, as a matrix (H W / g, g C) with g pixels a row.

    Sums down the columns of such a matrix, and products with one of its rows, run over long stretches of memory; with
    one pixel a row they take up to eight times longer where channels are few.
    """
    channels, count = x.shape[1], x.shape[2] * x.shape[3]
    group = 1
    while count % (2 * group) == 0 and 2 * group * channels <= _ROW:
        group *= 2
    return x.permute(0, 2, 3, 1).view(count // group, group * channels)


def across(row: Tensor, matrix: Tensor) -> Tensor:
    """Repeat one value a channel, (C,), as often as a row of :func:`rows` holds pixels."""
    return row.expand(matrix.shape[1] // row.shape[0], -1).reshape(-1)


def channel_means(x: Tensor) -> Tensor:
    """Return the mean of each channel of (1, C, H, W), channels-last, as (C,)."""
    return rows(x).mean(0).view(-1, x.shape[1]).mean(0)


@cache
def keep_freed_memory() -> None:
    """Teach glibc's allocator to keep what a pass frees for the next, once a process.

    It maps large blocks anew each time, and the kernel then has to clear each page: half of the time of the widest
    convolutions. It stops doing so for blocks up to the largest that was ever freed, 32 MB at most. The block is never
    written, so it takes no memory. Other allocators do not mind.
    """
    torch.empty(31 << 20, dtype=torch.uint8)
