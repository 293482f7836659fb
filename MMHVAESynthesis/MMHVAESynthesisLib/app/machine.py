"""What this machine has for the work: asked of a child once the user looks at the settings for it, never before."""

from typing import Any, Callable

from slicer.i18n import tr as _

from ..errors import MMHVAEError, TorchError
from .jobs import DONE, Job
from .options import Options
from .process import Start
from .runner import Runner


class Machine:
    """Fills the list of devices, beside whatever else runs.

    :param ui: The widgets.
    :param options: Shows what was found.
    :param start: Starts the command line in a child.
    :param on_torch: Called with what is wrong with PyTorch, in a sentence; empty where it works.
    """

    def __init__(self, ui: Any, options: Options, start: Start, on_torch: Callable[[str], None]):
        self._ui, self._options, self._start, self._on_torch = ui, options, start, on_torch
        self._runner = Runner(lambda job: None)
        self._has_looked = False
        ui.advancedButton.connect("contentsCollapsed(bool)", self._on_folded)
        ui.deviceButton.connect("clicked(bool)", self.look)

    def look(self, *_args) -> None:
        """Ask the command line which devices there are."""
        if self._runner.is_running:
            return
        self._has_looked = True
        try:
            job = Job(["machine"], self._start)
        except MMHVAEError as error:
            self._say(str(error))
            return
        self._say(_("Looking what this machine has ..."))
        self._ui.deviceButton.enabled = False
        self._runner.run(job, self._on_end)

    def look_again(self) -> None:
        """Look once more, where it was done before: what was found then is no longer so."""
        if self._has_looked:
            self.look()

    def close(self) -> None:
        """End the child at once."""
        self._runner.stop()

    def _on_folded(self, collapsed) -> None:
        if not collapsed and not self._has_looked:
            self.look()

    def _on_end(self, job: Job) -> None:
        self._ui.deviceButton.enabled = True
        if job.state == DONE:
            self._options.show_devices(job.result)
            self._on_torch("")
            return
        self._say(str(job.error))
        if isinstance(job.error, TorchError):
            self._on_torch(str(job.error))

    def _say(self, text: str) -> None:
        self._ui.deviceState.setText(text)
        self._ui.deviceState.setVisible(True)
