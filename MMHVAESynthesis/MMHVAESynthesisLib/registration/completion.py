"""What has no partner, synthesised from the pre-operative MR as well: so more pairs are registered.

The network makes iUS of the pre-operative MR, and its partner is the ultrasound itself, in which nothing is synthetic.
One contrast alone can also mislead: where its synthesis is wrong, nothing contradicts it. The network that made ceT1
and FLAIR of the ultrasound makes them of the pre-operative T2 too, and what it makes of both agrees where the anatomy
does.

This is the only module of the room that calls the synthesis.
"""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Tuple

from ..errors import Cancelled, InputError, MMHVAEError
from ..modalities import US, labels
from ..progress import CancelFlag, Progress, ProgressCallback
from ..request import ONE_DIRECTION, ImageSource, RegistrationRequest, SynthesisRequest
from ..synthesis.engine import synthesize
from ..volumes import files
from ..volumes.checks import array_view, grey_levels

log = logging.getLogger(__name__)

_GREYS_OF_A_MASK = 3
"""Up to so many different values above 0 a volume says where, not what."""

STAGE = "completion"
"""What the slices of the synthesis are reported as."""


@dataclass(frozen=True)
class Completion:
    """What came of completing a request.

    :param request: The request to register, with the completed MR among the moving one.
    :param modalities: What was completed; empty for nothing.
    :param inputs: The pre-operative MR of which it was, or should have been, made.
    :param provenance: JSON-able: ``completed``, ``completed_from``, ``completion_model`` and its digest; empty for
        nothing.
    :param warnings: Sentences for the user.
    """

    request: RegistrationRequest
    modalities: Tuple[str, ...] = ()
    inputs: Tuple[str, ...] = ()
    provenance: Dict[str, Any] = field(default_factory=dict)
    warnings: Tuple[str, ...] = ()

    def without(self, request: RegistrationRequest, reason: str) -> "Completion":
        """Return that nothing was completed after all, and a warning with the reason, a sentence."""
        return _not_completed(request, self.modalities, self.inputs, reason)


def complete(
    request: RegistrationRequest,
    progress: Optional[ProgressCallback] = None,
    cancel: Optional[CancelFlag] = None,
) -> Completion:
    """Synthesise what a request has to complete, at temperature 0, from the MR that has a partner.

    MR without a partner is left out: nobody has looked whether it lies on the other. A completion helps, and no
    registration needs it: when it cannot be made, or is doubtful, a warning says why, and the request stays as it is.
    Of an ultrasound that is a mask nothing is made.

    :param progress: Called at each slice, as the stages ``preparing`` and :data:`STAGE`.
    :raises Cancelled: when asked to stop.
    """
    missing = request.to_complete
    inputs = tuple(modality for modality in request.pairs if modality != US)
    try:
        if US in missing and _is_mask(request.us):
            missing = missing[:-1]
        if not missing:
            return Completion(request)
        known = _known_to(request.model)
        missing = tuple(modality for modality in missing if modality in known)
        inputs = tuple(modality for modality in inputs if modality in known)
        if not missing or not inputs:
            return Completion(request)
        fixed = {**request.fixed, US: request.us} if US in missing else request.fixed
        return _completed(replace(request, fixed=fixed), missing, inputs, progress, cancel)
    except Cancelled:
        raise
    except MMHVAEError as error:
        return _not_completed(request, missing, inputs, str(error))
    except (RuntimeError, MemoryError) as error:
        # Such as a graphics card without the memory for it, on which the registration fits all the same.
        log.warning("the completion failed", exc_info=True)
        return _not_completed(request, missing, inputs, f"the computation failed ({type(error).__name__}).")


def _is_mask(us: ImageSource) -> bool:
    """Return whether a volume given as ultrasound only says where it sees."""
    image = files.read(us) if isinstance(us, (str, Path)) else us
    return grey_levels(array_view(image), _GREYS_OF_A_MASK + 1) <= _GREYS_OF_A_MASK


def _known_to(model: Optional[str]) -> Tuple[str, ...]:
    """Return the modalities that a model knows."""
    # Here, not above: it brings PyTorch with it.
    from ..models.loading import load

    return load(model).header.sizes.modalities


def _completed(
    request: RegistrationRequest,
    missing: Sequence[str],
    inputs: Sequence[str],
    progress: Optional[ProgressCallback],
    cancel: Optional[CancelFlag],
) -> Completion:
    wanted = SynthesisRequest(
        inputs={modality: request.moving[modality] for modality in inputs},
        targets=missing,
        model=request.model,
        temperature=0,
        directions=ONE_DIRECTION,
        device=request.device,
        names=request.names,
    )
    made = synthesize(wanted, _relayed(progress), cancel)
    provenance = {
        "completed": list(missing),
        "completed_from": list(inputs),
        "completion_model": made.provenance["model"],
        "completion_model_digest": made.provenance["model_digest"],
    }
    completed = replace(request, moving={**request.moving, **made.images})
    return Completion(completed, tuple(missing), tuple(inputs), provenance)


def _relayed(progress: Optional[ProgressCallback]) -> ProgressCallback:
    """Return the synthesis' callback: it names the stage, and ends a doubtful synthesis before its slices are made."""

    def relay(report: Progress) -> None:
        if report.warnings:
            raise InputError(report.warnings[0])
        if progress is not None:
            progress(replace(report, stage=STAGE) if report.stage == "synthesis" else report)

    return relay


def _not_completed(
    request: RegistrationRequest, missing: Sequence[str], inputs: Sequence[str], reason: str
) -> Completion:
    verb = "is" if len(missing) == 1 else "are"
    warning = f"{labels(missing)} {verb} not completed from {labels(inputs)}: {reason}"
    return Completion(request, warnings=(warning,))
