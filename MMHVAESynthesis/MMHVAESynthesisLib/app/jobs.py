"""One run of the command line in a child process, from its start to its outcome.

Whoever owns a job calls :meth:`Job.poll` every now and then, in the thread that may touch the scene.
"""

import json
import time
from typing import Any, Dict, List, Optional, Sequence

from .. import errors
from ..progress import Progress
from .i18n import _
from .process import JobError, Process, Start

RUNNING, DONE, FAILED, CANCELLED = "running", "done", "failed", "cancelled"

PATIENCE_SECONDS = (8.0, 4.0)
"""After asking a job to stop: how long until it is terminated, and then until it is killed."""

SILENCE_SECONDS = 60.0
"""After so long without a word from the child the user is told."""

_KILLED_FOR_MEMORY = (-9, 137, 0xC0000017, 0xC000012D)
_LAUNCHERS_WORDS = "exit abnormally"
"""PythonSlicer, a launcher, says so of a Python that was killed or crashed, and then ends with the exit code 1."""

_GARBAGE_KEPT = 20


class Job:
    """A run of the command line.

    :param arguments: Of the command line, without ``--progress``.
    :param start: Starts it; see :func:`process.starter`.
    :raises JobError: when the child cannot be started.
    """

    patience = PATIENCE_SECONDS

    def __init__(self, arguments: Sequence[str], start: Start):
        self.arguments = [*arguments, "--progress", "json"]
        self.state = RUNNING
        self.progress: Optional[Progress] = None
        self.result: Optional[Dict[str, Any]] = None
        self.error: Optional[errors.MMHVAEError] = None
        self.warnings: List[str] = []
        """What the child warned of so far, while it still works."""
        self._said: Optional[Dict[str, Any]] = None
        self._garbage: List[str] = []
        self._is_polling = False
        self._heard = time.monotonic()
        self._asked_to_stop: Optional[float] = None
        self._steps: List[Any] = []
        try:
            self._process: Process = start(self.arguments)
        except OSError as error:
            words = _("The computation could not be started: {error}.").format(error=error.strerror or error)
            raise JobError(words) from error

    def poll(self) -> str:
        """Take in what the child said and return the state; called meanwhile, as by what it tells, only the state."""
        if self.state == RUNNING and not self._is_polling:
            self._is_polling = True
            try:
                self._look()
            finally:
                self._is_polling = False
        return self.state

    def cancel(self) -> None:
        """Ask the child to stop; what does not stop by itself is terminated, then killed, by later polls."""
        if self.state == RUNNING and self._asked_to_stop is None:
            self._asked_to_stop = time.monotonic()
            self._steps = [
                (self.patience[0], self._process.terminate),
                (sum(self.patience), self._process.kill),
            ]
            self._process.ask_to_stop()

    def kill(self) -> None:
        """End the child at once, for when there is no time to ask: the module is reloaded, Slicer quits."""
        if self.state == RUNNING:
            self._process.kill()
            self.state = CANCELLED

    @property
    def is_stopping(self) -> bool:
        """Whether the job was asked to stop and has not ended yet."""
        return self.state == RUNNING and self._asked_to_stop is not None

    @property
    def silent_seconds(self) -> float:
        """For how long nothing was heard from the child; 0 while that means nothing yet."""
        return silence_since(self._heard) if self.state == RUNNING else 0.0

    @property
    def how_it_stopped(self) -> str:
        """Say what became of a job that was cancelled."""
        return nothing_changed()

    def log(self) -> str:
        """Return what the child wrote on standard error, and lines of its standard output that were no JSON."""
        return "\n".join(filter(None, [self._process.log(), *self._garbage]))

    def in_words(self, text: str) -> str:
        """Return a message of the child as it is meant for the user."""
        return text

    def _look(self) -> None:
        for line in self._process.lines():
            self._take(line)
        code = self._process.exit_code()
        if code is not None:
            self._process.close()
            self._end(code)
        elif self._asked_to_stop is not None:
            self._insist()

    def _take(self, line: str) -> None:
        self._heard = time.monotonic()
        try:
            said = json.loads(line)
            if "stage" in said:
                self.progress = Progress(
                    str(said["stage"]), int(said["done"]), int(said["total"]), _seconds(said["seconds_left"])
                )
                self.warnings += [self.in_words(str(warning)) for warning in said.get("warnings", ())]
            elif isinstance(said.get("result"), dict) or isinstance(said.get("error"), str):
                self._said = said
            else:
                raise ValueError("neither progress nor an end")
        except (ValueError, TypeError, KeyError, AttributeError):
            if line.strip() and len(self._garbage) < _GARBAGE_KEPT:
                self._garbage.append(f"[not understood] {line[:500]}")

    def _insist(self) -> None:
        waited = time.monotonic() - self._asked_to_stop
        if self._steps and waited >= self._steps[0][0]:
            self._steps.pop(0)[1]()

    def _end(self, code: int) -> None:
        said = self._said or {}
        if self._asked_to_stop is not None or code == errors.Cancelled.exit_code:
            self.state = CANCELLED
        # A batch of which some cases failed ends with a result, and an exit code that the result states.
        elif "result" in said and code == said["result"].get("exit_code", 0):
            self.state, self.result = DONE, said["result"]
        else:
            self.state, self.error = FAILED, self._error_of(code, said)

    def _error_of(self, code: int, said: Dict[str, Any]) -> errors.MMHVAEError:
        if "error" in said:
            return _errors_by_name().get(said.get("kind"), JobError)(said["error"])
        if code in _KILLED_FOR_MEMORY:
            return JobError(
                _(
                    "The system ended the computation, most likely because memory ran out. Close other programs, "
                    "choose fewer threads (Advanced) or crop the volume; then try again. Nothing was changed."
                )
            )
        if not said and _LAUNCHERS_WORDS in self.log():
            return JobError(
                _(
                    "The computation crashed, or the system ended it since memory ran out: close other programs, "
                    "choose fewer threads (Advanced) or crop the volume, then try again. If that does not help, the "
                    "installation is at fault: the log says more. Nothing was changed."
                )
            )
        if self._garbage and code == 0:
            return JobError(
                _(
                    "The computation ended with an answer that cannot be understood. The log shows it; please report "
                    "it. Nothing was changed."
                )
            )
        how = _("was ended by signal {number}") if code < 0 else _("ended without a result (exit code {number})")
        return JobError(
            _(
                "The computation {how}. That is a fault of this software or of its installation: the log says more; "
                "please report it. Nothing was changed."
            ).format(how=how.format(number=abs(code)))
        )


class LastingJob(Job):
    """A job of which stays what it has done, on disk, where it is asked to stop: a download, a batch."""

    @property
    def how_it_stopped(self) -> str:
        """Say what became of a job that was cancelled, as the child does."""
        return (self._said or {}).get("error", _("Cancelled. What was finished stays."))

    def _end(self, code: int) -> None:
        super()._end(code)
        if self.state == CANCELLED and "result" in (self._said or {}):
            # It was through before it heard that it should stop.
            self.state, self.result = DONE, self._said["result"]


def nothing_changed() -> str:
    """Return what to say of a job that was cancelled and leaves nothing."""
    return _("Cancelled. Nothing was changed.")


def memory_ran_out() -> str:
    """Return what to say where Slicer's own memory ran out."""
    return _("Memory ran out: close other programs, or crop the volumes. Nothing was changed.")


def silence_since(heard: float) -> float:
    """Return the seconds since something was heard, at a time of ``time.monotonic``; 0 while that means nothing yet."""
    silence = time.monotonic() - heard
    return silence if silence > SILENCE_SECONDS else 0.0


def nameless(error: Exception) -> str:
    """Say of a failure what no name of a volume can be in; what a child said of it, without names, is in its log."""
    kind = type(error).__name__
    return kind if isinstance(error, errors.MMHVAEError) and not isinstance(error, JobError) else f"{kind}: {error}"


def _seconds(value: Any) -> Optional[float]:
    return None if value is None else float(value)


def _errors_by_name() -> Dict[Any, type]:
    every = vars(errors).values()
    return {each.__name__: each for each in every if isinstance(each, type) and issubclass(each, errors.MMHVAEError)}
