"""Figures that say how far to trust a case."""

import dataclasses
from typing import Any, Dict, List, Mapping, Optional

import numpy as np
import SimpleITK as sitk

from ..modalities import label
from ..registration.result import RegistrationResult
from ..synthesis.result import SynthesisResult
from ..volumes.checks import array_view
from ..volumes.intensity import from_zero

PREOPERATIVE, INPUT = "pre-operative", "input"
"""What a synthetic volume is compared with: MR that the network has not seen, or an input that it has."""

_FEWEST = 100
"""Voxels below which a correlation says nothing."""


_LITTLE = 0.5
"""Share of the field of view below which the MR most likely lies elsewhere."""


def of_targets(
    result: SynthesisResult,
    inputs: Mapping[str, sitk.Image],
    real: Mapping[str, sitk.Image],
    placement: Optional[sitk.Transform] = None,
) -> Dict[str, Dict[str, Any]]:
    """Return the figures of each synthetic volume.

    :param real: Pre-operative MR.
    :param placement: Brings points of the synthetic volumes to points of that MR; None: it lies where it belongs.
    :return: ``{modality: {"uncertainty": {"mean", "p95"} or None, "similarity": {"to", "correlation", "share"} or
        None}}``; the uncertainty is the standard deviation within the field of view, in units of 0 to 255.
    """
    figures = {}
    for target, image in result.images.items():
        seen = array_view(image) != 0
        known = target in real
        what, other, there = (PREOPERATIVE, real[target], placement) if known else (INPUT, inputs.get(target), None)
        figures[target] = {
            "uncertainty": _uncertainty(result.uncertainty.get(target), seen),
            "similarity": None if other is None else {"to": what, **similarity(image, other, there)},
        }
    return figures


def of_coverage(figures: Mapping[str, Mapping[str, Any]]) -> List[str]:
    """Return a warning for each target whose pre-operative MR, compared with as it lies, covers little of the field."""
    compared = {m: found["similarity"] for m, found in figures.items() if found["similarity"]}
    return [
        f"The pre-operative {label(m)} covers only {found['share']:.0%} of the field of view: does it lie on the "
        "ultrasound, or should it be registered?"
        for m, found in compared.items()
        if found["to"] == PREOPERATIVE and found["share"] < _LITTLE
    ]


def of_registration(result: RegistrationResult) -> Dict[str, Any]:
    """Return the figures of a registration; lengths in mm, see ``RegistrationResult``."""
    made = result.provenance
    return {
        "engine": made["engine"],
        **({"refined_on": made["refined_on"]} if "refined_on" in made else {}),
        "lncc_before": _rounded(result.metric_before),
        "lncc_after": _rounded(result.metric_after),
        "confidence_mm": _rounded(result.confidence),
        "moved_mm": _rounded(result.moved),
        "overlap": _rounded(result.overlap),
        "kept_start": result.kept_start,
        "above_chance": made["above_chance"],
        "contrasts": [dataclasses.asdict(contrast) for contrast in result.contrasts],
        "completed": [contrast.modality for contrast in result.contrasts if contrast.completed],
    }


def similarity(
    image: sitk.Image, other: sitk.Image, placement: Optional[sitk.Transform] = None
) -> Dict[str, Optional[float]]:
    """Compare a synthetic volume, 0 outside, with a real one where both show something: above its lowest value.

    :param placement: Brings points of ``image`` to points of ``other``; None: both lie where they belong.
    :return: ``correlation``: Pearson's, -1 to 1, None where too little is common; ``share``: how much of ``image``
        that is not 0 the other covers, 0 to 1.
    """
    values = array_view(image)
    placement = placement or sitk.Transform()
    there = sitk.GetArrayFromImage(sitk.Resample(other, image, placement, sitk.sitkLinear, 0.0, sitk.sitkFloat32))
    shown = sitk.GetImageFromArray((from_zero(array_view(other)) > 0).astype(np.uint8))
    shown.CopyInformation(other)
    # Interpolation smears what is shown over the border, by rounding alone even from a grid to itself.
    covered = sitk.GetArrayFromImage(sitk.Resample(shown, image, placement, sitk.sitkNearestNeighbor, 0.0))
    seen = values != 0
    common = seen & (covered != 0)
    count = int(common.sum())
    share = count / max(int(seen.sum()), 1)
    first, second = values[common].astype(np.float64), there[common].astype(np.float64)
    if count < _FEWEST or first.std() == 0 or second.std() == 0:
        return {"correlation": None, "share": _rounded(share)}
    return {"correlation": _rounded(float(np.corrcoef(first, second)[0, 1])), "share": _rounded(share)}


def _uncertainty(deviation: Optional[sitk.Image], seen: np.ndarray) -> Optional[Dict[str, float]]:
    if deviation is None or not seen.any():
        return None
    values = array_view(deviation)[seen]
    return {"mean": _rounded(float(values.mean(dtype=np.float64))), "p95": _rounded(float(np.percentile(values, 95)))}


def _rounded(value: float) -> float:
    return round(float(value), 5)
