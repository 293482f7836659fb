"""The panel's part that works: Apply and Cancel, progress, outcome, log, diagnostics."""

import json
import logging
import time
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

import slicer
from slicer.i18n import tr as _

from ..errors import MMHVAEError, TorchError
from ..scene.provenance import noted
from . import colours, texts
from .jobs import CANCELLED, DONE, Job, memory_ran_out, nameless
from .runner import Runner

_DOUBLE_CLICK_SECONDS = 0.6
"""So long a click on Cancel is taken for the second one of a double click on Apply."""

log = logging.getLogger(__name__)


class Work:
    """One job at a time, and what the user sees of it.

    :param ui: The widgets.
    :param on_state: Called when a job began or ended.
    """

    def __init__(self, ui: Any, on_state: Callable[[], None]):
        self._ui, self._on_state = ui, on_state
        self._runner = Runner(self._on_change)
        self._since, self._clickable, self._log = 0.0, 0.0, ""
        self._outcome, self._failed, self._lacks_torch = "", False, False
        self._noted, self._of_scene = "", True
        self._needs: Sequence[Any] = ()
        self.shown_for: Optional[Dict[str, Any]] = None
        """The inputs to which alone belongs what is shown: those of a preview."""
        ui.logButton.connect("toggled(bool)", self._on_log_button)
        for widget in (ui.progressBar, ui.logText, ui.warningsLabel, ui.previewPicture, ui.installButton):
            widget.setVisible(False)

    @property
    def is_running(self) -> bool:
        """Whether a job is at work or stopping."""
        return self._runner.is_running

    def begin(
        self,
        make: Callable[[], Job],
        on_done: Callable[[Job], str],
        of_scene: bool = True,
        needs: Callable[[], Sequence[Any]] = tuple,
    ) -> None:
        """Start a job; what cannot even start is shown as a failure.

        :param make: Makes the job.
        :param on_done: Takes what a job that is done brought, and returns what to say of it.
        :param of_scene: Whether its result is for the scene, so that it ends with that.
        :param needs: Returns, once the job is made, the nodes without which its result has no place.
        """
        if self.is_running:  # its child would never be heard of again
            return
        self._of_scene = of_scene
        self.forget()
        self._log, self._since = "", time.monotonic()
        try:
            job = make()
        except MMHVAEError as error:
            self.fail(error)
            return
        except MemoryError:
            self.fail(MemoryError(memory_ran_out()))
            return
        except Exception as error:
            log.exception("The computation could not be started")
            self.fail(RuntimeError(_("The computation could not be started: {error}.").format(error=error)))
            return
        self._needs = needs()
        # With the job go these functions, and the nodes that they know: nothing here may outlive the scene.
        self._runner.run(job, lambda ended: self._on_end(ended, on_done))
        # From here on, not from the click: a second one waited while large volumes were written.
        self._clickable = time.monotonic() + _DOUBLE_CLICK_SECONDS
        self._ui.progressBar.setMaximum(0)
        self._on_state()
        self._on_change(job)

    def cancel(self) -> None:
        """Ask the job to stop."""
        if time.monotonic() > self._clickable and self._runner.job is not None:
            self._runner.cancel()
            self._on_change(self._runner.job)

    def abandon(self) -> None:
        """Show nothing any more of a scene that is gone, and drop whatever a job of it still brings."""
        if self.is_running and self._of_scene:
            self._give_up(_("Cancelled, because the scene was closed."))
        elif not self.is_running:
            self.forget()
            self._on_state()

    def on_removed(self, node: Any) -> None:
        """Drop whatever a job still brings for which a node is needed that left the scene."""
        if self.is_running and any(node is each for each in self._needs):
            said = _("Cancelled, because '{name}' left the scene meanwhile. Nothing was added.")
            self._give_up(said.format(name=node.GetName()))

    def _give_up(self, why: str) -> None:
        self._runner.abandon()
        self.forget()
        self._say(why)
        self._on_state()

    def forget(self) -> None:
        """Show no longer how the last job ended; the diagnostics still say it."""
        self.warn(())
        self._ui.previewPicture.setVisible(False)
        self._outcome, self._failed, self._lacks_torch = "", False, False
        self._needs, self.shown_for = (), None

    def stop(self) -> None:
        """End every child at once."""
        self._runner.stop()

    def warn(self, warnings: Sequence[str]) -> None:
        """Show warnings of the library."""
        self._ui.warningsLabel.setText("\n".join(f"⚠ {warning}" for warning in warnings))
        self._ui.warningsLabel.setStyleSheet(colours.doubtful())
        self._ui.warningsLabel.setVisible(bool(warnings))

    def warn_of(self, node: Any) -> None:
        """Show the warnings of a run that are noted on a node that it made."""
        self.warn(json.loads(noted(node).get("warnings", "[]")))

    def fail(self, error: Exception) -> None:
        """Show a failure; a missing PyTorch can be installed with a click."""
        self._lacks_torch = isinstance(error, TorchError)
        self._say(str(error), failed=True)
        self._noted = nameless(error)
        self._on_state()

    def say(self, text: str, torch_works: bool = False) -> None:
        """Show how something ended; ``torch_works`` once a fault of PyTorch is mended."""
        self._lacks_torch = self._lacks_torch and not torch_works
        self._say(text)
        self._on_state()

    def show(self, missing: str, offer_install: bool = False) -> None:
        """Show the buttons and the status.

        :param missing: What Apply waits for, in a sentence.
        :param offer_install: Show the button that installs PyTorch, also without a failure that asks for it.
        """
        ui, running = self._ui, self.is_running
        stopping = running and self._runner.job.is_stopping
        ui.applyButton.text = _("Cancel") if running else _("Apply")
        ui.applyButton.enabled = not stopping if running else not missing
        ui.applyButton.toolTip = (
            _("Stop the computation; the scene stays as it is.")
            if running
            else missing or _("Synthesise the chosen contrasts. Slicer stays usable meanwhile.")
        )
        ui.previewButton.enabled = not running and not missing
        ui.downloadButton.enabled = not running
        ui.installButton.setVisible(not running and (offer_install or self._lacks_torch))
        ui.progressBar.setVisible(running)
        if not running:
            ui.statusLabel.setText("\n".join(filter(None, [self._outcome, missing])))
            ui.statusLabel.setStyleSheet(colours.wrong() if self._failed else "")
        ui.statusLabel.setVisible(bool(ui.statusLabel.text))

    @property
    def seconds(self) -> float:
        """Since the last job began."""
        return time.monotonic() - self._since

    def diagnostics(self, facts: Mapping[str, Any]) -> str:
        """Return a report of the last job, without the names of volumes: they may be those of patients."""
        job = self._runner.job
        return texts.diagnostics({**facts, "Last outcome": self._noted}, job.log() if job is not None else self._log)

    def _say(self, text: str, failed: bool = False) -> None:
        self._outcome, self._failed = text, failed
        self._noted = ""
        self._show_log()

    def _on_change(self, job: Job) -> None:
        ui, progress = self._ui, job.progress
        ui.statusLabel.setStyleSheet("")
        ui.statusLabel.setText(texts.running(progress, job.silent_seconds, job.is_stopping))
        if progress is not None and progress.total > 1:
            ui.progressBar.setMaximum(progress.total)
            ui.progressBar.setValue(progress.done)
        if job.warnings:
            self.warn(job.warnings)
        self.show("")
        self._show_log()

    def _on_end(self, job: Job, on_done: Callable[[Job], str]) -> None:
        self._log, self._needs = job.log(), ()
        if job.state == CANCELLED:
            self.say(job.how_it_stopped)
            self._noted = CANCELLED
        elif job.state != DONE:
            self.fail(job.error)
        else:
            self._take(job, on_done)

    def _take(self, job: Job, on_done: Callable[[Job], str]) -> None:
        try:
            said = on_done(job)
        except MMHVAEError as error:
            self.fail(error)
        except Exception:
            log.exception("The result could not be added to the scene")
            self.fail(RuntimeError(_("The result could not be added to the scene. Slicer's log says more.")))
        else:
            self.say(said)
            self._noted = DONE

    def _on_log_button(self, shown) -> None:
        self._ui.logText.setVisible(bool(shown))
        self._show_log()

    def _show_log(self) -> None:
        if self._ui.logButton.checked:
            job = self._runner.job
            text = (job.log() if job is not None else self._log) or _("(nothing yet)")
            if text != self._ui.logText.plainText:
                # The end, where the news is, unless the user reads further up.
                bar = self._ui.logText.verticalScrollBar()
                place = None if bar.value == bar.maximum else bar.value
                self._ui.logText.setPlainText(text)
                bar.setValue(bar.maximum if place is None else place)


def copy(text: str) -> None:
    """Put a text on the clipboard."""
    import qt

    qt.QApplication.clipboard().setText(text)
    slicer.util.showStatusMessage(_("Copied."), 3000)
