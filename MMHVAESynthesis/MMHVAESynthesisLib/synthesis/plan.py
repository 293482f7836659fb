"""From a request to everything that its work needs, with all checks made before any work starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..modalities import US, is_synthetic_name, label, of_other_modalities, of_synthetic_input
from ..models.header import ModelHeader
from ..models.loading import load
from ..network.sizes import in_published_order
from ..request import ONE_DIRECTION, SynthesisRequest
from ..volumes.checks import checked
from ..volumes.files import read
from ..volumes.likeness import warnings
from ..volumes.preparation import PreparedCase
from ..volumes.turning import ORDERS, Order, can_be_turned, turned
from .devices import Resources, find_resources, memory_of
from .passes import Pass, passes_through
from .planes import PlaneSynthesizer


@dataclass(frozen=True)
class View:
    """A case seen in slices across one axis: the order of its axes that does it, and the case so turned."""

    order: Order
    case: PreparedCase


@dataclass(frozen=True)
class Plan:
    """A request with its model loaded, its images read and prepared, its device found.

    :param images: What the case was prepared from.
    :param directions: Across how many axes it is to be seen.
    """

    request: SynthesisRequest
    header: ModelHeader
    passes: Callable[[Sequence[Pass]], Dict[str, np.ndarray]]
    resources: Resources
    images: Dict[str, sitk.Image]
    case: PreparedCase
    directions: int
    targets: Tuple[str, ...]
    warnings: List[str]

    def views(self) -> List[View]:
        """Return the case as it is stored, and as it is seen across its other axes; those are prepared now."""
        others = ORDERS[1 : self.directions]
        return [View(ORDERS[0], self.case), *(_turned(self.images, order, self.header) for order in others)]

    def synthesizer(self, view: View, stop) -> PlaneSynthesizer:
        """Return what takes a view's planes through the network; ``stop`` is called before each pass."""
        direction = ORDERS.index(view.order)
        return PlaneSynthesizer(
            self.passes, self.header.sizes, view.case, direction, self.request, self.targets, self.resources, stop
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
    case = _prepared(images, model.header)
    signs = warnings(case, model.header.spacing, model.header.skull_stripped)
    directions = request.directions or model.header.directions
    if directions > ONE_DIRECTION and not can_be_turned(case, model.header.spacing, sizes.size):
        directions = ONE_DIRECTION
        if request.directions is not None:
            signs.append(
                f"{label(case.reference)} is too thin, or its slices are too thick, to be cut across its other axes: "
                "only its own slices are used."
            )
    signs += [*_of_samples(request, directions), *_of_names(request)]
    with memory_of(resources.device):
        passes = passes_through(model.network, resources, request.temperature, case.modalities, targets)
    return Plan(request, model.header, passes, resources, images, case, directions, tuple(targets), signs)


def _of_samples(request: SynthesisRequest, directions: int) -> List[str]:
    """Return a warning where samples are asked for that cannot differ."""
    if request.samples == request.draws:
        return []
    shown = "only how far the three directions of slices differ" if directions > ONE_DIRECTION else "0 everywhere"
    return [
        f"At temperature 0 all {request.samples} samples are the same: the map of uncertainty shows {shown}. Choose a "
        "temperature above 0, such as 0.7, or a single sample."
    ]


def _of_names(request: SynthesisRequest) -> List[str]:
    """Return a warning for every input whose file is called as this software calls what it makes, or as another one."""
    files = {m: Path(source).name for m, source in request.inputs.items() if isinstance(source, (str, Path))}
    signs = [of_synthetic_input(modality, name) for modality, name in files.items() if is_synthetic_name(name)]
    return signs + of_other_modalities(files, "file")


def _turned(images: Dict[str, sitk.Image], order: Order, header: ModelHeader) -> View:
    images = {modality: turned(image, order) for modality, image in images.items()}
    return View(order, _prepared(images, header))


def _prepared(images: Dict[str, sitk.Image], header: ModelHeader) -> PreparedCase:
    return PreparedCase(images, in_published_order(header.sizes.modalities), header.spacing, header.sizes.size)


def _check_modalities(kind: str, wanted, known) -> None:
    unknown = [modality for modality in wanted if modality not in known]
    if unknown:
        raise InputError(
            f"This model does not know the {kind} {', '.join(unknown)}; it knows {', '.join(known)}. "
            "Leave it out or choose another model."
        )


def _images(request: SynthesisRequest) -> Dict[str, sitk.Image]:
    images = {}
    for modality, source in request.inputs.items():
        is_file = isinstance(source, (str, Path))
        image = read(source) if is_file else source
        name = request.names.get(modality) or (str(source) if is_file else "")
        what = f"The {label(modality)} volume '{name}'" if name else f"The {label(modality)} volume"
        images[modality] = checked(image, what, ultrasound=modality == US)
    return images
