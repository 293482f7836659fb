"""The command ``register``: files in, a transform and what goes with it out."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

import numpy as np
import SimpleITK as sitk

from ..arguments import Once
from ..errors import InputError, OutputError
from ..modalities import DESCRIPTIONS, LABELS, MR, label
from ..models import catalogue
from ..outputs import check_absent, check_no_inputs, no_empty_folders, put_in_place
from ..paths import absolute, expanded
from ..progress import CancelFlag, ProgressCallback
from ..request import AFFINE, ENGINES, RIGID, RegistrationRequest
from ..volumes import files, naming
from ..volumes.checks import checked
from . import figures, landmarks, transforms
from .engine import register
from .maker import completing, makers_of, why_not_completed
from .result import ContrastSimilarity, RegistrationResult

HELP = "register pre-operative MR to the ultrasound through synthetic MR"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    _add_inputs(parser)
    _add_transform(parser)
    _add_search(parser)
    _add_completion(parser)
    _add_landmarks(parser)
    _add_pictures(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there already")


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    for modality in MR:
        for name, what in (
            (modality, f"pre-operative {DESCRIPTIONS[modality]}"),
            (f"synthetic-{modality}", f"synthetic {LABELS[modality]}"),
        ):
            parser.add_argument(f"--{name}", metavar="FILE", action=Once, help=f"{what} volume")
    parser.add_argument(
        "--us",
        metavar="FILE",
        action=Once,
        help="the ultrasound, or a mask of its field of view; default: where the synthetic MR are above 0",
    )


def _add_transform(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        metavar="FILE",
        required=True,
        help=f"the transform, {', '.join(transforms.WRITABLE)}; its figures and settings go beside it, .json",
    )
    parser.add_argument(
        "--resampled-dir", metavar="DIR", help="also write the MR resampled onto the synthetic MR's grid"
    )


def _add_search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--initial", metavar="FILE", help="linear transform to start from")
    parser.add_argument("--kind", choices=(RIGID, AFFINE), default=RIGID, help="default %(default)s")
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="auto: lncc with PyTorch, else mattes; only lncc completes contrasts; default %(default)s",
    )
    parser.add_argument(
        "--starts",
        metavar="N",
        type=int,
        default=4,
        help="places to start from: the given one and the best of a search; 1: no search; default %(default)s",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        type=int,
        default=0,
        help="of the repeats that give the confidence, and of the voxels that mattes draws; default %(default)s",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N; default %(default)s")


def _add_completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-completion",
        dest="completion",
        action="store_false",
        help="do not synthesise from the pre-operative MR what lacks its partner: iUS for the ultrasound, and, where "
        "one contrast has both, those that are synthetic only (which the engine lncc alone does)",
    )
    parser.add_argument(
        "--model",
        metavar="NAME|FILE",
        help="of the completion: the model that made the synthetic MR; default: the one that the record beside them "
        "names, without a record the one that models marks with *",
    )


def _add_landmarks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--landmarks", metavar="FILE", help="MNI .tag file, MR first, ultrasound second: report the TRE"
    )
    parser.add_argument("--fixed-landmarks", metavar="FILE", help="landmarks in the ultrasound, .fcsv or .mrk.json")
    parser.add_argument(
        "--moving-landmarks",
        metavar="FILE",
        help="the same landmarks in the MR, in the same order or with the same labels",
    )


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--displacement",
        metavar="FILE",
        help="also write how far the MR was moved (by --initial too), in mm, as a volume; it cannot show how the brain "
        "deformed",
    )
    parser.add_argument("--checkerboard", metavar="FILE", help="also write a checkerboard picture, .png")


def run(
    args: argparse.Namespace, progress: Optional[ProgressCallback] = None, cancel: Optional[CancelFlag] = None
) -> Dict[str, Any]:
    """Register and write.

    :return: ``outputs`` ``{what: file}``, the figures of the result, and its ``provenance``; JSON-able.
    :raises MMHVAEError: with nothing written, and what was to be replaced still there.
    """
    request = _request(args)
    with no_empty_folders(*_folders(args)):
        _check_outputs(args, request)
        points = _landmarks(args)
        _check_unpaired(args, request)
        if args.model is not None:
            catalogue.find(args.model)  # says where there is none of that name, be it needed or not
        request, not_completed = _completed_by_its_model(request)
        result = register(request, progress, cancel)
        report = _figures(result)
        provenance, more = result.provenance, [not_completed]
        if points is not None:
            *pairs, how_paired = points
            report["tre"] = _tre(_initial(args), result, *pairs)
            more.append(how_paired)
        if any(more):
            provenance = {**provenance, "warnings": [*provenance["warnings"], *filter(None, more)]}
        report["initial"] = absolute(args.initial) if args.initial else None
        report["provenance"] = provenance
        return {**report, "outputs": _write(args, request, result, report)}


def describe(result: Dict[str, Any]) -> str:
    """Return the result for people: how far to trust it first, then the files."""
    initial = result["initial"]
    lines = [
        f"Moved {result['moved_mm']:.1f} mm{' from where ' + initial + ' puts it' if initial else ''} (median over the "
        f"field of view); typical error of the placement {result['confidence_mm']:.1f} mm (confidence).",
    ]
    if result["kept_start"]:
        where = f"where {initial} puts it" if initial else "where it was"
        lines = [f"Left {where}; confidence {result['confidence_mm']:.1f} mm."]
    for each in result["contrasts"]:
        title = ContrastSimilarity(**each).title(result["provenance"])
        lines.append(f"Similarity of {title} (LNCC): {each['before']:.3f} to {each['after']:.3f}.")
    if "refined_on" in result["provenance"]:
        lines.append(f"Refined on {label(result['provenance']['refined_on'])} alone: this engine follows one contrast.")
    if "tre" in result:
        before, after = (result["tre"][when]["mean_mm"] for when in ("before", "after"))
        count = result["tre"]["after"]["landmarks"]
        lines.append(f"Mean error of {count} landmark{'s' * (count != 1)}: {before:.2f} to {after:.2f} mm.")
    if "displacement" in result["outputs"]:
        lines.append(figures.LINEAR_ONLY)
        if initial:
            lines.append(f"What {initial} moved is part of the displacement.")
    return "\n".join([*lines, *result["outputs"].values()])


def _completed_by_its_model(request: RegistrationRequest) -> Tuple[RegistrationRequest, str]:
    """Return a request that completes with the model that made the synthetic MR, as the records beside them say.

    :return: And a warning where that is not found, so that nothing is completed; else "".
    """
    if not request.completion:
        return request, ""
    makers = makers_of(request.fixed.values())
    request = dataclasses.replace(request, **completing(makers, request.model))
    return request, why_not_completed(request, makers, ", or name it with --model")


def _request(args: argparse.Namespace) -> RegistrationRequest:
    fixed = {m: getattr(args, f"synthetic_{m}") for m in MR}
    moving = {m: getattr(args, m) for m in MR}
    return RegistrationRequest(
        fixed,
        moving,
        args.us,
        args.initial,
        args.kind,
        args.engine,
        args.starts,
        args.seed,
        args.device,
        args.completion,
        args.model,
    )


def _check_outputs(args: argparse.Namespace, request: RegistrationRequest) -> None:
    transforms.check_writable_name(args.output)
    if args.checkerboard and not args.checkerboard.lower().endswith(".png"):
        raise OutputError(f"Cannot write {args.checkerboard}: a picture's name must end with .png.")
    if args.displacement:
        files.check_format(args.displacement)
        field = args.us or request.fixed[request.pairs[0]]
        files.check_holds(field, naming.suffix(expanded(args.displacement)))
    targets = _targets(args, request)
    check_no_inputs(targets, _inputs(args, request), "another name for the output")
    for number, target in enumerate(targets):
        if _resolved(target) in map(_resolved, targets[:number]):
            raise OutputError(f"{target} is the name of two of the results: choose another one.")
    check_absent(targets, args.overwrite, "another name")
    files.check_names(targets)
    for folder in _folders(args):
        files.check_writable(folder)


def _named(args: argparse.Namespace) -> List[Path]:
    """Return the files whose names are given."""
    return [
        expanded(args.output),
        _record(args),
        *(expanded(each) for each in (args.displacement, args.checkerboard) if each),
    ]


def _record(args: argparse.Namespace) -> Path:
    """Return where it is written how the registration was made and how good it is."""
    path = expanded(args.output)
    return path.parent / f"{path.stem}.json"


def _targets(args: argparse.Namespace, request: RegistrationRequest) -> List[Path]:
    """Return all files that will be written."""
    resampled = request.moving.items() if args.resampled_dir else ()
    return [*_named(args), *(_resampled(args, *each) for each in resampled)]


def _folders(args: argparse.Namespace) -> List[Path]:
    """Return the folders that will be written into."""
    resampled = [expanded(args.resampled_dir)] if args.resampled_dir else []
    return [*(target.parent for target in _named(args)), *resampled]


def _resampled(args: argparse.Namespace, modality: str, source: str) -> Path:
    """Return where an MR that is resampled is written."""
    return expanded(args.resampled_dir) / f"{naming.stem(Path(source))}_registered-{label(modality)}.nrrd"


def _check_unpaired(args: argparse.Namespace, request: RegistrationRequest) -> None:
    """Check the MR that is only resampled: what is wrong with it would otherwise show after the registration."""
    if args.resampled_dir:
        for modality in set(request.moving) - set(request.pairs):
            checked(files.read(request.moving[modality]), f"The pre-operative {label(modality)}")


def _inputs(args: argparse.Namespace, request: RegistrationRequest) -> List[str]:
    more = (args.us, args.initial, args.landmarks, args.fixed_landmarks, args.moving_landmarks)
    return [source for source in (*request.fixed.values(), *request.moving.values(), *more) if source]


def _resolved(name: Union[str, Path]) -> Path:
    return expanded(name).resolve()


def _landmarks(args: argparse.Namespace) -> Optional[Tuple[np.ndarray, np.ndarray, str]]:
    """Return fixed and moving landmarks, checked before any work, and a warning of how they were paired, or ""."""
    how_paired = ""
    if args.landmarks and (args.fixed_landmarks or args.moving_landmarks):
        raise InputError("Landmarks are given twice: give --landmarks, or --fixed-landmarks and --moving-landmarks.")
    if args.landmarks:
        moving, fixed = landmarks.read_tag(args.landmarks)
    elif args.fixed_landmarks and args.moving_landmarks:
        if _resolved(args.fixed_landmarks) == _resolved(args.moving_landmarks):
            raise InputError(
                f"{args.fixed_landmarks} is given as the landmarks in the ultrasound and as those in the MR: give two "
                "lists, of the same points."
            )
        lists = map(landmarks.read_points, (args.fixed_landmarks, args.moving_landmarks))
        fixed, moving, how_paired = landmarks.paired(*lists)
    elif args.fixed_landmarks or args.moving_landmarks:
        raise InputError("Landmarks are given for one volume only: give both --fixed-landmarks and --moving-landmarks.")
    else:
        return None
    landmarks.target_registration_error(sitk.Transform(), fixed, moving)
    return fixed, moving, how_paired


def _figures(result: RegistrationResult) -> Dict[str, Any]:
    return {
        "metric_before": result.metric_before,
        "metric_after": result.metric_after,
        "confidence_mm": result.confidence,
        "moved_mm": result.moved,
        "overlap": result.overlap,
        "kept_start": result.kept_start,
        "contrasts": [dataclasses.asdict(contrast) for contrast in result.contrasts],
        "fixed_to_moving": transforms.matrix_of(result.fixed_to_moving).tolist(),
    }


def _initial(args: argparse.Namespace) -> sitk.Transform:
    """Return where the registration started from."""
    return transforms.read(args.initial) if args.initial else sitk.Transform(3, sitk.sitkIdentity)


def _tre(
    initial: sitk.Transform, result: RegistrationResult, fixed: np.ndarray, moving: np.ndarray
) -> Dict[str, Dict[str, float]]:
    errors = {
        "before": landmarks.target_registration_error(initial, fixed, moving),
        "after": landmarks.target_registration_error(result.fixed_to_moving, fixed, moving),
    }
    return {
        when: {
            "landmarks": len(error.distances),
            "mean_mm": error.mean,
            "median_mm": error.median,
            "largest_mm": error.largest,
        }
        for when, error in errors.items()
    }


def _write(
    args: argparse.Namespace, request: RegistrationRequest, result: RegistrationResult, report: Dict[str, Any]
) -> Dict[str, str]:
    """Write all files, and return them by what they are; ``report`` goes into the record, with these names."""
    first = request.pairs[0]
    written: Dict[str, Path] = {}
    # Turned round, the transform is the last: who finds it finds everything.
    with put_in_place(_targets(args, request)[::-1]) as parts:
        if args.resampled_dir:
            grid = files.read(request.fixed[first])
            for modality, source in request.moving.items():
                written[f"resampled_{modality}"] = target = _resampled(args, modality, source)
                files.write(transforms.resampled(files.read(source), grid, result.fixed_to_moving), parts[target])
        if args.displacement:
            written["displacement"] = target = expanded(args.displacement)
            field = files.read(args.us or request.fixed[first])
            files.write(figures.displacement(result.fixed_to_moving, field), parts[target])
        if args.checkerboard:
            written["checkerboard"] = target = expanded(args.checkerboard)
            fixed, moving = files.read(request.fixed[first]), files.read(request.moving[first])
            figures.write_picture(figures.checkerboard(fixed, moving, result.fixed_to_moving), parts[target])
        written["record"] = record = _record(args)
        written["transform"] = target = expanded(args.output)
        transforms.write(result.fixed_to_moving, parts[target])
        outputs = {what: absolute(path) for what, path in written.items()}
        text = json.dumps({**report, "outputs": outputs}, indent=1, ensure_ascii=False) + "\n"
        parts[record].write_text(text, encoding="utf-8", errors="backslashreplace")
    return outputs
