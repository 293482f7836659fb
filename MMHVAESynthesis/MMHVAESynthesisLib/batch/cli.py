"""The command ``batch``: many cases in, one folder a case and a report out."""

import argparse
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ..errors import SOME_CASES_FAILED
from ..models import catalogue
from ..paths import expanded
from ..progress import CancelFlag, ProgressCallback
from ..request import AFFINE, ENGINES, RIGID
from ..synthesis import cli as synthesis
from .cases import Case
from .settings import Settings
from .source import cases_of
from .table import COLUMNS

HELP = "synthesise, and register, many cases; run again, it goes on where it was stopped"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--manifest", metavar="FILE", help=f"CSV table, one case a line: {', '.join(COLUMNS)}")
    source.add_argument("--folder", metavar="DIR", help="one folder a case, BIDS, or files called after case and kind")
    parser.add_argument("--list", action="store_true", help="only say what would be taken and what speaks against it")
    parser.add_argument("--output-dir", metavar="DIR", required=True, help="for one folder a case, and the report")
    synthesis.add_settings(parser)
    parser.set_defaults(temperature=None)
    parser.add_argument(
        "--register",
        action="store_true",
        help="register the pre-operative MR to the synthetic MR; one sample is then made at T = 0 unless said so",
    )
    parser.add_argument("--kind", choices=(RIGID, AFFINE), default=RIGID, help="of registration; default %(default)s")
    parser.add_argument("--engine", choices=ENGINES, default="auto", help="of registration; default %(default)s")
    parser.add_argument("--starts", metavar="N", type=int, default=4, help="of registration; default %(default)s")
    parser.add_argument(
        "--no-completion",
        dest="completion",
        action="store_false",
        help="of registration: do not synthesise from the pre-operative MR what lacks its partner, iUS too (which the "
        "engine lncc alone does)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace finished cases that were made with other settings"
    )
    parser.add_argument("--scheduler", metavar="ADDRESS", help="work on this Dask cluster, such as tcp://host:8786")


def run(
    args: argparse.Namespace, progress: Optional[ProgressCallback] = None, cancel: Optional[CancelFlag] = None
) -> Dict[str, Any]:
    """Do all cases.

    :return: What ``BatchResult.summary`` says; with ``--list`` the ``cases``, each with its ``problem`` where there is
        one, ``other_settings`` (``{case: what differs}`` of finished ones that would be replaced), ``overwrite``
        (whether they may be) and ``exit_code``.
    :raises MMHVAEError: when no case could be done.
    """
    settings = _settings(args)
    cases = cases_of(args.manifest, args.folder, args.register, args.output_dir)
    if args.list:
        return {**_listed(cases, settings, expanded(args.output_dir)), "overwrite": args.overwrite}
    from .runner import run_batch

    return run_batch(cases, settings, args.output_dir, progress, cancel, args.scheduler, args.overwrite).summary()


def _listed(cases: Sequence[Case], settings: Settings, output: Path) -> Dict[str, Any]:
    """Return what would be taken; the volumes' headers are read, and nothing else of them."""
    from .checks import nothing_to_register, trouble_in_headers, trouble_of
    from .former import listed
    from .places import placed

    cases = placed(cases, output)
    if settings.model is not None:
        catalogue.find(settings.model)  # says where there is none of that name
    found = []
    for case in cases:
        doubt = nothing_to_register(case, settings)
        problem = trouble_of(case, settings) or trouble_in_headers(case)
        found.append({**vars(case), "problem": problem, "notes": [*case.notes, *([doubt] if doubt else [])]})
    return {
        "cases": found,
        "other_settings": listed(cases, settings, output),
        "output_dir": str(output),
        "exit_code": SOME_CASES_FAILED if any(case["problem"] for case in found) else 0,
    }


def _settings(args: argparse.Namespace) -> Settings:
    return Settings(
        **synthesis.settings_of(args),
        format=args.format,
        register=args.register,
        kind=args.kind,
        engine=args.engine,
        starts=args.starts,
        completion=args.completion,
    )


def describe(result: Dict[str, Any]) -> str:
    """Return the result for people."""
    if "cases" in result:
        return "\n".join(_lines_of_list(result))
    lines = [f"{len(result['done'])} done, {len(result['kept'])} finished before, {len(result['failed'])} failed."]
    lines += [f"{case}: {reason}" for case, reason in result["failed"].items()]
    lines.append(_counted("With warnings", result.get("with_warnings", ())))
    if result.get("kept_start") is not None:
        lines.append(_counted("Registrations left at their start", result["kept_start"]))
    return "\n".join([*lines, result["report"] or "The report could not be written: a warning says why."])


def _counted(what: str, cases: Sequence[str]) -> str:
    return f"{what}: {len(cases)}{' (' + ', '.join(cases) + ')' if cases else ''}."


def _lines_of_list(result: Mapping[str, Any]) -> List[str]:
    from .former import ALLOWED, HOW, in_words

    lines = [line for case in result["cases"] for line in _described(Case(**case))]
    wrong = sum(bool(case["problem"]) for case in result["cases"])
    number = len(result["cases"])
    lines.append(f"{number} case{'s' if number > 1 else ''}: {number - wrong} can be done, {wrong} cannot.")
    if result["other_settings"]:
        what = ALLOWED if result["overwrite"] else HOW
        lines.append(f"{in_words(result['other_settings'], result['output_dir'])} {what}")
    return lines


def _described(case: Case) -> List[str]:
    lines = [case.name]
    lines += [f"    {modality}: {file}" for modality, file in case.inputs.items()]
    lines += [f"    pre-operative {modality}: {file}" for modality, file in case.preoperative.items()]
    lines += [f"    Cannot be done: {case.problem}"] if case.problem else []
    lines += [f"    {text}" for text in case.notes]
    return lines
