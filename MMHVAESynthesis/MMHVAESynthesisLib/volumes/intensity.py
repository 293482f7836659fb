"""Intensities of a volume in the network's range, and back."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

BACKGROUND = np.float32(-1)
"""The value outside a volume's mask, in inputs and outputs of the network."""

_DARKEST = 255 / 256
_PERCENTILE = 99.95
_ZERO_FILLED = 0.1
"""Beyond this part of exact zeros, those of a volume with negative values are taken for filled-in background."""


@dataclass(frozen=True)
class IntensityRange:
    """The darkest and the brightest intensity of a volume within its mask, the brightest a percentile."""

    low: float
    high: float

    def to_network(self, intensities: np.ndarray) -> np.ndarray:
        """Map intensities to [-255/256, 1] where above 0, to exactly -1 elsewhere; float32, any shape."""
        span = self.high - self.low or 1.0
        clipped = np.minimum(intensities, self.high)
        scaled = (clipped - self.low) / span * (1 + _DARKEST) - _DARKEST
        # Rounding may leave the brightest a trace above 1.
        return np.where(intensities > 0, np.minimum(scaled, 1), BACKGROUND).astype(np.float32)


def to_image(network: np.ndarray) -> np.ndarray:
    """Map the network's output from [-1, 1] to [0, 255]; background becomes exactly 0."""
    return (network + 1) * np.float32(127.5)


def is_zero_filled(volume: np.ndarray, lowest: float) -> bool:
    """Return whether the zeros of a volume with values below 0 are background filled in: more than a tenth of it."""
    return bool(lowest < 0 and 1 - np.count_nonzero(volume) / volume.size > _ZERO_FILLED)


def shifted(values: np.ndarray, lowest: float, zero_filled: bool) -> np.ndarray:
    """Return values of an MR as intensities of 0 and more, float32, 0 for background; any shape.

    The minimum over the volume, ``lowest``, is taken off. Where the background was filled with zeros (a brain extracted
    from an image with negative values, say by a filter's ringing) it stays 0.
    """
    moved = (values - lowest).astype(np.float32)
    return np.where(values == 0, np.float32(0), moved) if zero_filled else moved


def from_zero(volume: np.ndarray) -> np.ndarray:
    """Return a whole MR volume as intensities of 0 and more, float32, 0 for background."""
    lowest = float(volume.min())
    return shifted(volume, lowest, is_zero_filled(volume, lowest))


def image_from_zero(image: sitk.Image) -> sitk.Image:
    """Return an MR as intensities of 0 and more, float32; one whose minimum is 0 as it is, in its own type."""
    array = sitk.GetArrayViewFromImage(image)
    if array.min() == 0:
        return image
    moved = sitk.GetImageFromArray(from_zero(array))
    moved.CopyInformation(image)
    return moved


class RangeFinder:
    """Finds a volume's range plane by plane, holding no more than the brightest 0.05 % of its voxels.

    The same as numpy's linear 99.95th percentile over all voxels above 0, to rounding.

    :param voxels: An upper bound on how many voxels will be seen.
    """

    def __init__(self, voxels: int):
        self._keep = int(np.ceil(voxels * (1 - _PERCENTILE / 100))) + 2
        self._brightest = np.empty(0, np.float32)
        self._low = np.inf
        self.count = 0

    def add(self, intensities: np.ndarray) -> None:
        """See one plane."""
        inside = intensities[intensities > 0]
        if not inside.size:
            return
        self.count += inside.size
        self._low = min(self._low, float(inside.min()))
        candidates = np.concatenate([self._brightest, inside])
        if candidates.size > self._keep:
            candidates = np.partition(candidates, candidates.size - self._keep)[-self._keep :]
        self._brightest = candidates

    def range(self) -> IntensityRange:
        """Return the range of all that was seen. At least one voxel above 0 must have been."""
        ascending = np.sort(self._brightest).astype(np.float64)
        rank = (self.count - 1) * _PERCENTILE / 100 - (self.count - ascending.size)
        below = int(np.floor(rank))
        above = min(below + 1, ascending.size - 1)
        high = ascending[below] + (ascending[above] - ascending[below]) * (rank - below)
        return IntensityRange(self._low, float(high))
