"""The command ``evaluate``."""

import argparse
from pathlib import Path
from typing import Any, Dict, Optional

from ..dependencies import require_torch
from ..progress import CancelFlag, ProgressCallback
from ..training.cases import data_folder

HELP = "measure a model on held-out cases: the paper's tables and figures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of the command."""
    parser.add_argument("--data", metavar="DIR", help="DIR/<folder>/<case>/{us,t2,cet1,flair}.nii.gz; else MMHVAE_DATA")
    parser.add_argument("--model", metavar="NAME|FILE", help="default: the default model")
    parser.add_argument("--output-dir", metavar="DIR", required=True, help="tables, pictures and figures.json go there")
    parser.add_argument(
        "--held-out", nargs="+", default=(), metavar="CASE", help="evaluate on these; default: those of the training"
    )
    parser.add_argument(
        "--planes", type=int, default=24, metavar="N", help="slices a sweep or head, at most (%(default)s)"
    )


def run(
    args: argparse.Namespace, progress: Optional[ProgressCallback] = None, cancel: Optional[CancelFlag] = None
) -> Dict[str, Any]:
    """Run the command; return the figures and verdicts, JSON-able.

    :raises MMHVAEError: when something cannot be used.
    """
    require_torch()
    from ..models.loading import load
    from .evaluate import evaluate

    data = data_folder(args.data)
    folder, planes = Path(args.output_dir), max(1, args.planes)
    return evaluate(load(args.model), data, folder, planes, args.held_out, progress, cancel)
