"""What a synthesis gives back."""

from dataclasses import dataclass, field
from typing import Any, Dict, List

import SimpleITK as sitk


@dataclass(frozen=True)
class SynthesisResult:
    """Synthetic volumes and where they come from.

    :param images: ``{modality: volume}``, float32 in [0, 255], background exactly 0, on the reference input's own grid.
        With several samples their mean.
    :param uncertainty: ``{modality: volume}``, the standard deviation over samples and directions, in the same units;
        empty for one sample. Over samples it is taken on the model's own grid and interpolated from there: off that
        grid it is an upper bound of how much the samples' volumes differ, which interpolation smooths.
    :param reference: The modality whose input's grid and mask the results have.
    :param provenance: All that is needed to say how they were made, as JSON can hold it.
    :param warnings: Sentences for the user.
    """

    images: Dict[str, sitk.Image]
    uncertainty: Dict[str, sitk.Image]
    reference: str
    provenance: Dict[str, Any]
    warnings: List[str]


@dataclass(frozen=True)
class Preview:
    """One synthetic slice, and what the whole would take.

    :param images: ``{modality: volume}`` of one plane, placed where it belongs in world space.
    :param plane: Index of the plane along K of the reference input.
    :param seconds_per_slice: Time that the network took for one slice and one sample.
    :param seconds: An estimate for the whole request.
    :param warnings: Sentences for the user.
    """

    images: Dict[str, sitk.Image]
    plane: int
    seconds_per_slice: float
    seconds: float
    warnings: List[str] = field(default_factory=list)
