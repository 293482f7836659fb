"""When a run stops before its end: time is up, a signal came, or the caller asked."""

import contextlib
import signal
import threading
import time
from typing import Iterator, Optional

from ..progress import CancelFlag


class StopRequest:
    """Answers, after each step, whether to save and leave.

    :param minutes: Time limit counted from now; None means none.
    :param cancel: An Event-like that the caller may set.
    """

    _RESERVE_SECONDS = 20.0
    """Kept for saving."""

    def __init__(self, minutes: Optional[float] = None, cancel: Optional[CancelFlag] = None):
        self._end = None if minutes is None else time.monotonic() + 60 * minutes - self._RESERVE_SECONDS
        self._cancel = cancel
        self._signalled = False

    def is_set(self) -> bool:
        """Return whether to stop."""
        late = self._end is not None and time.monotonic() >= self._end
        return self._signalled or late or (self._cancel is not None and self._cancel.is_set())

    def _on_signal(self, _number, _frame) -> None:
        self._signalled = True

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as requests to stop after this step, where this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
