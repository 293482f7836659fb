"""The same volumes with their axes in another order, so that slices lie across another axis."""

from typing import Tuple

import numpy as np
import SimpleITK as sitk

from .preparation import PreparedCase

Order = Tuple[int, int, int]
"""Which axes of a volume become I, J and K."""

ORDERS: Tuple[Order, ...] = ((0, 1, 2), (1, 2, 0), (0, 2, 1))
"""Slices across K, as a volume is stored, across I and across J."""

_THICKEST = 2.0
"""Times the model's spacing that voxels may measure along any axis: between thicker slices too little is known."""

_LEAST_EXTENT = 1 / 3
"""Of the network's size that a volume must measure along each axis: a narrower strip shows too little."""


def turned(image: sitk.Image, order: Order) -> sitk.Image:
    """Return a volume with its axes in another order; each voxel stays where it is in the world."""
    return sitk.PermuteAxes(image, list(order))


def turned_back(array: np.ndarray, order: Order) -> np.ndarray:
    """Return the array [k, j, i] of a turned volume as that of the volume before, as a view."""
    held = order[::-1]
    return array.transpose([held.index(axis) for axis in (2, 1, 0)])


def can_be_turned(case: PreparedCase, spacing: float, size: int) -> bool:
    """Return whether slices across any axis of a case's reference are like those that a model knows.

    :param spacing: The model's, mm.
    :param size: Its rows and columns.
    """
    thickest = max(case.image.GetSpacing())
    return thickest <= _THICKEST * spacing and min(case.extent) >= _LEAST_EXTENT * size * spacing
