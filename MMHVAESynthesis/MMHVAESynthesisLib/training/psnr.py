"""PSNR a slice, as published: 8-bit images, each slice whose target is not empty, the whole slice.

The data range is the target slice's maximum minus its minimum.
"""

import math

import numpy as np


def to_8bit(network: np.ndarray) -> np.ndarray:
    """Map the network's range [-1, 1] to uint8: int(255 (y + 1) / 2), truncated, as published; -1 becomes 0."""
    return np.clip(255 * (network.astype(np.float64) + 1) / 2, 0, 255).astype(np.uint8)


def counts(target: np.ndarray) -> bool:
    """Return whether a slice takes part: its target, 8-bit, is neither empty nor of one value (no data range)."""
    return bool(target.max() > target.min())


def psnr(target: np.ndarray, image: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio, dB, of an 8-bit slice: 10 log10(range^2 / MSE); infinite when equal.

    >>> round(psnr(np.array([[0, 100]], np.uint8), np.array([[0, 90]], np.uint8)), 2)
    23.01
    """
    error = float(np.mean((target.astype(np.float64) - image.astype(np.float64)) ** 2))
    data_range = float(target.max()) - float(target.min())
    return math.inf if error == 0 else 10 * math.log10(data_range**2 / error)
