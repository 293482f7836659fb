"""Signs that an input is unlike what a model was trained on. They warn; they do not refuse."""

from typing import List, Optional

import numpy as np
import SimpleITK as sitk

from ..modalities import US, label
from .checks import array_view
from .preparation import PreparedCase

_BACKGROUND = 0.1
"""An MR of which a smaller part is background seems to show the skull."""
_AIR = 0.15
"""How bright air is at most, in parts of what is bright."""
_MUCH_AIR = 0.2
"""An MR seems to show air where a larger part is as dark, but not 0: of what is not background, and of its faces."""

_CUT = 0.3
"""Share of an ultrasound's fullest plane above which an outermost plane shows a cut; 0.16 at most in 15 uncut RESECT
volumes.
"""

_LITTLE = 0.05
_FEW_LEVELS = 16
_LITTLE_OVERLAP = 0.5
_DARK_MEDIAN = 0.03


def warnings(case: PreparedCase, spacing: float, skull_stripped: Optional[bool]) -> List[str]:
    """Return one sentence for each sign.

    :param spacing: The model's, in mm.
    :param skull_stripped: Whether the model was trained on skull-stripped MR; None where that is unknown.
    """
    return [
        *_spacing(case, spacing),
        *_filling(case),
        *_field_of_view(case),
        *(sentence for modality in case.modalities for sentence in _intensities(case, modality)),
        *(_skull(case) if skull_stripped else []),
    ]


def _spacing(case: PreparedCase, spacing: float) -> List[str]:
    finest, coarsest = sorted(case.image.GetSpacing()[:2])
    if coarsest <= 2.5 * spacing and finest >= spacing / 5:
        return []
    native = coarsest if coarsest > 2.5 * spacing else finest
    return [
        f"{label(case.reference)} has pixels of {native:.2g} mm, the model was trained at {spacing:g} mm: "
        "fine detail cannot be trusted."
    ]


def _filling(case: PreparedCase) -> List[str]:
    found = []
    if case.coverage[case.reference].fullest_plane < _LITTLE:
        found.append(f"{label(case.reference)} fills less than {_LITTLE:.0%} of every slice: is it the right volume?")
    for modality in case.modalities:
        covered = case.coverage[modality].of_reference
        if covered < _LITTLE_OVERLAP:
            found.append(
                f"{label(modality)} covers only {covered:.0%} of {label(case.reference)}: do both lie in one place? If "
                "so, the rest comes from the other inputs alone."
            )
    return found


def _field_of_view(case: PreparedCase) -> List[str]:
    """Return a warning where an ultrasound fills the border of its volume, as when that was cropped too tightly."""
    if case.reference != US:
        return []
    seen = array_view(case.image) > 0
    for axis in range(3):
        filled = seen.sum(axis=tuple(other for other in range(3) if other != axis))
        if len(filled) > 1 and max(filled[0], filled[-1]) > _CUT * filled.max():
            return [f"{label(US)} reaches the border of its volume: was its field of view cut?"]
    return []


def _middle_plane(case: PreparedCase, modality: str) -> Optional[np.ndarray]:
    for plane in sorted(case.planes, key=lambda plane: abs(plane - case.planes[len(case.planes) // 2])):
        values = case.plane(plane).get(modality)
        if values is not None:
            return values[values != -1]
    return None


def _intensities(case: PreparedCase, modality: str) -> List[str]:
    inside = _middle_plane(case, modality)
    if inside is None:
        return []
    # Of the volume itself: interpolated, a mask has many.
    if case.grey_levels(modality, _FEW_LEVELS) < _FEW_LEVELS:
        return [f"{label(modality)} has fewer than {_FEW_LEVELS} grey levels: is it a label map?"]
    if (np.median(inside) + 1) / 2 < _DARK_MEDIAN:
        return [f"{label(modality)} is almost black but for a few very bright voxels: its contrast will be poor."]
    return []


def _skull(case: PreparedCase) -> List[str]:
    signs = {modality: sign_of_skull(case.coarse(modality)) for modality in case.modalities if modality != US}
    return [
        f"{label(modality)} {sign}: the model knows skull-stripped MR only. "
        "Extract the brain first (for example with HD-BET or SynthStrip)."
        for modality, sign in signs.items()
        if sign
    ]


def sign_of_skull(volume: np.ndarray) -> str:
    """Return what in an MR speaks against a brain that was extracted, as the end of a sentence; empty for nothing.

    :param volume: [k, j, i], 0 for background; every second voxel will do.
    """
    inside = np.count_nonzero(volume)
    if inside > (1 - _BACKGROUND) * volume.size:
        return "has hardly any background"
    # The air around a head is noise, though some of it may have been set to 0.
    bright = sitk.GetArrayViewFromImage(sitk.OtsuThreshold(sitk.GetImageFromArray(volume), 0, 1)) > 0
    if not bright.any():
        return ""
    air = (volume > 0) & (volume < _AIR * volume[bright].mean())
    faces = np.concatenate([air.take(end, axis).ravel() for axis in range(3) for end in (0, -1)])
    # A dark cyst may take up much of a field, but does not lie all around it.
    much = np.count_nonzero(air) > _MUCH_AIR * inside and np.count_nonzero(faces) > _MUCH_AIR * faces.size
    return "shows air around the head, darker than tissue but not 0" if much else ""
