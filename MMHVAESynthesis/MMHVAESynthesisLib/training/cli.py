"""The command ``train``."""

import argparse
from pathlib import Path
from typing import Any, Dict, Optional

from ..dependencies import require_torch
from ..errors import InputError, ModelError, OutputError
from ..network.sizes import NetworkSizes
from ..outputs import check_absent, check_no_inputs, no_empty_folders
from ..paths import expanded
from ..progress import CancelFlag, ProgressCallback
from ..volumes.files import check_writable
from . import presets
from .cases import data_folder
from .config import TrainingConfig, load

HELP = "train a model"
DEFAULT = "demonstrator"

_ENDING = ".safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of the command."""
    parser.add_argument("--data", metavar="DIR", help="DIR/<folder>/<case>/{us,t2,cet1,flair}.nii.gz; else MMHVAE_DATA")
    parser.add_argument("--state", metavar="DIR", required=True, help="state and curves; a run there is continued")
    parser.add_argument(
        "--config",
        metavar="FILE|NAME",
        help=f"JSON file, or {', '.join(sorted(presets.PRESETS))}; default: that of the state, else {DEFAULT}",
    )
    parser.add_argument(
        "--init",
        metavar="FILE",
        help="start from these weights instead of random ones; a wider network starts as theirs",
    )
    parser.add_argument("--minutes", type=float, metavar="N", help="stop in time, state saved")
    parser.add_argument(
        "--output", metavar="FILE", help=f"write the weights there, {_ENDING}, at the end of this session"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the file of --output that is there, where this run has not written it itself",
    )
    parser.add_argument(
        "--device",
        default="cpu",
        help="cpu or cuda; default %(default)s; several GPUs: torchrun (never tried on GPUs)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads on a CPU; default: PyTorch's own choice")


def _state(args: argparse.Namespace) -> Path:
    return expanded(args.state)


def _output(args: argparse.Namespace) -> Optional[Path]:
    """Return the file for the weights, where they are to be written.

    :raises OutputError: when it cannot be one.
    """
    if args.output and not args.output.lower().endswith(_ENDING):
        raise OutputError(f"Cannot write weights to {args.output}: the name of a model's file must end with {_ENDING}.")
    return expanded(args.output) if args.output else None


def _check(args: argparse.Namespace, output: Optional[Path]) -> None:
    """Raise where a setting cannot be used, or the state or the weights cannot be written."""
    from .exported import is_of_run

    if args.minutes is not None and not args.minutes > 0:
        raise InputError(f"The minutes must be more than 0, not {args.minutes:g}: without --minutes, all is trained.")
    if args.threads is not None and args.threads < 1:
        raise InputError(f"The number of threads must be 1 or more, not {args.threads}.")
    state = _state(args)
    if state.exists() and not state.is_dir():
        raise OutputError(f"{state} is a file: give --state a folder, in which the state and the curves are kept.")
    if output is not None:
        check_no_inputs([output], filter(None, (args.init, args.config)), "another file with --output")
        check_absent([output], args.overwrite or is_of_run(output, state), "another file with --output")
        check_writable(output.parent)
    check_writable(state)


def _configuration(args: argparse.Namespace) -> TrainingConfig:
    saved = _state(args) / "config.json"
    if args.config is None and saved.is_file():
        return load(saved)
    return presets.configuration(args.config or DEFAULT)


def run(
    args: argparse.Namespace, progress: Optional[ProgressCallback] = None, cancel: Optional[CancelFlag] = None
) -> Dict[str, Any]:
    """Run the command; return what was done, JSON-able: of several processes the first, the others nothing.

    :raises MMHVAEError: when something cannot be used, before any work starts; or when the training diverges.
    """
    output = _output(args)
    require_torch()
    with no_empty_folders(_state(args), *([output.parent] if output else [])):
        _check(args, output)
        return _train(args, output, progress, cancel)


def _train(
    args: argparse.Namespace,
    output: Optional[Path],
    progress: Optional[ProgressCallback],
    cancel: Optional[CancelFlag],
) -> Dict[str, Any]:
    import torch

    from ..models.loading import load as load_model
    from . import distributed
    from .export import export
    from .loop import Start, train
    from .widening import can_widen

    if args.threads:
        torch.set_num_threads(args.threads)
    config = _configuration(args)
    init = None
    if args.init:
        model = load_model(args.init)
        if model.header.sizes != config.sizes and not can_widen(model.header.sizes, config.sizes):
            raise ModelError(_other_sizes(args.init, model.header.sizes, config.sizes))
        cases = tuple(model.header.training.get("cases", ()))
        init = Start(model.network.state_dict(), model.header.name, model.header.digest, cases, model.header.sizes)
    try:
        session, complete = train(
            data_folder(args.data), _state(args), config, init, args.minutes, args.device, progress, cancel
        )
        result = {"steps": session.step, "of": session.steps, "complete": complete, "hours": session.seconds / 3600}
        result.update(state=args.state, output=args.output)
        if distributed.rank() != 0:
            # Of several processes the first says it.
            return {}
        if output:
            header = export(session, output)
            result.update(digest=header.digest)
        return result
    finally:
        distributed.stop()


def _other_sizes(file: str, theirs: NetworkSizes, ours: NetworkSizes) -> str:
    """Return why a network of our sizes cannot begin from weights of theirs, see ``widening.can_widen``."""
    text = (
        f"{file} has other sizes than the configuration, which can begin from equal ones, or from ones of smaller "
        f"base_features or max_features: {theirs}."
    )
    twice = 2 * ours.decoder_features
    if theirs.base_features < ours.base_features and twice in (theirs.base_features, ours.base_features):
        others = [str(width) for width in (twice - 4, twice + 4) if width >= theirs.base_features]
        advice = f"take {' or '.join(others)}" if ours.base_features == twice else f"keep {twice}"
        text += f" Where base_features differ, neither may be {twice}, twice decoder_features: {advice} for it."
    return text


def describe(result: Dict[str, Any]) -> str:
    """Return the result for people."""
    lines = [f"{result['steps']} of {result['of']} steps are done, in {result['hours']:.2f} hours of training."]
    if result["complete"]:
        lines.append(f"The training is complete; its state and curves are in {result['state']}.")
    else:
        lines.append(f"It goes on from {result['state']} with the same command.")
    weights = f"The weights are in {result['output']}." if result["output"] else ""
    return "\n".join([*lines, weights or "No weights were written: the same command with --output FILE writes them."])
