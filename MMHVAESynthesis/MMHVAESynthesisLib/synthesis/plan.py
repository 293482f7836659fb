"""From a request to everything that its work needs, with all checks made before any work starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..modalities import label, labels
from ..models.header import ModelHeader
from ..models.loading import load
from ..request import SynthesisRequest
from ..volumes.checks import checked
from ..volumes.files import read
from ..volumes.likeness import warnings
from ..volumes.preparation import PreparedCase
from .devices import Resources, find_resources
from .passes import Pass, passes_through
from .planes import PlaneSynthesizer


@dataclass(frozen=True)
class Plan:
    """A request with its model loaded, its images read and prepared, its device found."""

    request: SynthesisRequest
    header: ModelHeader
    passes: Callable[[Sequence[Pass]], Dict[str, np.ndarray]]
    resources: Resources
    case: PreparedCase
    targets: Tuple[str, ...]
    warnings: List[str]

    def synthesizer(self, stop) -> PlaneSynthesizer:
        """Return what takes planes through the network; ``stop`` is called before each pass."""
        return PlaneSynthesizer(
            self.passes, self.header.sizes, self.case, self.request, self.targets, self.resources, stop
        )


def make_plan(request: SynthesisRequest, keep_model: bool = True) -> Plan:
    """Check a request against its model, its images and this machine.

    :param keep_model: Keep the model's file in memory for the next call.

    :raises MMHVAEError: when it cannot be done; the message says why and what to do.
    """
    model = load(request.model, keep=keep_model)
    sizes = model.header.sizes
    _check_modalities("input", request.inputs, sizes.modalities)
    targets = request.targets or sizes.modalities
    _check_modalities("output", targets, sizes.modalities)
    resources = find_resources(request, sizes)
    images = _images(request)
    case = PreparedCase(images, sizes.modalities, model.header.spacing, sizes.size)
    signs = warnings(case, model.header.spacing, model.header.skull_stripped)
    passes = passes_through(model.network, resources, request.temperature, case.modalities, targets)
    return Plan(request, model.header, passes, resources, case, tuple(targets), signs)


def _check_modalities(kind: str, wanted, known) -> None:
    unknown = [modality for modality in wanted if modality not in known]
    if unknown:
        raise InputError(
            f"This model does not know the {kind} {labels(unknown)}; it knows {labels(known)}. "
            "Leave it out or choose another model."
        )


def _images(request: SynthesisRequest) -> Dict[str, sitk.Image]:
    images = {}
    for modality, source in request.inputs.items():
        is_file = isinstance(source, (str, Path))
        image = read(source) if is_file else source
        name = request.names.get(modality) or (str(source) if is_file else "")
        what = f"The {label(modality)} volume '{name}'" if name else f"The {label(modality)} volume"
        images[modality] = checked(image, what, ultrasound=modality == "us")
    return images
