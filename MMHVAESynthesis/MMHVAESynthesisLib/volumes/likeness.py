"""Signs that an input is unlike what a model was trained on. They warn; they do not refuse."""

from typing import List, Optional

import numpy as np

from ..modalities import US, label
from .preparation import PreparedCase

BACKGROUND_OF_STRIPPED = 0.1
"""An MR of which a smaller part is background seems to show the skull."""

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
    if np.unique(inside).size < _FEW_LEVELS:
        return [f"{label(modality)} has fewer than {_FEW_LEVELS} grey levels: is it a label map?"]
    if (np.median(inside) + 1) / 2 < _DARK_MEDIAN:
        return [f"{label(modality)} is almost black but for a few very bright voxels: its contrast will be poor."]
    return []


def _skull(case: PreparedCase) -> List[str]:
    zeros = case.background_shares()
    return [
        f"{label(modality)} has hardly any background: the model knows skull-stripped MR only. "
        "Extract the brain first (for example with HD-BET or SynthStrip)."
        for modality, share in zeros.items()
        if modality != US and share < BACKGROUND_OF_STRIPPED
    ]
