"""Smooth random fields."""

from typing import Sequence

import numpy as np
from scipy import ndimage


def smooth_noise(shape: Sequence[int], sigmas: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Return Gaussian noise of mean 0 and variance 1, float32, smoothed by ``sigmas`` samples along each axis.

    Along an axis with a wide sigma the noise is drawn and smoothed on a coarser grid of half a sigma and interpolated
    linearly: the time does not grow with the width.
    """
    steps = [max(1, int(sigma / 2)) for sigma in sigmas]
    coarse = [n if step == 1 else (n - 1) // step + 2 for n, step in zip(shape, steps)]
    noise = smooth(rng.standard_normal(coarse, dtype=np.float32), [s / step for s, step in zip(sigmas, steps)])
    for axis, step in enumerate(steps):
        if step > 1:
            noise = _stretched(noise, axis, step, shape[axis])
    noise -= noise.mean()
    return noise / max(float(noise.std()), 1e-6)


def smooth(values: np.ndarray, sigmas: Sequence[float]) -> np.ndarray:
    """Return an array smoothed by Gaussians of ``sigmas`` samples; less than 0.15 samples is none."""
    for axis, sigma in enumerate(sigmas):
        if sigma > 0.15 and values.shape[axis] > 1:
            values = ndimage.gaussian_filter1d(values, sigma, axis=axis, truncate=3.0, mode="nearest")
    return values


def _stretched(values: np.ndarray, axis: int, step: int, length: int) -> np.ndarray:
    position = np.arange(length)
    before = position // step
    weight = ((position % step) / np.float32(step)).astype(np.float32)
    weight = weight.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    return np.take(values, before, axis) * (1 - weight) + np.take(values, before + 1, axis) * weight
