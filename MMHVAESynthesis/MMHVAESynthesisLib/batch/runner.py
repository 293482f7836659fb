"""All cases of a batch: here in threads, one a device, or on a Dask cluster.

From Slicer's Python console, or any script::

    from MMHVAESynthesisLib.batch import runner, settings, source
    cases = source.cases_of(folder="/data/cohort")
    result = runner.run_batch(cases, settings.Settings(samples=4), "/data/results")

The call blocks. Run again, it goes on where it was stopped.
"""

import logging
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Union

from ..errors import SOME_CASES_FAILED, Cancelled, OutputError
from ..outputs import no_empty_folders
from ..progress import CancelFlag, Progress, ProgressCallback
from ..volumes import files
from . import figures, report, unfinished
from .cases import CASES, Case, usable
from .former import check_replacing
from .places import placed
from .settings import Settings
from .source import check_where
from .work import DONE, FAILED, KEPT, Job, Outcome, check_engine, model_digest, process

log = logging.getLogger(__name__)

_WATCH_SECONDS = 0.1


@dataclass(frozen=True)
class BatchResult:
    """What became of all cases, in their order, and the two files that tell of it; None where one was not written."""

    outcomes: List[Outcome]
    report: Optional[Path]
    table: Optional[Path]

    def of_state(self, state: str) -> List[Outcome]:
        """Return the outcomes of one state: ``done``, ``kept`` or ``failed``."""
        return [outcome for outcome in self.outcomes if outcome.state == state]

    def summary(self) -> Dict[str, Any]:
        """Return the result for people and for JSON.

        :return: ``done``, ``kept`` (finished by an earlier run) and ``failed`` (``{case: reason}``),
            ``with_warnings`` (``{case: warnings}`` of those that have any), ``kept_start`` (cases whose registration
            was left at its start; None where nothing was registered), ``report`` and ``table`` (files; None where one
            could not be written), and the command's ``exit_code``.
        """
        registered = [outcome for outcome in self.outcomes if outcome.kept_start is not None]
        failed = {outcome.case: outcome.reason for outcome in self.of_state(FAILED)}
        return {
            "done": [outcome.case for outcome in self.of_state(DONE)],
            "kept": [outcome.case for outcome in self.of_state(KEPT)],
            "failed": failed,
            "with_warnings": {outcome.case: list(outcome.warnings) for outcome in self.outcomes if outcome.warnings},
            "kept_start": [each.case for each in registered if each.kept_start] if registered else None,
            "report": self.report and str(self.report),
            "table": self.table and str(self.table),
            "exit_code": SOME_CASES_FAILED if failed else 0 if self.report and self.table else OutputError.exit_code,
        }


def run_batch(
    cases: Sequence[Case],
    settings: Settings,
    output: Union[str, Path],
    progress: Optional[ProgressCallback] = None,
    cancel: Optional[CancelFlag] = None,
    scheduler: Optional[str] = None,
    overwrite: bool = False,
) -> BatchResult:
    """Do all cases into one folder each below ``output``, and write ``report.html`` and ``report.csv`` beside them.

    Cases that are finished are left alone: with the same inputs, model and settings, by their digests. Two batches
    with the same ``output`` at once get along, but share no work.

    Nothing of the user's is deleted: a case fails whose folder holds no results of a batch, or an input of some case,
    and what else lies in a folder of results stays in it.

    :param progress: Called in this thread: with each step of each case (stage ``name: step``), and with the number of
        cases (stage ``cases``); ``seconds_left`` is always that of the whole batch.
    :param scheduler: Address of a Dask scheduler, such as ``tcp://host:8786``; None works here.
    :param overwrite: Whether results that are there may be replaced which were made with other settings; without, that
        is an error before any work. What was made with these settings and is out of date or damaged is done anew.
    :raises MMHVAEError: when no case could be done: wrong settings, no such model, no place to write, a file that
        is no report in the report's place; or :class:`Cancelled`. What is wrong with one case alone is in the result.
    """
    check_where(output, scheduler)
    cases = usable(list(cases))
    with no_empty_folders(output):
        folder = files.check_writable(output).absolute()
        cases = placed(cases, folder)
        board = _Board(len(cases), progress)

        def begin(digest: str) -> None:
            check_replacing(cases, settings, folder, digest, overwrite)
            _tell_of_others(folder)

        try:
            if scheduler is None:
                _run_here(cases, settings, folder, board, begin, cancel)
            else:
                from .cluster import run_on_cluster

                run_on_cluster(scheduler, cases, settings, folder, begin, board.finished, cancel)
        except Cancelled as error:
            raise Cancelled(_how_far(cases, _reported(cases, board, folder), folder)) from error
    return _reported(cases, board, folder)


def _tell_of_others(folder: Path) -> None:
    """Log who else seems to be at work in a folder of results."""
    busy = unfinished.at_work(folder)
    if busy:
        log.warning(
            "There are unfinished cases in %s, of %s: if that is still at work, nothing is lost, but cases are "
            "computed twice; stop one of the two.",
            folder,
            ", ".join(busy),
        )


def _how_far(cases: Sequence[Case], result: BatchResult, folder: Path) -> str:
    """Return how far a batch came that was cancelled."""
    done = len(result.of_state(DONE)) + len(result.of_state(KEPT))
    earlier = len(figures.earlier(cases, result.outcomes, folder))
    more = f"; {earlier} more have results of an earlier run, which this one did not check" if earlier else ""
    return f"Cancelled: {done} of {len(cases)} cases are finished{more}. The same command goes on from there."


def _reported(cases: Sequence[Case], board: "_Board", folder: Path) -> BatchResult:
    outcomes = [board.outcomes[case.name] for case in cases if case.name in board.outcomes]
    return BatchResult(outcomes, *report.write(cases, outcomes, folder))


def _run_here(
    cases: Sequence[Case],
    settings: Settings,
    folder: Path,
    board: "_Board",
    begin: Callable[[str], None],
    cancel: Optional[CancelFlag],
) -> None:
    digest = model_digest(settings.model)
    devices = devices_of(settings.device)
    check_engine(settings)
    begin(digest)
    waiting = queue.SimpleQueue()
    for case in cases:
        waiting.put(case)

    def work(device: Optional[str], stop: CancelFlag) -> None:
        while True:
            try:
                case = waiting.get_nowait()
            except queue.Empty:
                return
            job = Job(case, settings, str(folder), digest, device)
            if stop.is_set():
                raise Cancelled
            board.hear(process(job, lambda step, name=case.name: board.hear((name, step)), stop))

    with _workers(devices, work, cancel) as futures:
        while not all(future.done() for future in futures):
            board.tell(_WATCH_SECONDS)
        board.tell(0)
        for future in futures:
            future.result()


def devices_of(device: str) -> List[Optional[str]]:
    """Return one device for each worker: all CUDA devices that work where they are meant, else the settings' (None).

    :raises DeviceError: when there is no such device, or PyTorch cannot compute on it.
    """
    from ..synthesis.devices import available_devices, computes, find_device

    find_device(device)
    cuda = [name for name in available_devices() if name.startswith("cuda")]
    several = device in ("auto", "cuda") and len(cuda) > 1
    return [name for name in cuda if computes(name)] or [None] if several else [None]


class _Either:
    """Set when the user asked to stop, or this call is being left."""

    def __init__(self, cancel: Optional[CancelFlag]):
        self._cancel, self._leaving = cancel, threading.Event()

    def set(self) -> None:
        self._leaving.set()

    def is_set(self) -> bool:
        return self._leaving.is_set() or (self._cancel is not None and self._cancel.is_set())


@contextmanager
def _workers(devices: Sequence[Optional[str]], work: Callable, cancel: Optional[CancelFlag]) -> Iterator[list]:
    """Run ``work(device, stop)`` in a thread for each device; however the block is left, they stop within a slice."""
    stop = _Either(cancel)
    with ThreadPoolExecutor(len(devices), "mmhvae-batch") as pool:
        try:
            yield [pool.submit(work, device, stop) for device in devices]
        finally:
            stop.set()


class _Board:
    """What the cases report, told to the caller in its own thread."""

    def __init__(self, total: int, progress: Optional[ProgressCallback]):
        self.outcomes: Dict[str, Outcome] = {}
        self._total, self._progress = total, progress
        self._news: queue.SimpleQueue = queue.SimpleQueue()
        self._parts: Dict[str, float] = {}
        self._start = time.monotonic()
        self._report(Progress(CASES, 0, total))

    def hear(self, news) -> None:
        """Take an :class:`Outcome`, or a case's name and its step, from any thread."""
        self._news.put(news)

    def tell(self, seconds: float) -> None:
        """Tell what was heard; wait for it for so many seconds."""
        try:
            news = self._news.get(timeout=seconds) if seconds else self._news.get_nowait()
            while True:
                self.finished(news) if isinstance(news, Outcome) else self._step(*news)
                news = self._news.get_nowait()
        except queue.Empty:
            return

    def finished(self, outcome: Outcome) -> None:
        """Count a case."""
        self.outcomes[outcome.case] = outcome
        self._parts.pop(outcome.case, None)
        if outcome.state == FAILED:
            log.warning("%s: %s", outcome.case, outcome.reason)
        elif outcome.state == DONE:
            for warning in outcome.warnings:
                log.warning("%s: %s", outcome.case, warning)
        self._report(Progress(CASES, len(self.outcomes), self._total, self._seconds_left()))

    def _step(self, case: str, step: Progress) -> None:
        # Synthesis counts the slices; the other steps are short beside it and count nothing.
        if step.stage == "synthesis":
            self._parts[case] = step.done / max(step.total, 1)
        self._report(Progress(f"{case}: {step.stage}", step.done, step.total, self._seconds_left()))

    def _report(self, report_: Progress) -> None:
        if self._progress is not None:
            self._progress(report_)

    def _seconds_left(self) -> Optional[float]:
        # A case that was finished before, or failed, took no time that says anything of those to come.
        worked = sum(outcome.state == DONE for outcome in self.outcomes.values()) + sum(self._parts.values())
        if worked == 0:
            return None
        left = self._total - len(self.outcomes) - sum(self._parts.values())
        return (time.monotonic() - self._start) / worked * left
