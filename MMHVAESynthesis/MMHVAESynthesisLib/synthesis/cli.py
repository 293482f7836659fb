"""The command ``synthesize``: files in, files out."""

import argparse
import os
from datetime import timedelta
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence

from ..arguments import Once
from ..errors import InputError
from ..modalities import DESCRIPTIONS, LABELS, MODALITIES
from ..network.sizes import in_published_order
from ..outputs import (
    check_absent,
    check_file_name,
    check_length,
    check_no_inputs,
    ending,
    no_empty_folders,
    put_in_place,
)
from ..paths import expanded
from ..progress import CancelFlag, ProgressCallback
from ..request import NOISE_INDEPENDENT, NOISE_SHARED, ONE_DIRECTION, THREE_DIRECTIONS, SynthesisRequest
from ..volumes import files, naming
from . import record
from .engine import preview, synthesize
from .result import SynthesisResult

HELP = "synthesise the missing modalities of one case"

_OTHERWISE = "another folder, or a name with --name"

_UNCERTAINTY = "-uncertainty"

_MIDDLE = object()
"""What ``--preview`` without a figure stands for: no figure, which might be one too many."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    for modality in MODALITIES:
        parser.add_argument(f"--{modality}", metavar="FILE", action=Once, help=f"{DESCRIPTIONS[modality]} volume")
    parser.add_argument("--output-dir", metavar="DIR", required=True, help="folder for the synthetic volumes")
    parser.add_argument(
        "--name", metavar="NAME", help="what the results' names begin with; default: the name of the first input's file"
    )
    add_settings(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there already")
    parser.add_argument("--uncompressed", action="store_true", help="write larger files in less time")
    parser.add_argument(
        "--preview",
        metavar="PLANE",
        type=int,
        nargs="?",
        const=_MIDDLE,
        help="synthesise this plane of the reference only, the first being 0 (default: the middle one), and estimate "
        "the time for all",
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to synthesise, whatever the volumes."""
    parser.add_argument(
        "--targets",
        metavar="MODALITY",
        nargs="+",
        action="extend",
        help=f"modalities to synthesise, such as t2 cet1 or t2,cet1; {', '.join(MODALITIES)}; default: all",
    )
    parser.add_argument(
        "--model",
        metavar="NAME|FILE",
        help="a model's name (see the command models) or its file; default: the one that models marks with *",
    )
    parser.add_argument(
        "--temperature",
        metavar="T",
        type=float,
        default=0.7,
        help="0 to 1; default 0.7 (batch --register of one sample: 0)",
    )
    parser.add_argument(
        "--samples",
        metavar="N",
        type=int,
        default=1,
        help="2 or more write mean and standard deviation (-uncertainty); default %(default)s",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the noise; default %(default)s")
    parser.add_argument(
        "--noise",
        choices=(NOISE_INDEPENDENT, NOISE_SHARED),
        default=NOISE_INDEPENDENT,
        help="of the slices: independent, or shared by all, which makes neighbouring slices alike; default %(default)s",
    )
    parser.add_argument(
        "--directions",
        type=int,
        choices=(ONE_DIRECTION, THREE_DIRECTIONS),
        help="1: slices as stored; 3: across all three axes, their mean; default: as the model was trained",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N, mps; default %(default)s")
    parser.add_argument("--half", action="store_true", help="compute in float16 (CUDA)")
    parser.add_argument("--batch", metavar="N", type=int, help="slices at a time on a GPU; default: chosen by it")
    parser.add_argument("--workers", metavar="N", type=int, help="threads on a CPU; default: one a core")
    parser.add_argument(
        "--format",
        type=ending,
        choices=files.WRITABLE,
        help="of the synthetic volumes; default: that of the input; previews and registered MR are .nrrd",
    )


def settings_of(args: argparse.Namespace) -> Dict[str, Any]:
    """Return what the options of :func:`add_settings`, but for ``--format``, say, in a request's words."""
    return {
        "targets": None if args.targets is None else ",".join(args.targets).replace(",", " ").split(),
        "model": args.model,
        "temperature": args.temperature,
        "samples": args.samples,
        "seed": args.seed,
        "device": args.device,
        "noise": args.noise,
        "half_precision": args.half,
        "batch": args.batch,
        "workers": args.workers,
        "directions": args.directions,
    }


def run(
    args: argparse.Namespace, progress: Optional[ProgressCallback] = None, cancel: Optional[CancelFlag] = None
) -> Dict[str, Any]:
    """Synthesise and write.

    :return: ``outputs`` and ``uncertainty`` as ``{modality: file}``, the ``provenance`` and its file. For a preview
        ``outputs``, ``plane``, ``seconds_per_slice``, ``seconds`` (an estimate for the whole) and ``warnings``.
    :raises MMHVAEError: with nothing written, and what was to be replaced still there.
    """
    request = _request(args)
    if args.name is not None:
        check_file_name(args.name)
    with no_empty_folders(args.output_dir):
        if args.preview is not None:
            return _run_preview(args, request, progress, cancel)
        outputs = _Outputs(args, request)
        outputs.check(request)
        return outputs.write(synthesize(request, progress, cancel, keep_model=False))


def _run_preview(
    args: argparse.Namespace,
    request: SynthesisRequest,
    progress: Optional[ProgressCallback],
    cancel: Optional[CancelFlag],
) -> Dict[str, Any]:
    folder = expanded(args.output_dir)
    start = "preview-" if args.name is None else f"{args.name}_preview-"

    def place(target: str) -> Path:
        return folder / f"{start}{LABELS.get(target, target)}{args.format or '.nrrd'}"

    places = [place(target) for target in request.targets or MODALITIES]
    check_no_inputs(places, request.inputs.values(), _OTHERWISE)
    check_absent(places, args.overwrite, _OTHERWISE)
    files.check_names(places)
    files.check_writable(folder)
    shown = preview(request, None if args.preview is _MIDDLE else args.preview, progress, cancel)
    written = {target: place(target) for target in shown.images}
    with put_in_place(list(written.values())) as parts:
        for target, image in shown.images.items():
            files.write(image, parts[written[target]], not args.uncompressed)
        check_absent(places, args.overwrite, _OTHERWISE)
    return {
        "outputs": {target: str(path) for target, path in written.items()},
        "plane": shown.plane,
        "seconds_per_slice": shown.seconds_per_slice,
        "seconds": shown.seconds,
        "warnings": shown.warnings,
    }


def describe(result: Dict[str, Any]) -> str:
    """Return the result for people."""
    lines = [file for kind in ("outputs", "uncertainty") for file in result.get(kind, {}).values()]
    if "plane" in result:
        time = timedelta(seconds=round(result["seconds"]))
        lines.append(f"This is plane {result['plane']}. All planes would take about {time} (hours:minutes:seconds).")
    return "\n".join(lines)


def _request(args: argparse.Namespace) -> SynthesisRequest:
    inputs = {modality: getattr(args, modality) for modality in MODALITIES if getattr(args, modality) is not None}
    if not inputs:
        raise InputError("There is no input: give at least one of " + ", ".join(f"--{m}" for m in MODALITIES) + ".")
    return SynthesisRequest(inputs, **settings_of(args))


class _Outputs:
    """The files of one run: all of them, or none."""

    def __init__(self, args: argparse.Namespace, request: SynthesisRequest):
        self._folder = expanded(args.output_dir)
        self._overwrite = args.overwrite
        self._compress = not args.uncompressed
        reference = expanded(request.inputs[in_published_order(request.inputs)[0]])
        own = args.format or naming.suffix(reference)
        self._ending = own if own in files.WRITABLE else ".nrrd"
        self._base = naming.stem(reference) if args.name is None else args.name
        self._reference = reference

    def check(self, request: SynthesisRequest) -> None:
        """Raise :class:`OutputError` where results are already there or cannot be written."""
        check_length(self._base)
        images, uncertainty = self._places(request.targets or MODALITIES)
        written = [*images, *(uncertainty if request.samples > 1 else ())]
        check_no_inputs([*images, *uncertainty], request.inputs.values(), _OTHERWISE)
        self._check_absent(images, uncertainty)
        files.check_names(written)
        files.check_writable(self._folder, 4 * files.count_voxels(self._reference) * len(written))
        files.check_holds(self._reference, self._ending)

    def _places(self, targets: Iterable[str]) -> List[List[Path]]:
        return [[self._folder / self._name(target, kind) for target in targets] for kind in ("", _UNCERTAINTY)]

    def _check_absent(self, images: Sequence[Path], uncertainty: Sequence[Path]) -> None:
        others = [self._record] if self._made_from(self._record) or not self._runs() else []
        # An uncertainty that is there goes with the volume that is replaced, whether or not another one is written.
        check_absent([*images, *uncertainty, *others], self._overwrite, _OTHERWISE, self._made_from)

    def _runs(self) -> List[record.Run]:
        """Return what is recorded of former runs; nothing where what is there is no such record."""
        try:
            return record.runs(self._record)
        except ValueError:
            return []

    def _made_from(self, file: Path) -> str:
        """Return for a message what a result that is there was made from, where that is another input of this name.

        For the record: any of the results.
        """
        for run in self._runs():
            former = record.reference(run)
            if not former or not (file == self._record or file.name in run[record.FILES]):
                continue
            if not os.path.isabs(former):  # as they once were recorded: from which folder is not known
                return f", made from {former}, which may be another input"
            if former != os.path.abspath(self._reference):
                return f", made from another input ({former})"
        return ""

    def _name(self, target: str, suffix: str = "") -> str:
        return f"{self._base}_synthetic-{LABELS.get(target, target)}{suffix}{self._ending}"

    @property
    def _record(self) -> Path:
        return self._folder / f"{self._base}_synthetic.json"

    def write(self, result: SynthesisResult) -> Dict[str, Any]:
        """Write all files, the record last."""
        images, uncertainty = (
            {target: self._folder / self._name(target, kind) for target in made}
            for kind, made in (("", result.images), (_UNCERTAINTY, result.uncertainty))
        )
        volumes = [*images.values(), *uncertainty.values()]
        gone = {self._folder / self._name(target, _UNCERTAINTY) for target in images}.difference(volumes)
        with put_in_place([*volumes, self._record], gone) as parts:
            self._write_volumes(result.images, images, parts)
            self._write_volumes(result.uncertainty, uncertainty, parts)
            # Again: another run may have ended since.
            self._check_absent(*self._places(images))
            names, names_gone = [file.name for file in volumes], {file.name for file in gone}
            text = record.text(result.provenance, names, self._runs(), names_gone)
            parts[self._record].write_text(text, encoding="utf-8", errors="backslashreplace")
        return {
            "outputs": {target: str(file) for target, file in images.items()},
            "uncertainty": {target: str(file) for target, file in uncertainty.items()},
            "provenance": result.provenance,
            "provenance_file": str(self._record),
        }

    def _write_volumes(self, made, places: Mapping[str, Path], parts: Mapping[Path, Path]) -> None:
        for target in list(made):
            # Each volume is let go once written, so that no more are held than need be.
            files.write(made.pop(target), parts[places[target]], compress=self._compress)
