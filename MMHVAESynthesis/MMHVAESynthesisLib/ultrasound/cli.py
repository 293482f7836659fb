"""The command ``simulate``: a simulated ultrasound sweep from MR files, or from the phantom head."""

import argparse
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

import SimpleITK as sitk

from ..arguments import Once
from ..errors import InputError
from ..modalities import CET1, DESCRIPTIONS, FLAIR, LABELS, T2
from ..outputs import check_absent, check_no_inputs, no_empty_folders, put_in_place
from ..paths import expanded
from ..progress import CancelFlag, ProgressCallback, Reporter
from ..volumes import files
from ..volumes.checks import array_view, checked, checked_label
from ..volumes.intensity import from_zero
from ..volumes.likeness import sign_of_skull

HELP = "simulate an ultrasound sweep from MR, or from a phantom head"

_CONTRASTS = (T2, CET1, FLAIR)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    for modality in _CONTRASTS:
        parser.add_argument(
            f"--{modality}", metavar="FILE", action=Once, help=f"skull-stripped {DESCRIPTIONS[modality]} volume"
        )
    parser.add_argument(
        "--label",
        metavar="FILE",
        help="segmentation of the tumour, for its echoes: 1 necrosis, 2 oedema, 3 or 4 enhancing tumour",
    )
    parser.add_argument("--phantom", action="store_true", help="from the phantom head, which is written too")
    parser.add_argument("--output-dir", metavar="DIR", required=True, help="folder for us.nii.gz and field.nii.gz")
    parser.add_argument("--spacing", metavar="MM", type=float, default=0.5, help="of the sweep; default %(default)s")
    parser.add_argument(
        "--seed",
        metavar="N",
        type=int,
        default=0,
        help="of the sweep, and with --phantom of the head; default %(default)s",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there already")


def run(
    args: argparse.Namespace, progress: Optional[ProgressCallback] = None, cancel: Optional[CancelFlag] = None
) -> Dict[str, Any]:
    """Simulate and write.

    :return: ``outputs`` as ``{what: file}``, and ``warnings``.
    :raises MMHVAEError: with nothing written, and what was to be replaced still there.
    """
    from .simulate import simulate_sweep

    volumes, label = _sources(args)
    folder = expanded(args.output_dir)
    names = ["us", "field", *(volumes if args.phantom else ()), *(["label"] if args.phantom else [])]
    targets = [folder / f"{name}.nii.gz" for name in names]
    inputs = filter(None, (args.label, *(getattr(args, modality) for modality in _CONTRASTS)))
    check_no_inputs(targets, inputs, "another folder")
    check_absent(targets, args.overwrite, "another folder")
    files.check_names(targets)
    with no_empty_folders(folder):
        files.check_writable(folder)
        reporter = Reporter("simulating", 1, progress, cancel)
        sweep = simulate_sweep(volumes, args.seed, label, args.spacing)
        reporter.step()
        made = {"us": sweep.us, "field": sweep.mask}
        if args.phantom:
            made.update(volumes, label=label)
        return {"outputs": _write(made, folder), "warnings": [] if args.phantom else _warnings(volumes)}


def _write(made: Mapping[str, sitk.Image], folder: Path) -> Dict[str, str]:
    places = {name: folder / f"{name}.nii.gz" for name in made}
    with put_in_place(list(places.values())) as parts:
        for name, image in made.items():
            files.write(image, parts[places[name]])
    return {name: str(place) for name, place in places.items()}


def _warnings(volumes: Mapping[str, sitk.Image]) -> List[str]:
    """Return a sentence for each MR that seems to show the skull: what is simulated from it is nothing like a brain."""
    signs = {m: sign_of_skull(from_zero(array_view(image))[::2, ::2, ::2]) for m, image in volumes.items()}
    return [
        f"{LABELS[modality]} {sign}: a sweep is simulated from skull-stripped MR only. Extract the brain first (for "
        "example with HD-BET or SynthStrip)."
        for modality, sign in signs.items()
        if sign
    ]


def _sources(args: argparse.Namespace):
    """Return the MR contrasts and the label, read and checked."""
    given = {modality: getattr(args, modality) for modality in _CONTRASTS if getattr(args, modality)}
    if args.phantom:
        if given or args.label:
            raise InputError("Give either --phantom or MR files, not both.")
        from .phantom import phantom

        head = phantom(args.seed)
        return head, head.pop("label")
    if not given:
        raise InputError("There is nothing to simulate from: give --t2, --cet1 or --flair, or --phantom.")
    volumes = {m: checked(files.read(file), f"The {LABELS[m]} volume '{file}'") for m, file in given.items()}
    return volumes, checked_label(files.read(args.label), args.label) if args.label else None
