"""The command ``simulate``: a simulated ultrasound sweep from MR files, or from the phantom head."""

import argparse
from pathlib import Path
from typing import Any, Dict, Optional

import SimpleITK as sitk

from ..errors import InputError, OutputError
from ..modalities import CET1, DESCRIPTIONS, FLAIR, LABELS, T2
from ..progress import CancelFlag, ProgressCallback, Reporter
from ..volumes import files
from ..volumes.checks import checked

HELP = "simulate an ultrasound sweep from MR, or from a phantom head"

_CONTRASTS = (T2, CET1, FLAIR)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    for modality in _CONTRASTS:
        parser.add_argument(f"--{modality}", metavar="FILE", help=f"skull-stripped {DESCRIPTIONS[modality]} volume")
    parser.add_argument("--label", metavar="FILE", help="1 necrosis, 2 oedema, 3 or 4 enhancing tumour: looked at")
    parser.add_argument("--phantom", action="store_true", help="from the phantom head, which is written too")
    parser.add_argument("--output-dir", metavar="DIR", required=True, help="folder for us.nii.gz and field.nii.gz")
    parser.add_argument("--spacing", metavar="MM", type=float, default=0.5, help="of the sweep; default %(default)s")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="default %(default)s")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there already")


def run(
    args: argparse.Namespace, progress: Optional[ProgressCallback] = None, cancel: Optional[CancelFlag] = None
) -> Dict[str, Any]:
    """Simulate and write.

    :return: ``outputs`` as ``{what: file}``.
    :raises MMHVAEError: with nothing written.
    """
    from .simulate import simulate_sweep

    volumes, label = _sources(args)
    folder = Path(args.output_dir).expanduser()
    names = ["us", "field", *(volumes if args.phantom else ()), *(["label"] if args.phantom else [])]
    there = [folder / f"{name}.nii.gz" for name in names if (folder / f"{name}.nii.gz").exists()]
    if there and not args.overwrite:
        raise OutputError(f"{there[0]} is there already: choose another folder, or give --overwrite to replace it.")
    files.check_writable(folder)
    reporter = Reporter("simulating", 1, progress, cancel)
    sweep = simulate_sweep(volumes, args.seed, label, args.spacing)
    reporter.step()
    made = {"us": sweep.us, "field": sweep.mask}
    if args.phantom:
        made.update(volumes, label=label)
    return {"outputs": {name: str(files.write(image, folder / f"{name}.nii.gz")) for name, image in made.items()}}


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
    label = sitk.Cast(files.read(args.label), sitk.sitkUInt8) if args.label else None
    return volumes, label
