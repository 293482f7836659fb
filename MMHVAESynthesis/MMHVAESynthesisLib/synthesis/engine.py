"""The one call that synthesises, and the one that shows a slice of it beforehand.

torch is imported only when one of them is called, so that its absence is one clear sentence.
"""

import time
from pathlib import Path
from typing import Any, Dict, Optional

from .. import SOFTWARE, __version__
from ..dependencies import require_torch
from ..paths import absolute
from ..progress import CancelFlag, ProgressCallback, Reporter
from ..request import SynthesisRequest
from ..threads import on_one_torch_thread
from .result import Preview, SynthesisResult


def synthesize(
    request: SynthesisRequest,
    progress: Optional[ProgressCallback] = None,
    cancel: Optional[CancelFlag] = None,
    keep_model: bool = True,
) -> SynthesisResult:
    """Synthesise the modalities that a request names (Dorent et al., TPAMI 2025).

    :param progress: Called after each slice, in the calling thread.
    :param cancel: Looked at before each pass of the network.
    :param keep_model: Keep the model's file in memory for the next call. Without, this process is taken to serve this
        call alone, and spares memory.
    :raises MMHVAEError: with a message for the user; :class:`Cancelled` when asked to stop.
    """
    require_torch()
    from .devices import memory_of, release_memory, use_one_heap
    from .plan import make_plan
    from .run import run

    start = time.monotonic()
    if not keep_model:
        use_one_heap()
    reporter = Reporter("preparing", 1, progress, cancel)
    with memory_of():
        # A model is many small tensors, and threads that wait for one another cost more than they save.
        plan = on_one_torch_thread(make_plan, request, keep_model)
        release_memory(plan.resources.device)
        reporter.step(warnings=plan.warnings)
        images, uncertainty = run(plan, progress, cancel)
    provenance = _provenance(plan, time.monotonic() - start)
    return SynthesisResult(images, uncertainty, plan.case.reference, provenance, list(plan.warnings))


def preview(
    request: SynthesisRequest,
    plane: Optional[int] = None,
    progress: Optional[ProgressCallback] = None,
    cancel: Optional[CancelFlag] = None,
) -> Preview:
    """Synthesise one slice and estimate how long the whole request would take.

    :param plane: Index along K of the reference input; None takes the middle of what it holds.
    :param progress: Called, in the calling thread, when the stages ``preparing`` and ``preview`` begin and end.
    :raises MMHVAEError: as :func:`synthesize`; also when the plane is empty.
    """
    require_torch()
    from .devices import memory_of
    from .plan import make_plan
    from .run import run_preview

    reporter = Reporter("preparing", 1, progress, cancel)
    with memory_of():
        plan = make_plan(request)
        reporter.step(warnings=plan.warnings)
        return run_preview(plan, plane, progress, cancel)


def _provenance(plan, seconds: float) -> Dict[str, Any]:
    """Return how the images of a plan are made, as JSON can hold it."""
    request, header = plan.request, plan.header
    return {
        "software": SOFTWARE,
        "version": __version__,
        "model": header.name,
        "model_digest": header.digest,
        "inputs": {
            modality: request.names.get(modality) or (absolute(source) if isinstance(source, (str, Path)) else "")
            for modality, source in request.inputs.items()
        },
        "reference": plan.case.reference,
        "targets": list(plan.targets),
        "temperature": request.temperature,
        "samples": request.samples,
        "seed": request.seed,
        "noise": request.noise,
        "directions": plan.directions,
        "half_precision": plan.resources.half_precision,
        "device": str(plan.resources.device),
        "seconds": round(seconds, 3),
        "warnings": list(plan.warnings),
    }
