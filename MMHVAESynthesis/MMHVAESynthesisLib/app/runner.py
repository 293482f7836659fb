"""Keeps one job going: polls it with a timer in Slicer's own thread, and tells what becomes of it."""

from typing import Callable, Optional

import qt

from .jobs import RUNNING, Job

_INTERVAL_MS = 100


class Runner:
    """At most one job that counts, and those that were given up and still have to end.

    :param on_change: Called after each poll of the job that counts.
    """

    def __init__(self, on_change: Callable[[Job], None]):
        self.job: Optional[Job] = None
        self._on_change, self._on_end = on_change, None
        self._abandoned = []
        self._timer = qt.QTimer()
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.connect("timeout()", self.poll)

    def run(self, job: Job, on_end: Callable[[Job], None]) -> None:
        """Look after a job; ``on_end`` is called once, when it has ended by itself or by :meth:`cancel`."""
        self.job, self._on_end = job, on_end
        self._timer.start()

    @property
    def is_running(self) -> bool:
        """Whether a job is at work or stopping."""
        return self.job is not None

    def cancel(self) -> None:
        """Ask the job to stop."""
        if self.job is not None:
            self.job.cancel()

    def abandon(self) -> None:
        """Ask the job to stop and forget it: whatever it still says is dropped, as after the scene was closed."""
        if self.job is not None:
            self.job.cancel()
            self._abandoned.append(self.job)
            self.job = self._on_end = None

    def stop(self) -> None:
        """End everything at once: the panel goes away."""
        self._timer.stop()
        for job in [*self._abandoned, *([self.job] if self.job is not None else [])]:
            job.kill()
        self._abandoned, self.job, self._on_end = [], None, None

    def poll(self) -> None:
        """Look after the jobs once."""
        self._abandoned = [job for job in self._abandoned if job.poll() == RUNNING]
        job = self.job
        if job is not None:
            if job.poll() == RUNNING:
                self._on_change(job)
            else:
                on_end, self.job, self._on_end = self._on_end, None, None
                on_end(job)
        if self.job is None and not self._abandoned:
            self._timer.stop()
