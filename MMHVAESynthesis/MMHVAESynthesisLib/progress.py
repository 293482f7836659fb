"""How long work reports what is done and is told to stop."""

import time
from dataclasses import dataclass
from typing import Callable, Optional, Protocol, Sequence, Tuple

from .errors import Cancelled


@dataclass(frozen=True)
class Progress:
    """One report: ``done`` of ``total`` steps of ``stage``; ``seconds_left`` is None while it is unknown.

    ``warnings`` are sentences for the user that came up with this step: early enough to stop.
    """

    stage: str
    done: int
    total: int
    seconds_left: Optional[float] = None
    warnings: Tuple[str, ...] = ()


ProgressCallback = Callable[[Progress], None]


class CancelFlag(Protocol):
    """What tells a run to stop: a ``threading.Event``, or anything that answers like one."""

    def is_set(self) -> bool:
        """Return whether the user asked to stop."""


class Reporter:
    """Counts the steps of one stage, reports each to ``callback`` and raises :class:`Cancelled` once asked to stop.

    The callback is called in the thread that calls :meth:`step`, so a GUI may draw from it.
    """

    def __init__(
        self, stage: str, total: int, callback: Optional[ProgressCallback] = None, cancel: Optional[CancelFlag] = None
    ):
        self.stage, self.total, self.done = stage, total, 0
        self._callback, self._cancel = callback, cancel
        self._start = time.monotonic()
        self.step(0)

    def check(self) -> None:
        """Raise :class:`Cancelled` if the user asked to stop."""
        if self._cancel is not None and self._cancel.is_set():
            raise Cancelled("Cancelled. Nothing was changed.")

    def step(self, count: int = 1, warnings: Sequence[str] = ()) -> None:
        """Count ``count`` steps as done and report; raise :class:`Cancelled` if the user asked to stop."""
        self.check()
        self.done += count
        if self._callback is not None:
            self._callback(Progress(self.stage, self.done, self.total, self._seconds_left(), tuple(warnings)))

    def _seconds_left(self) -> Optional[float]:
        if self.done == 0:
            return None
        return (time.monotonic() - self._start) / self.done * (self.total - self.done)
