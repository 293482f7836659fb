"""The panel's section Results: comparison, uncertainty overlay, the table of runs."""

from datetime import datetime
from typing import Any, Callable, List, Optional

import qt
import slicer
from slicer.i18n import tr as _

from ..modalities import labels
from ..scene import layouts, overlay
from ..scene.provenance import uncertainty_node
from ..scene.runs import Run, runs

_MODEL_COLUMN, _WIDEST_MODEL = 3, 90
"""Pixels: a long name would push the settings out of sight; the tooltip has it whole."""


class Results:
    """What was made so far.

    :param ui: The widgets.
    :param repeat: Runs a run's settings again.
    """

    def __init__(self, ui: Any, repeat: Callable[[Run], None]):
        self._ui = ui
        self._runs: List[Run] = []
        self._chosen: Optional[str] = None
        self._filling, self._may_repeat = False, True
        self._overlay_words = ui.overlayCheckBox.text, ui.overlayCheckBox.toolTip
        ui.compareButton.connect("clicked(bool)", self.on_compare)
        ui.formerLayoutButton.connect("clicked(bool)", self.on_former_layout)
        ui.overlayCheckBox.connect("toggled(bool)", self.on_overlay)
        ui.overlaySlider.connect("valueChanged(double)", self.on_overlay)
        table = ui.runsTable
        titles = [_("When"), _("From"), _("To"), _("Model"), _("T"), _("N"), _("Seed")]
        table.setColumnCount(len(titles))
        table.setHorizontalHeaderLabels(titles)
        table.horizontalHeader().toolTip = _("T: temperature. N: number of samples.")
        table.verticalHeader().setVisible(False)
        table.connect("itemSelectionChanged()", self._on_selection)
        table.connect("cellClicked(int,int)", lambda *_args: self._on_selection())
        # The table's menu holds on to the actions; PythonQt would free them without these references.
        compare = self._action(_("Compare side by side"), self.on_compare)
        self._repeat_action = self._action(_("Repeat with the same settings"), lambda *_args: repeat(self.chosen()))
        delete = self._action(_("Delete the volumes of this run"), self.on_delete)
        self._actions = [compare, self._repeat_action, delete]
        self.update()

    def chosen(self) -> Optional[Run]:
        """Return the run that is chosen in the table; the last one where none is."""
        return next((run for run in self._runs if run.id == self._chosen), self._runs[0] if self._runs else None)

    def run_of(self, node: Any) -> Run:
        """Return the run that made a volume."""
        return next(run for run in self._runs if any(node is each for each in run.outputs.values()))

    def update(self) -> None:
        """Show the scene's runs as they are now."""
        self._list(runs())

    def let_repeat(self, allowed: bool) -> None:
        """Offer to repeat a run, or not, as while another goes on."""
        self._may_repeat = allowed
        self._update_buttons()

    def follow(self) -> None:
        """Have the box say whether maps are laid over, as in a scene that was saved so; it changes no view."""
        box = self._ui.overlayCheckBox
        was_blocked = box.blockSignals(True)
        box.checked = overlay.is_shown()
        box.blockSignals(was_blocked)

    def forget(self) -> None:
        """Show no runs: the scene goes away, and their volumes with it."""
        self._ui.overlayCheckBox.checked = False
        self._list([])

    def _list(self, made: List[Run]) -> None:
        self._runs = made
        table = self._ui.runsTable
        self._filling = True
        table.setRowCount(len(self._runs))
        for row, run in enumerate(self._runs):
            for column, text in enumerate(_cells(run)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(_tip(run))
                table.setItem(row, column, item)
        table.resizeColumnsToContents()
        table.setColumnWidth(_MODEL_COLUMN, min(table.columnWidth(_MODEL_COLUMN), _WIDEST_MODEL))
        self._select_chosen()
        self._filling = False
        self._update_buttons()

    def _select_chosen(self) -> None:
        """Select the chosen run's row, wherever it is now: what is marked is what the buttons act on."""
        rows = [row for row, run in enumerate(self._runs) if run.id == self._chosen]
        self._ui.runsTable.clearSelection()
        if rows:
            self._ui.runsTable.selectRow(rows[0])
        else:
            self._chosen = None

    def show(self, run: Run) -> None:
        """Show a run: side by side where that layout is on, else its first volume in all slice views."""
        from ..scene import registration_view

        # With the checkerboard goes the full opacity that it gave the foreground.
        registration_view.clear()
        if layouts.is_comparing():
            layouts.compare(_volumes(run))
        else:
            slicer.util.setSliceViewerLayers(background=next(iter(run.outputs.values())), foreground=None, fit=True)
        self.on_overlay()

    def on_compare(self, *_args) -> None:
        """Show the chosen run's inputs and outputs side by side."""
        run = self.chosen()
        if run is not None:
            layouts.compare(_volumes(run))
            self.on_overlay()
            self._update_buttons()

    def on_former_layout(self, *_args) -> None:
        """Go back to the layout from before the comparison."""
        layouts.restore()
        self.on_overlay()
        self._update_buttons()

    def on_overlay(self, *_args) -> None:
        """Lay the uncertainty maps over what is shown, or take them away."""
        overlay.show(self._ui.overlaySlider.value if self._ui.overlayCheckBox.checked else None)
        self._update_overlay()

    def on_delete(self, *_args) -> None:
        """Delete the volumes of the chosen run, after asking."""
        run = self.chosen()
        if run is None:
            return
        names = ", ".join(node.GetName() for node in run.outputs.values())
        question = _("Delete {names} from the scene, with their uncertainty maps?").format(names=names)
        if slicer.util.confirmOkCancelDisplay(question, _("Delete a run")):
            run.delete()
            self.update()

    def _action(self, text: str, function: Callable) -> Any:
        action = qt.QAction(text, self._ui.runsTable)
        action.connect("triggered(bool)", function)
        self._ui.runsTable.addAction(action)
        return action

    def _on_selection(self) -> None:
        row = self._ui.runsTable.currentRow()
        if not self._filling and 0 <= row < len(self._runs):
            self._chosen = self._runs[row].id
            self.show(self._runs[row])

    def _update_buttons(self) -> None:
        ui = self._ui
        ui.compareButton.enabled = bool(self._runs)
        ui.formerLayoutButton.enabled = layouts.is_comparing()
        self._update_overlay()
        for action in self._actions:
            action.enabled = bool(self._runs)
        self._repeat_action.enabled = bool(self._runs) and self._may_repeat

    def _update_overlay(self) -> None:
        """Let the maps be laid over where there are any, and say where that shows nothing."""
        box, (text, tip) = self._ui.overlayCheckBox, self._overlay_words
        mapped = any(uncertainty_node(node) is not None for run in self._runs for node in run.outputs.values())
        box.enabled = self._ui.overlaySlider.enabled = mapped
        none = _("No run here has a map of its uncertainty: tick Uncertainty in the section Outputs, and Apply.")
        box.toolTip = tip if mapped else none
        is_idle = mapped and box.checked and not overlay.is_shown()
        box.text = _("{overlay}: none for what is shown").format(overlay=text) if is_idle else text


def _volumes(run: Run) -> List[Any]:
    return [*run.inputs().values(), *run.outputs.values()]


def _cells(run: Run) -> List[str]:
    settings = [str(run.setting(name, "")) for name in ("temperature", "samples", "seed")]
    return [
        _local_time(run.created),
        labels(run.input_names()),
        labels(run.outputs),
        run.noted.get("model", ""),
        *settings,
    ]


def _local_time(created: str) -> str:
    """Return the time of today, or the day; the tooltip has both."""
    try:
        when = datetime.fromisoformat(created).astimezone()
    except ValueError:
        return created
    return when.strftime("%H:%M" if when.date() == datetime.now().date() else "%d %b")


def _tip(run: Run) -> str:
    names = "; ".join(f"{labels([modality])}: {name}" for modality, name in run.input_names().items())
    text = _(
        "{created}: from {names}, with {model} on {device}. A click shows it; the right button repeats or deletes it."
    )
    return text.format(
        created=run.created, names=names, model=run.noted.get("model", "?"), device=run.noted.get("device", "?")
    )
