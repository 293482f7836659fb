"""One case, from its files to its folder of results. This is what a worker does, here or on a cluster."""

import logging
import platform
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np
import SimpleITK as sitk

from .. import SOFTWARE, __version__
from ..errors import Cancelled, InputError, MMHVAEError, ModelError
from ..modalities import MODALITIES, US, label, labels
from ..outputs import named_as
from ..progress import CancelFlag, ProgressCallback
from ..registration import figures, transforms
from ..registration.engine import choose_engine, register
from ..synthesis.engine import synthesize
from ..synthesis.result import SynthesisResult
from ..volumes import checks, files, naming
from . import pictures, quality
from .case_folder import FORMAT, CaseFolder, described, is_finished, is_ours, read_provenance
from .cases import Case
from .checks import nothing_to_register, trouble_of
from .naming import named_in_log
from .settings import Settings

log = logging.getLogger(__name__)

DONE, KEPT, FAILED = "done", "kept", "failed"
"""What became of a case: done in this run; finished by an earlier one; not possible."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case, and why where it failed; ``seconds`` it took.

    :param warnings: What its provenance warns of.
    :param kept_start: Whether its registration was left at its start; None where nothing was registered.
    """

    case: str
    state: str
    reason: str = ""
    seconds: float = 0.0
    warnings: Tuple[str, ...] = ()
    kept_start: Optional[bool] = None


@dataclass(frozen=True)
class Job:
    """All that a worker must know of its work.

    :param model_digest: Of the model that the batch began with; a worker with another one refuses.
    :param device: Another one than the settings' for this worker.
    :param name: Of this job alone, whichever workers it is given to one after the other.
    """

    case: Case
    settings: Settings
    output: str
    model_digest: str
    device: Optional[str] = None
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:8])


def model_digest(model: Optional[str]) -> str:
    """Return the digest of a model, which stays in memory for the cases to come.

    :raises MMHVAEError: when it cannot be used, or PyTorch is missing.
    """
    from ..dependencies import require_torch

    require_torch()
    from ..models.loading import load

    return load(model).header.digest


def check_engine(settings: Settings) -> None:
    """Raise where cases are to be registered and what their engine needs is not here: it would fail case by case.

    :raises MMHVAEError: with what is missing.
    """
    if settings.register:
        choose_engine(settings.registration({"t2": "synthetic"}, {"t2": "preoperative"}, None))


def process(job: Job, progress: Optional[ProgressCallback] = None, cancel: Optional[CancelFlag] = None) -> Outcome:
    """Do one case, or find it finished. Whatever is wrong with the case is an outcome, not an error.

    :raises Cancelled: when asked to stop; nothing of the case is left behind.
    """
    start = time.monotonic()
    try:
        with named_in_log(job.case.name):
            state, provenance = _process(job, progress, cancel)
        registration = provenance["quality"]["registration"] or {}
        doubts = tuple(provenance["warnings"]), registration.get("kept_start")
        return Outcome(job.case.name, state, "", time.monotonic() - start, *doubts)
    except Cancelled:
        raise
    except MMHVAEError as error:
        reason = str(error)
    except Exception as error:  # a fault in one case shall not take the others with it
        log.exception("unexpected fault in case %s; please report it with this text", job.case.name)
        reason = f"Unexpected fault of the software ({type(error).__name__}: {error}); the log says more."
    if is_ours(Path(job.output) / job.case.name, job.case.name):
        reason += " The results of an earlier run are still in its folder."
    return Outcome(job.case.name, FAILED, reason, time.monotonic() - start)


def _process(job: Job, progress, cancel) -> Tuple[str, Mapping[str, Any]]:
    """Return the state of a case that is done or was finished before, and its provenance."""
    case, output = job.case, Path(job.output)
    trouble = trouble_of(case, job.settings)
    if trouble:
        raise InputError(trouble)
    provenance: Dict[str, Any] = {
        "format": FORMAT,
        "case": case.name,
        "inputs": described(case.inputs),
        "preoperative": described(case.preoperative),
        "model": {"digest": job.model_digest},
        "settings": job.settings.that_matter(),
    }
    folder = CaseFolder(output, case.name, job.name)
    if is_finished(folder.path, provenance):
        folder.clear()
        return KEPT, read_provenance(folder.path) or provenance
    files.check_room(output, _bytes_needed(case, job.settings))
    with folder as part, named_as({part: folder.path}):
        facts = _results(job, part, progress, cancel)
        provenance["model"].update(facts.pop("model"))
        provenance.update(facts)
        folder.publish(provenance)
    return DONE, provenance


def _bytes_needed(case: Case, settings: Settings) -> int:
    """Return how large the synthetic volumes will be at most, all float32."""
    first = next(case.inputs[modality] for modality in MODALITIES if modality in case.inputs)
    volumes = len(settings.targets or MODALITIES) * (2 if settings.samples > 1 else 1)
    return 4 * files.count_voxels(first) * volumes


def _results(job: Job, part: Path, progress, cancel) -> Dict[str, Any]:
    """Synthesise and register into ``part`` and return the facts."""
    case, settings = job.case, job.settings
    start = time.monotonic()
    real = {modality: _preoperative(modality, source) for modality, source in case.preoperative.items()}
    result = synthesize(settings.synthesis(case.inputs, job.device), progress, cancel)
    if result.provenance["model_digest"] != job.model_digest:
        raise ModelError("The model's file was changed while the batch ran: start the batch again.")
    warnings, notes = list(result.warnings), list(case.notes)
    shown, placement, registration, pair = real, None, None, None
    if settings.register and real:
        names = {modality: Path(source).name for modality, source in case.preoperative.items()}
        synthetic, unused = _to_register(result.images, real)
        notes += [f"{labels(unused)}: synthetic only, not used for the registration."] if unused else []
        registered = register(
            settings.registration(synthetic, real, case.inputs.get(US), names),
            progress,
            cancel,
        )
        warnings += registered.warnings
        registration = quality.of_registration(registered)
        placement = registered.fixed_to_moving
        shown, pair = _write_registration(case, part, result, registered, real)
    elif settings.register:
        doubt = nothing_to_register(case, settings)
        (warnings if doubt else notes).append(doubt or "There is no pre-operative MR: nothing was registered.")
    inputs = {modality: files.read(source) for modality, source in case.inputs.items()}
    of_targets = quality.of_targets(result, inputs, real, placement)
    if registration is None:
        warnings += quality.of_coverage(of_targets)
    facts = {
        "model": {"name": result.provenance["model"]},
        "versions": versions(),
        "device": result.provenance["device"],
        "directions": result.provenance["directions"],
        "reference": result.reference,
        "quality": {"targets": of_targets, "registration": registration},
        "pictures": pictures.write(inputs, result, shown, pair, part),
        "warnings": warnings,
        "notes": notes,
    }
    _write_volumes(case, settings, result, part)
    facts["seconds"] = round(time.monotonic() - start, 3)
    facts["created"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return facts


def _to_register(
    images: Mapping[str, sitk.Image], real: Mapping[str, sitk.Image]
) -> Tuple[Mapping[str, sitk.Image], List[str]]:
    """Return the synthetic MR that serves a registration, and which of it does not.

    Beside several pairs what has no partner is no use; beside a single one it can be completed, or is warned of.
    """
    paired = {modality: image for modality, image in images.items() if modality in real}
    if len(paired) < 2:
        return images, []
    return paired, [modality for modality in images if modality not in paired and modality != US]


def _preoperative(modality: str, source: str) -> sitk.Image:
    """Read a pre-operative MR, checked whether it is registered, only moved along, or compared with as it lies.

    :raises InputError: when it cannot be used.
    """
    return checks.checked(files.read(source), f"The pre-operative {label(modality)} ({source})")


def _write_registration(
    case: Case, part: Path, result: SynthesisResult, registered, real
) -> Tuple[Dict[str, sitk.Image], str]:
    """Write transform, moved MR and checkerboard; return the moved MR, and the modality of the checkerboard."""
    transforms.write(registered.fixed_to_moving, part / f"{case.name}_registration.tfm")
    pair = next(modality for modality in result.images if modality in real)
    board = figures.checkerboard(result.images[pair], real[pair], registered.fixed_to_moving)
    figures.write_picture(board, part / pictures.CHECKERBOARD)
    moved = {}
    for modality, image in real.items():
        moved[modality] = transforms.resampled(image, result.images[pair], registered.fixed_to_moving)
        files.write(moved[modality], part / f"{case.name}_registered-{label(modality)}.nrrd")
    return moved, pair


def _write_volumes(case: Case, settings: Settings, result: SynthesisResult, part: Path) -> None:
    own = naming.suffix(Path(case.inputs[result.reference]))
    ending = settings.format or (own if own in files.WRITABLE else ".nrrd")
    for images, suffix in ((result.images, ""), (result.uncertainty, "-uncertainty")):
        for target, image in images.items():
            files.write(image, part / f"{case.name}_synthetic-{label(target)}{suffix}{ending}")


def versions() -> Dict[str, str]:
    """Return the versions of this software and of what it computes with."""
    return {
        SOFTWARE: __version__,
        "Python": platform.python_version(),
        "torch": metadata.version("torch"),
        "numpy": np.__version__,
        "SimpleITK": sitk.Version_VersionString(),
    }
