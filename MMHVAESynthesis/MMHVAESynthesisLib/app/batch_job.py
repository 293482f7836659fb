"""A batch as a job: the command line in a child, looked after by Slicer's event loop without anybody waiting for it."""

import logging
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Set, Union

import qt
import slicer
from slicer.i18n import tr as _

from ..batch.cases import CASES
from ..batch.settings import Settings
from ..batch.source import check_one, check_where
from ..errors import MMHVAEError
from ..models import catalogue
from ..paths import absolute
from ..progress import Progress, ProgressCallback
from . import texts
from .jobs import CANCELLED, DONE, RUNNING, LastingJob
from .process import JobError, Start

log = logging.getLogger(__name__)

_INTERVAL_MS = 200
_OPTIONS = {"half_precision": "half"}
"""Settings whose option has another name."""

_running: Set["BatchJob"] = set()
"""Whoever starts a batch need not keep the handle."""


class BatchJob(LastingJob):
    """Many cases in a child process: the handle that ``startBatch`` returns.

    ``finished`` says whether it has ended, ``state`` how, ``result`` what came of it (as ``BatchResult.summary``),
    ``error`` why there is none, ``progress`` the last step of a case with the seconds left for the whole batch,
    ``cases`` how many cases are through; :meth:`cancel` stops it within a slice. When Slicer ends, so does the batch;
    started again, it goes on from there.

    :param progress: Called with each ``Progress`` in Slicer's own thread; None shows it in the status bar.
    :param finished: Called once with this handle when the batch has ended.
    :raises MMHVAEError: when it cannot be started.
    """

    patience = (60.0, 15.0)

    def __init__(
        self,
        arguments: List[str],
        start: Start,
        progress: Optional[ProgressCallback] = None,
        finished: Optional[Callable[["BatchJob"], Any]] = None,
    ):
        self.cases: Optional[Progress] = None
        self._on_progress, self._on_end = progress or _show, finished
        super().__init__(arguments, start)
        _running.add(self)
        self._timer = qt.QTimer()
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.connect("timeout()", self.poll)
        self._timer.start()

    @property
    def finished(self) -> bool:
        """Whether the batch has ended, well or not; looks after it too, for scripts that keep Slicer from doing so."""
        return self.poll() != RUNNING

    def poll(self) -> str:
        """Take in what the child said and return the state."""
        before = self.state
        if super().poll() != RUNNING and before == RUNNING:
            self._let_go()
            log.log(logging.INFO if self.state == DONE else logging.WARNING, "%s", self)
            slicer.util.showStatusMessage(str(self).splitlines()[0], 10000)
            if self._on_end is not None:
                self._call(self._on_end, self)
        return self.state

    def kill(self) -> None:
        """End the child at once."""
        super().kill()
        self._let_go()

    def __str__(self) -> str:
        """Return in words how the batch stands or ended."""
        from ..batch.cli import describe

        if self.state == DONE:
            return describe(self.result)
        if self.state == CANCELLED:
            return self.how_it_stopped
        return str(self.error) if self.error is not None else _in_words(self.cases)

    def _error_of(self, code: int, said: Dict[str, Any]) -> MMHVAEError:
        if "error" in said:
            return super()._error_of(code, said)
        return JobError(
            _(
                "The batch's process died (exit code {code}): memory may have run out, the log says more. What was "
                "finished stays; started again, the batch goes on from there."
            ).format(code=code)
        )

    def _take(self, line: str) -> None:
        former = self.progress
        super()._take(line)
        if self.progress is not None and self.progress is not former:
            if self.progress.stage == CASES:
                self.cases = self.progress
            self._call(self._on_progress, self.progress)

    def _call(self, function: Callable[[Any], Any], argument: Any) -> None:
        """Call what the user gave; a fault in it must not keep the batch from being looked after."""
        try:
            function(argument)
        except Exception:
            log.exception("A function that was given to startBatch failed; the batch goes on")

    def _let_go(self) -> None:
        self._timer.stop()
        _running.discard(self)


def arguments_of(
    output_dir: Union[str, Path],
    manifest: Union[str, Path, None],
    folder: Union[str, Path, None],
    scheduler: Optional[str],
    settings: Settings,
) -> List[str]:
    """Return the command line of a batch; relative paths are those of this process.

    :raises InputError: when not exactly one of ``manifest`` and ``folder`` is given, or a path is none.
    """
    check_one(manifest, folder)
    check_where(output_dir, scheduler)
    source = ("--folder", folder) if manifest is None else ("--manifest", manifest)
    paths = [f"{option}={absolute(path)}" for option, path in (source, ("--output-dir", output_dir))]
    settings = replace(settings, model=catalogue.from_anywhere(settings.model, has_folder=True))
    return ["batch", *paths, *([f"--scheduler={scheduler}"] if scheduler else []), *_options(settings)]


def _options(settings: Settings) -> List[str]:
    options = []
    for each in fields(settings):
        option, value = "--" + _OPTIONS.get(each.name, each.name), getattr(settings, each.name)
        if isinstance(value, bool):
            # Of a flag, the command line has the word that changes it.
            options += [option if value else f"--no-{each.name}"] if value is not each.default else []
        elif value is not None:
            options.append(f"{option}={','.join(value) if isinstance(value, tuple) else value}")
    return options


def _in_words(progress: Optional[Progress]) -> str:
    if progress is None:
        return _("Batch: starting ...")
    text = _("Batch, {stage}: {done} of {total}").format(stage=progress.stage, done=progress.done, total=progress.total)
    if progress.seconds_left:
        text += _(", about {time} left").format(time=texts.duration(progress.seconds_left))
    return text


def _show(progress: Progress) -> None:
    slicer.util.showStatusMessage(_in_words(progress))
