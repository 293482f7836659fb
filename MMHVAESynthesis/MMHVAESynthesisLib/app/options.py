"""The panel's sections Settings and Advanced: model, temperature, seed, device, threads."""

import os
from typing import Any, Callable, List, Optional

import slicer
from slicer.i18n import tr as _

from ..dependencies import installed
from ..models.recognition import is_same
from . import models, settings, texts

_DEVICES = ("auto", "cpu", "cuda", "mps")


class Options:
    """The settings.

    :param ui: The widgets.
    :param on_change: Called when a setting that is not in the parameter node changed.
    """

    def __init__(self, ui: Any, on_change: Callable[[], None]):
        self._ui, self._on_change = ui, on_change
        self._parameters: Optional[Any] = None
        self._choices: List[models.Choice] = []
        self._devices: List[str] = list(_DEVICES)
        self._fill()
        ui.modelSelector.connect("currentIndexChanged(int)", self._on_model)
        ui.modelPath.connect("currentPathChanged(QString)", self._on_model_file)
        ui.cardButton.connect("toggled(bool)", self._on_card)
        ui.deviceSelector.connect("currentIndexChanged(int)", self._on_device)
        ui.workersSpinBox.connect("valueChanged(int)", self._on_workers)

    def bind(self, parameters: Optional[Any]) -> None:
        """Work on a parameter node from now on; None on none."""
        self._parameters = parameters
        if parameters is not None:
            self._look_for_models()

    def model(self) -> Optional[str]:
        """Return the chosen model's name or file; None for the default."""
        key = self._choice().key
        return (self._ui.modelPath.currentPath if key == models.FROM_FILE else key) or None

    def choose_model(self, model: Optional[str]) -> bool:
        """Choose a model by its name or file, None for the default; return whether the panel has it."""
        if (model or models.DEFAULT) == (self.model() or models.DEFAULT):
            return True
        keys = [choice.key for choice in self._choices]
        if (model or models.DEFAULT) in keys:
            self._ui.modelSelector.currentIndex = keys.index(model or models.DEFAULT)
        elif model and os.path.isfile(model):
            self._ui.modelPath.currentPath = model
            self._ui.modelSelector.currentIndex = keys.index(models.FROM_FILE)
        else:
            return False
        return True

    def choose_same_model(self, name: str, digest: str) -> bool:
        """Choose the model that a run notes, the present choice first; return whether the panel has it."""
        every = [self.model(), *(choice.key or None for choice in self._choices if choice.key != models.FROM_FILE)]
        found = [model for model in every if is_same(model, name, digest)]
        return bool(found) and self.choose_model(found[0])

    def model_to_download(self) -> str:
        """Return the name of the chosen model, which can be downloaded; empty where it cannot or need not."""
        choice = self._choice()
        return choice.key if choice.can_be_fetched else ""

    def device(self) -> str:
        """Return the chosen device."""
        return self._devices[max(0, self._ui.deviceSelector.currentIndex)]

    def workers(self) -> Optional[int]:
        """Return the chosen number of threads; None for one a core."""
        return self._ui.workersSpinBox.value or None

    def problem(self) -> str:
        """Return why the model cannot be used, in a sentence; empty where it can."""
        choice = self._choice()
        if choice.key != models.FROM_FILE or choice.problem:
            return choice.problem
        path = self._ui.modelPath.currentPath
        if not path:
            return _("Choose a model file: the one that the authors published, or one trained with this software.")
        if not os.path.isfile(path):
            return _("There is no such model file: choose another one.")
        return models.problem_of(path)

    def update(self) -> None:
        """Show what the chosen values mean."""
        if self._parameters is not None:
            self._ui.temperatureState.setText(texts.temperature(self._parameters.temperature))
        choice = self._choice()
        self._ui.modelPath.setVisible(choice.key == models.FROM_FILE)
        said = self._said(choice)
        self._ui.modelState.setText(said)
        self._ui.modelState.toolTip = choice.tip
        self._ui.modelState.setVisible(bool(said))
        self._ui.downloadButton.setVisible(choice.can_be_fetched)
        self._ui.deviceState.setVisible(bool(self._ui.deviceState.text))
        self._ui.cardText.setVisible(self._ui.cardButton.checked)
        if self._ui.cardButton.checked:
            is_missing = choice.key == models.FROM_FILE and not self.model()
            self._ui.cardText.setMarkdown(self.problem() if is_missing else models.card(self.model() or ""))

    def _said(self, choice: models.Choice) -> str:
        """Return what to know of the model that is chosen."""
        if choice.can_be_fetched:
            return choice.said
        path = self._ui.modelPath.currentPath if choice.key == models.FROM_FILE else ""
        return choice.problem or (models.licence_of(path) if path else choice.said)

    def show_devices(self, found: Any) -> None:
        """Offer the devices that the command line found: its result, ``{"devices": {name: description}, ...}``."""
        chosen = self.device()
        devices = found["devices"]
        self._devices = list(dict.fromkeys(["auto", *devices, *([chosen] if chosen not in devices else [])]))
        self._fill_devices(chosen, devices)
        first = next(iter(devices))
        self._ui.deviceState.setText(
            _("Found: {devices}. Automatic takes {first}. PyTorch {torch}.").format(
                devices="; ".join(f"{name} ({text})" for name, text in devices.items()),
                first=first,
                torch=found["torch"],
            )
        )

    def reload_models(self) -> None:
        """Look again which models there are, and choose what the settings say."""
        self._offer(models.choices(), settings.text(settings.MODEL))

    def _look_for_models(self) -> None:
        """Offer what came or went meanwhile, as by hand in the user's folder; the choice stays what it is."""
        found, chosen = models.choices(), self._choice().key
        # Of a chosen model that is gone Apply says so: no other one in its stead.
        if found != self._choices and chosen in [choice.key for choice in found]:
            self._offer(found, chosen)

    def _offer(self, choices: List[models.Choice], chosen: str) -> None:
        selector = self._ui.modelSelector
        was_blocked = selector.blockSignals(True)
        keys = [choice.key for choice in choices]
        if chosen not in (models.DEFAULT, *keys):
            # The drive that holds it may come later: no other model in its stead.
            choices, keys = [models.not_found(chosen), *choices], [chosen, *keys]
        self._choices = choices
        selector.clear()
        for choice in choices:
            selector.addItem(choice.title)
        selector.currentIndex = keys.index(chosen) if chosen in keys else 0
        selector.blockSignals(was_blocked)

    def _fill(self) -> None:
        ui = self._ui
        self.reload_models()
        ui.modelPath.currentPath = settings.text(settings.MODEL_FILE)
        device = settings.text(settings.DEVICE, _DEVICES[0])
        if device not in self._devices:
            self._devices.append(device)
        self._fill_devices(device, {})
        ui.workersSpinBox.value = settings.number(settings.WORKERS)

    def _fill_devices(self, chosen: str, described: Any) -> None:
        selector = self._ui.deviceSelector
        was_blocked = selector.blockSignals(True)
        selector.clear()
        titles = {"auto": _("Automatic"), "cpu": _("CPU"), "cuda": _("CUDA (NVIDIA)"), "mps": _("MPS (Apple)")}
        for name in self._devices:
            title = titles.get(name, name)
            selector.addItem(f"{title}: {described[name]}" if name in described else title)
        selector.currentIndex = self._devices.index(chosen)
        selector.blockSignals(was_blocked)

    def _choice(self) -> models.Choice:
        return self._choices[max(0, self._ui.modelSelector.currentIndex)]

    def _on_model(self, _index) -> None:
        settings.keep(settings.MODEL, self._choice().key)
        self._on_change()

    def _on_model_file(self, path) -> None:
        settings.keep(settings.MODEL_FILE, path)
        self._on_change()

    def _on_card(self, _shown) -> None:
        self.update()

    def _on_device(self, _index) -> None:
        settings.keep(settings.DEVICE, self.device())

    def _on_workers(self, value) -> None:
        settings.keep(settings.WORKERS, int(value))


def facts(options: Options) -> dict:
    """Return the settings for a report."""
    return {
        "Slicer": f"{slicer.app.majorVersion}.{slicer.app.minorVersion}",
        "PyTorch": installed("torch") or "not installed",
        "numpy": installed("numpy"),
        "Model": os.path.basename(options.model() or "default"),
        "Device": options.device(),
        "Threads": options.workers() or "one for each core",
    }
