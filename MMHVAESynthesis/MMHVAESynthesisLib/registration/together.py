"""Independent parts of a registration at the same time, on the threads of one process.

How a registration is cut into parts does not depend on the number of threads, and each part computes on one thread: so
the result does not depend on it either, to the last bit.
"""

import os
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, List, Sequence

from ..progress import Reporter

THREADS = min(4, os.cpu_count() or 1)
"""More would not help: the search and the descents have only a few parts each."""


class _Stopped(Exception):
    """Ends a part of a run that failed elsewhere, or was cancelled."""


class Relay:
    """Stands for a reporter in another thread: its steps are reported by the thread that waits in :func:`together`."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stop = threading.Event()

    def stop(self) -> None:
        """Let each part end at its next step."""
        self._stop.set()

    def check(self) -> None:
        """End the part if the run is to stop."""
        if self._stop.is_set():
            raise _Stopped

    def step(self, count: int = 1) -> None:
        """Hand on ``count`` steps; end the part if the run is to stop."""
        self.check()
        self.messages.put(count)


def together(parts: Sequence[Callable[[Any], Any]], report: Reporter) -> List[Any]:
    """Run all ``parts``, each with what it is to report to, and return their results in order.

    :param report: Is stepped in the calling thread, as often as the parts step theirs.
    :raises Cancelled: once asked to stop; by then no part runs any more. The same holds for what a part raises.
    """
    relay = Relay()

    def run(part: Callable[[Any], Any]) -> Any:
        try:
            relay.check()
            return part(relay)
        except BaseException as error:
            relay.messages.put(error)
            raise
        finally:
            relay.messages.put(None)

    with ThreadPoolExecutor(min(THREADS, len(parts)), thread_name_prefix="registration") as pool:
        futures = [pool.submit(run, part) for part in parts]
        try:
            for _ in parts:
                _report_until_one_ends(relay, report)
                report.check()
        except BaseException:
            relay.stop()
            raise
    return [future.result() for future in futures]


def _report_until_one_ends(relay: Relay, report: Reporter) -> None:
    while True:
        message = relay.messages.get()
        if message is None:
            return
        if isinstance(message, BaseException):
            raise message
        report.step(message)
