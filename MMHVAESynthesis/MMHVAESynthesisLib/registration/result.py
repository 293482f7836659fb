"""What a registration gives back."""

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping

import SimpleITK as sitk

from ..modalities import label, labels


@dataclass(frozen=True)
class ContrastSimilarity:
    """How alike a contrast's synthetic and pre-operative volumes are: LNCC, -1 to 1, at the start and at the end.

    :param completed: Whether the pre-operative one was not acquired but synthesised, see :mod:`.completion`.
    """

    modality: str
    before: float
    after: float
    completed: bool = False

    def title(self, provenance: Mapping[str, Any]) -> str:
        """Return the contrast's name for people: ``T2``, or ``ceT1 (completed from T2)``.

        :param provenance: The registration's.
        """
        name = label(self.modality)
        return f"{name} (completed from {labels(provenance['completed_from'])})" if self.completed else name


@dataclass(frozen=True)
class RegistrationResult:
    """A linear transform and how far to trust it. LPS millimetres.

    :param fixed_to_moving: Maps points of the fixed volume to points of the moving one, as ITK resamples and as files
        hold it.
    :param moving_to_fixed: Its inverse: put over the pre-operative MR, it moves the MR onto the ultrasound.
    :param metric_before: Mean LNCC of the contrasts at the start, -1 to 1; ``metric_after`` at the end.
    :param confidence: mm: how far, root mean square over the field of view, repeats of the registration, and placements
        that fit almost as well, lie from its result. A typical error of the placement, not a bound (in the benchmark
        twice the true error in the median), and blind to what a linear transform cannot show (brain shift).
    :param overlap: Part of the field of view, 0 to 1, that lies inside the pre-operative MR at the end.
    :param moved: mm: median displacement of the field of view from the start.
    :param kept_start: Whether nothing better than the start, or than chance, was found, so that the start is returned.
    :param provenance: JSON-able facts of the run.
    """

    fixed_to_moving: sitk.Transform
    moving_to_fixed: sitk.Transform
    metric_before: float
    metric_after: float
    confidence: float
    overlap: float
    moved: float
    kept_start: bool
    contrasts: List[ContrastSimilarity]
    warnings: List[str]
    seconds: float
    provenance: Dict[str, Any]
