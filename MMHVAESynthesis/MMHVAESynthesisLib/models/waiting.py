"""Calls that may wait long, for a server for instance, while the caller looks at something else."""

import threading
from queue import Empty, SimpleQueue
from typing import Any, Callable

LOOK_SECONDS = 0.2
"""So often the caller looks up."""


class Waiting:
    """A thread that does one call after another.

    A socket's own time-out would not do: a stream on which one ran out cannot be read any more.

    :param look: Called by the caller's thread while it waits; what it raises ends the waiting, not the call.
    """

    def __init__(self, look: Callable[[], None]):
        self._look = look
        self._calls: SimpleQueue[Any] = SimpleQueue()
        self._results: SimpleQueue[Any] = SimpleQueue()
        threading.Thread(target=self._work, name="waiting", daemon=True).start()

    def do(self, call: Callable[[], Any]) -> Any:
        """Return what a call gives, or raise what it raises. After ``look`` raised, nothing more can be done here."""
        self._calls.put(call)
        while True:
            try:
                result, error = self._results.get(timeout=LOOK_SECONDS)
                break
            except Empty:
                self._look()
        if error is not None:
            raise error
        return result

    def end(self, last: Callable[[], Any] = lambda: None) -> None:
        """Do one more call, once the present one ended, and nothing after it; nobody hears whether it succeeded."""
        self._calls.put(last)
        self._calls.put(None)

    def _work(self) -> None:
        for call in iter(self._calls.get, None):
            try:
                self._results.put((call(), None))
            except Exception as error:
                self._results.put((None, error))
