"""Registration by BRAINSFit as a job: the one that runs in Slicer's own process, since it is a module of Slicer's."""

import logging
import threading
import time
from typing import Any, List, Optional, Sequence

import qt
import slicer

from ..errors import Cancelled, MMHVAEError
from ..progress import Progress
from ..request import RegistrationRequest
from ..scene import closing
from .i18n import _
from .jobs import CANCELLED, DONE, FAILED, RUNNING, nameless, nothing_changed, silence_since
from .process import JobError

log = logging.getLogger(__name__)


class BrainsfitJob:
    """To whoever polls it like a :class:`~.jobs.Job`; makes a ``RegistrationResult``.

    BRAINSFit itself runs beside Slicer, in Slicer's own thread for such modules. The search before it runs here, and
    Slicer gets to draw and to hear clicks at each of its steps.

    :param request: Its volumes are images.
    :param runner: Runs BRAINSFit; see ``scene.brainsfit``.
    """

    def __init__(self, request: RegistrationRequest, runner: Any):
        self.state = RUNNING
        self.progress: Optional[Progress] = None
        self.error: Optional[MMHVAEError] = None
        self.warnings: Sequence[str] = ()
        self.made: Optional[Any] = None
        self._request: Optional[RegistrationRequest] = request
        self._runner, self._cancel = runner, threading.Event()
        self._is_closing = closing.watch()
        self._heard = time.monotonic()
        self._said: List[str] = ["BRAINSFit, in Slicer's own process"]
        # Not from the timer that polls: that one has to go on while this works.
        qt.QTimer.singleShot(0, self._run)

    def poll(self) -> str:
        """Return the state."""
        return self.state

    def cancel(self) -> None:
        """Ask the work to stop, which it does at its next step."""
        self._cancel.set()

    def kill(self) -> None:
        """Stop without another word: the panel goes away."""
        if self.state == RUNNING:
            self._cancel.set()
            self.state = CANCELLED

    @property
    def how_it_stopped(self) -> str:
        """Say what became of a job that was cancelled."""
        return nothing_changed()

    @property
    def is_stopping(self) -> bool:
        """Whether the job was asked to stop and has not ended yet."""
        return self.state == RUNNING and self._cancel.is_set()

    @property
    def silent_seconds(self) -> float:
        """For how long there was no progress; 0 while that means nothing yet."""
        return silence_since(self._heard) if self.state == RUNNING else 0.0

    def log(self) -> str:
        """Return what is to be said of the run so far."""
        return "\n".join(self._said)

    def _run(self) -> None:
        from ..registration.engine import register

        request, self._request = self._request, None
        if self.state != RUNNING or self._cancel.is_set():
            self._end(CANCELLED)
            return
        try:
            self.made = register(request, self._on_progress, self._cancel, self._runner)
        except Cancelled:
            self._end(CANCELLED)
        except MMHVAEError as error:
            self._end(FAILED, error)
        except Exception:
            log.exception("The registration failed")
            words = _("The registration failed by a fault of this software: Slicer's log says more.")
            self._end(FAILED, JobError(f"{words} {_('Nothing was changed.')}"))
        else:
            self._end(DONE)

    def _end(self, state: str, error: Optional[MMHVAEError] = None) -> None:
        if self.state == RUNNING:
            self.state, self.error = state, error
            # The log is for reports, and the error's sentence may name a volume.
            self._said.append(nameless(error) if error is not None else state)

    def _on_progress(self, progress: Progress) -> None:
        self.progress, self._heard = progress, time.monotonic()
        slicer.app.processEvents()
        if self._is_closing():
            self._cancel.set()
