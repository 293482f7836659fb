"""The command line: ``python -m MMHVAESynthesisLib COMMAND ...``.

Results and, with ``--progress json``, progress go to stdout; everything else to stderr. Exit codes: see ``errors``.
"""

import argparse
import importlib
import json
import logging
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Dict, Iterator, List, Optional, TextIO

from . import __version__, stopping
from .dependencies import packages_problem
from .errors import Cancelled, DependencyError, MMHVAEError
from .progress import Progress

COMMANDS = {
    "synthesize": "synthesis",
    "register": "registration",
    "batch": "batch",
    "train": "training",
    "evaluate": "evaluation",
    "simulate": "ultrasound",
    "models": "models",
    "machine": "machine",
}
"""Each command's room. Its module ``cli`` has HELP, add_arguments(parser), run(args, progress, cancel) -> JSON-able
result and, where there is more to say than the files of its ``outputs``, describe(result) -> text. An ``exit_code``
in the result is the command's; ``warnings`` in it, or in its ``provenance``, are logged."""

_PURPOSE = (
    "Synthesise missing intra-operative ultrasound, T2, ceT1 and FLAIR from those at hand, and register pre-operative "
    "MR through them. For research, not for clinical use. COMMAND --help lists a command's options."
)

_WATCH_SECONDS = 0.2

_CLOSED = (
    "Standard input was closed, which is how programs stop a run with --progress json: keep it open, or use "
    "--progress none or bar."
)

_UNREAD = "Nobody reads the progress any more (--progress json), and so the run was stopped."

log = logging.getLogger(__name__)


def parser(command: Optional[str] = None) -> argparse.ArgumentParser:
    """Return the parser of one command, or of all where it is none of them: no room is loaded without need."""
    top = argparse.ArgumentParser(prog="python -m MMHVAESynthesisLib", description=_PURPOSE)
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in [command] if command in COMMANDS else COMMANDS:
        module = importlib.import_module(f".{COMMANDS[name]}.cli", __package__)
        sub = commands.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(sub)
        sub.add_argument("--json", action="store_true", help="print the result as one line of JSON on stdout")
        sub.add_argument(
            "--progress",
            choices=("bar", "json", "none"),
            default="bar",
            help="json: a line of JSON a step on stdout, and stop when standard input closes; default %(default)s",
        )
        stopping.add_arguments(sub)
        sub.add_argument("--verbose", action="store_true", help="log details to stderr")
        sub.set_defaults(run=module.run, describe=getattr(module, "describe", _list_files))
    return top


def _print_json(line: Dict[str, Any]) -> None:
    # ASCII alone, which a pipe carries in whatever encoding the system gives it.
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class _Lines:
    """A line of JSON on stdout at each step; once nobody reads them any more, the work is to stop."""

    def __init__(self, cancel: "_Stop"):
        self._cancel = cancel

    def __call__(self, report: Progress) -> None:
        left = None if report.seconds_left is None else round(report.seconds_left, 1)
        line = {"stage": report.stage, "done": report.done, "total": report.total, "seconds_left": left}
        try:
            _print_json({**line, "warnings": list(report.warnings)} if report.warnings else line)
        except OSError:
            if not self._cancel.is_set():
                self._cancel.reason = _UNREAD
                self._cancel.set()


class _Bar:
    """A line on stderr that is drawn anew at each step; without a terminal only each stage's end is written.

    The steps of one case of many are drawn over; each case that is through is written. Where nobody reads it any more,
    or there is no stderr (``pythonw``), the work goes on without it.
    """

    _is_gone = False

    def __call__(self, report: Progress) -> None:
        if self._is_gone or sys.stderr is None:
            return
        try:
            self._draw(report)
        except (OSError, ValueError):  # the latter where stderr was closed
            self._is_gone = True

    def _draw(self, report: Progress) -> None:
        from .batch.cases import CASES  # brings what may not be installed

        terminal, of_a_case = sys.stderr.isatty(), ": " in report.stage
        ended = report.done >= report.total and not of_a_case
        if not (terminal or ended or report.stage == CASES):
            return
        filled = 30 * report.done // max(report.total, 1)
        left = "" if report.seconds_left is None else f"  {timedelta(seconds=round(report.seconds_left))} left"
        # A case's name may be long; its end says what is being done.
        line = f"{report.stage[-24:]:<12} [{'#' * filled}{'.' * (30 - filled)}] {report.done}/{report.total}{left}"
        sys.stderr.write(("\r" if terminal else "") + line.ljust(78) + ("\n" if ended or not terminal else ""))
        sys.stderr.flush()


def _progress(kind: str, cancel: "_Stop"):
    return {"bar": _Bar(), "json": _Lines(cancel), "none": None}[kind]


@contextmanager
def _signals_cancel(cancel: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and a request to terminate cancel the work, so that it can clean up."""
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    former = {number: signal.signal(number, lambda *_: cancel.set()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _wait_for_the_end(descriptor: int) -> None:
    """Read a file or pipe until it ends.

    On Windows a read that waits on a pipe holds up whatever else looks at standard input, as native libraries do while
    they are loaded (numpy issue 24290, cpython issue 78961): there the pipe is looked at, and only read when it holds
    something.
    """
    try:
        import _winapi
        import msvcrt

        handle = msvcrt.get_osfhandle(descriptor)
        while True:
            held = _winapi.PeekNamedPipe(handle, 0)[0]
            if held:
                os.read(descriptor, held)
            time.sleep(_WATCH_SECONDS)
    except BrokenPipeError:
        return
    except (ImportError, OSError):  # not on Windows, or no pipe
        while os.read(descriptor, 4096):
            pass


class _Stop(threading.Event):
    """Set when the work is to stop; ``reason`` says why, where the user need not have wanted it."""

    reason = ""


def _watch_standard_input(cancel: _Stop) -> None:
    """Cancel once standard input closes: so a child ends when its parent does, however that ended."""

    def watch() -> None:
        # Without a standard input at all, its number may be that of any file opened since.
        if sys.stdin is not None:
            _wait_for_the_end(0)
        if not cancel.is_set():
            cancel.reason = _CLOSED
            cancel.set()

    threading.Thread(target=watch, name="standard-input", daemon=True).start()


def main(arguments: Optional[List[str]] = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    missing = packages_problem()
    if missing:
        print(f"ERROR: {missing}", file=sys.stderr)
        return DependencyError.exit_code
    if not arguments:
        parser().error(f"give a command: {', '.join(COMMANDS)}; --help says what each does, COMMAND --help how")
    args = parser(arguments[0]).parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=logging.DEBUG if args.verbose else logging.INFO, format="%(levelname)s: %(message)s"
    )
    cancel = _Stop()
    stopping.watch(cancel, args.stop_file, args.parent)
    if args.work_in is not None:
        with suppress(OSError):
            os.chdir(args.work_in)
    # A launcher in between may give the child a standard input that is closed from the start.
    if args.progress == "json" and args.parent is None:
        _watch_standard_input(cancel)
    try:
        with _signals_cancel(cancel):
            result = args.run(args, _progress(args.progress, cancel), cancel)
            with suppress(BrokenPipeError):  # whoever read the names is gone; the files are there
                _succeeded(args, result)
    except MMHVAEError as error:
        return _failed(args, error, cancel.reason if isinstance(error, Cancelled) else "")
    except Exception:
        log.exception("unexpected fault; please report it with this text")
        return 1
    finally:
        cancel.set()  # nothing is left to be stopped: who watches may end
    return result.get("exit_code", 0)


def _failed(args: argparse.Namespace, error: MMHVAEError, reason: str) -> int:
    log.debug("details", exc_info=error)
    log.log(logging.WARNING if isinstance(error, Cancelled) else logging.ERROR, "%s", error)
    if reason:
        log.warning("%s", reason)
    if args.json or args.progress == "json":
        line = {"error": str(error), "kind": type(error).__name__, "exit_code": error.exit_code}
        # Apart from the error, which a parent that stopped its child on purpose shows as it is.
        with suppress(BrokenPipeError):
            _print_json({**line, "reason": reason} if reason else line)
    return error.exit_code


def _succeeded(args: argparse.Namespace, result: Dict[str, Any]) -> None:
    if not result:  # one of several processes, of which another says it
        return
    for warning in (*result.get("provenance", {}).get("warnings", ()), *result.get("warnings", ())):
        log.warning("%s", warning)
    if args.json or args.progress == "json":
        _print_json({"result": result})
        return
    if sys.stdout is None:  # under pythonw, which has none of the three
        return
    if hasattr(sys.stdout, "reconfigure"):
        # A console that lacks a letter of a file's name must not turn success into failure.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout.write(args.describe(result) + "\n")


def _list_files(result: Dict[str, Any]) -> str:
    return "\n".join(result["outputs"].values())


def _let_go_of(stream: Optional[TextIO]) -> None:
    """Drop what a stream could not be given, where it broke: Python would end with a code of its own for it, 120."""
    try:
        if stream is not None:
            stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    try:
        exit_code = main()
    except KeyboardInterrupt:  # before the work began, or once it has failed: it hears of it otherwise
        with suppress(OSError, AttributeError):
            sys.stderr.write("Cancelled.\n")
        exit_code = Cancelled.exit_code
    for stream in (sys.stdout, sys.stderr):
        _let_go_of(stream)
    sys.exit(exit_code)
