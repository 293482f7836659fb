"""Where an input has nothing to say: its field of view ends there, or it was cut to a part of the others'."""

from typing import Optional

import numpy as np
import SimpleITK as sitk

from .intensity import BACKGROUND

_REACH = 6
"""Pixels. An edge that lies less than twice as far inside the reference's belongs to the shape of a brain's mask."""


def filled(mask: np.ndarray) -> np.ndarray:
    """Return a 2D mask with its holes filled."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask, np.uint8))
    return sitk.GetArrayFromImage(sitk.BinaryFillhole(image, fullyConnected=False, foregroundValue=1)).astype(bool)


def uncovered(reference: np.ndarray, image: np.ndarray) -> Optional[np.ndarray]:
    """Return where the reference shows something and another input's slice nothing; None where that is nowhere.

    Dark structures are no gaps: neither what the image encloses, nor what is narrower than a dozen pixels.

    :param reference: A slice as the network takes it, background -1.
    :param image: The other input's, of the same shape.
    :return: A mask of that shape.
    """
    nothing = (image == BACKGROUND) & (reference != BACKGROUND)
    if np.count_nonzero(nothing) < _REACH**2:
        return None
    gap = filled(reference != BACKGROUND) & ~filled(image != BACKGROUND)
    opened = sitk.BinaryOpeningByReconstruction(sitk.GetImageFromArray(gap.astype(np.uint8)), [_REACH, _REACH])
    gap = sitk.GetArrayFromImage(opened).astype(bool)
    return gap if gap.any() else None
