"""The command ``evaluate``."""

import argparse
from typing import Any, Dict, Mapping, Optional

from ..dependencies import require_torch
from ..errors import InputError
from ..modalities import label
from ..outputs import no_empty_folders
from ..paths import expanded
from ..progress import CancelFlag, ProgressCallback
from ..training.cases import data_folder
from ..volumes.files import check_writable
from .metrics import require_structural_similarity

_NOTHING = "nothing to judge by"

HELP = "measure a model on held-out cases: the paper's tables and figures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of the command."""
    parser.add_argument("--data", metavar="DIR", help="DIR/<folder>/<case>/{us,t2,cet1,flair}.nii.gz; else MMHVAE_DATA")
    parser.add_argument(
        "--model",
        metavar="NAME|FILE",
        help="a model's name (see the command models) or its file; default: the one that models marks with *",
    )
    parser.add_argument("--output-dir", metavar="DIR", required=True, help="tables, pictures and figures.json go there")
    parser.add_argument(
        "--held-out", nargs="+", default=(), metavar="CASE", help="evaluate on these; default: those of the training"
    )
    parser.add_argument(
        "--planes", type=int, default=24, metavar="N", help="slices a sweep or head, at most; default %(default)s"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the results of a former evaluation")


def run(
    args: argparse.Namespace, progress: Optional[ProgressCallback] = None, cancel: Optional[CancelFlag] = None
) -> Dict[str, Any]:
    """Run the command; return the figures and verdicts, JSON-able, and the ``folder`` that they are in.

    :raises MMHVAEError: when something cannot be used.
    """
    require_torch()
    require_structural_similarity()
    from ..models.loading import load
    from .evaluate import evaluate
    from .results import check_absent, former

    if args.planes < 1:
        raise InputError(f"The number of planes must be 1 or more, not {args.planes}.")
    data = data_folder(args.data)
    folder = expanded(args.output_dir)
    with no_empty_folders(folder):
        check_absent(former(folder), args.overwrite)
        check_writable(folder)
        figures = evaluate(load(args.model), data, folder, args.planes, args.held_out, progress, cancel, args.overwrite)
    return {**figures, "folder": str(folder)}


def describe(result: Dict[str, Any]) -> str:
    """Return the result for people."""
    lines = [f"{goal}: {_verdict(found)}" for goal, found in result["verdicts"].items()]
    return "\n".join([*lines, f"The tables, the pictures, and figures.json with all verdicts: {result['folder']}"])


def _verdict(found: Mapping[str, Any]) -> str:
    """Return in words whether a goal is met, or for which modalities."""
    if "met" in found:
        return {True: "met", False: "not met", None: _NOTHING}[found["met"]]
    return ", ".join(f"{label(target)} {_verdict(each)}" for target, each in found.items()) or _NOTHING
