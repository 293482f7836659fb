"""PyTorch missing, half installed, or not fit for this numpy: told before Apply, and installed after asking."""

import platform
import sys
from types import SimpleNamespace

import pytest

from .driving import apply, poll

PROBLEM = "MMHVAESynthesisLib.app.pytorch.problem"


class Extension:
    """Slicer's extension PyTorch, and whether the user agrees."""

    def __init__(self, monkeypatch):
        self.deeds, self.questions, self.agrees, self.fault = [], [], True, None
        monkeypatch.setitem(sys.modules, "PyTorchUtils", SimpleNamespace(PyTorchUtilsLogic=lambda: self))
        monkeypatch.setattr("slicer.util.confirmOkCancelDisplay", self._ask)

    def _ask(self, text, *_, **__):
        self.questions.append(text)
        return self.agrees

    def uninstallTorch(self):  # noqa: N802
        self.deeds.append("uninstall")

    def installTorch(self, askConfirmation, torchVersionRequirement):  # noqa: N802, N803
        self.deeds.append(torchVersionRequirement)
        if self.fault is not None:
            raise self.fault
        return SimpleNamespace()


@pytest.fixture
def extension(monkeypatch):
    return Extension(monkeypatch)


@pytest.fixture
def state(ready, monkeypatch):
    """Whether anything of PyTorch is there, and what is wrong with it; the panel is entered anew at each change."""

    def change(there, problem):
        monkeypatch.setattr(PROBLEM, lambda: problem)
        real = sys.modules["importlib.util"].find_spec
        look = (lambda name, *more: there or None) if there is not None else real
        monkeypatch.setattr("MMHVAESynthesisLib.app.pytorch.importlib.util.find_spec", look)
        ready.exit()
        ready.enter()

    return change


def shown(panel):
    return not panel.ui.installButton.isHidden()


def test_missing_pytorch_is_told_before_apply_and_installed_after_asking(ready, child, extension, state, monkeypatch):
    assert not shown(ready) and ready.ui.applyButton.enabled
    state(False, "PyTorch is not installed. Do this.")
    assert ready.ui.applyButton.enabled is False and "PyTorch is not installed" in ready.ui.statusLabel.text
    assert shown(ready) and child.calls == []
    extension.agrees = False
    ready.ui.installButton.click()
    assert extension.deeds == [] and "some gigabytes" in extension.questions[0] and shown(ready)
    extension.agrees, extension.fault = True, TypeError("'NoneType' object")
    ready.ui.installButton.click()
    for words in ("did not succeed ('NoneType' object)", "uninstall PyTorch", "pip_install('torch>="):
        assert words in ready.ui.statusLabel.text
    extension.fault = None
    monkeypatch.setattr(PROBLEM, lambda: "")
    ready.ui.installButton.click()
    assert "PyTorch is installed. Apply again" in ready.ui.statusLabel.text
    assert ready.ui.applyButton.enabled is True and not shown(ready) and "uninstall" not in extension.deeds


def test_what_is_there_of_a_broken_pytorch_is_removed_first(ready, extension, state):
    state(True, "PyTorch is installed only in part. Do this.")
    ready.ui.installButton.click()
    assert extension.deeds[0] == "uninstall" and extension.deeds[1].startswith(">=2.")
    assert "it will be removed first" in extension.questions[0]
    assert "only in part" in ready.ui.statusLabel.text and shown(ready), "as long as it does not work it is said"


def test_a_pytorch_that_does_not_load_in_the_child_can_be_mended(ready, child, extension):
    apply(ready)
    child.process.say(error="PyTorch is installed but does not load (x).", kind="TorchError", exit_code=7)
    child.process.code = 7
    poll(ready)
    assert "does not load" in ready.ui.statusLabel.text and shown(ready) and ready.ui.applyButton.enabled
    ready.ui.installButton.click()
    assert "PyTorch is installed. Apply again" in ready.ui.statusLabel.text and not shown(ready)


def test_what_the_settings_said_of_a_missing_pytorch_is_looked_at_anew_once_it_is_there(ready, child, extension):
    ready.ui.advancedButton.collapsed = False
    child.process.say(error="PyTorch is not installed. Do this.", kind="TorchError", exit_code=7)
    child.process.code = 7
    ready.panel.machine._runner.poll()
    assert ready.ui.deviceState.text.startswith("PyTorch is not installed")
    ready.ui.installButton.click()
    assert [call[0] for call in child.calls] == ["machine", "machine"]
    assert ready.ui.deviceState.text.startswith("Looking")


def test_another_package_that_is_missing_is_no_reason_to_install_pytorch(ready, child):
    apply(ready)
    child.process.say(error="BRAINSFit failed.", kind="DependencyError", exit_code=7)
    child.process.code = 7
    poll(ready)
    assert "BRAINSFit failed" in ready.ui.statusLabel.text and not shown(ready)


def test_without_the_extension_the_way_by_hand_is_told(ready, child, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    ready.panel.on_install()
    assert "Extensions Manager" in ready.ui.statusLabel.text and "pip_install" in ready.ui.statusLabel.text


@pytest.mark.parametrize("interactive", [False, True])
@pytest.mark.parametrize("answer", [True, False, "begun", RuntimeError("no network")])
def test_the_extension_is_installed_from_slicers_server_after_asking(slicer, ready, monkeypatch, answer, interactive):
    """Slicer asks by itself where it is interactive, and answers True to a download that failed."""
    names = []

    def fetch(name, restart=True, update=False):
        names.append(name)
        assert restart is False, "Slicer would restart by itself, and what is unsaved would be lost"
        assert manager.interactive is False, "Slicer would ask again"
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    manager = SimpleNamespace(
        interactive=interactive,
        installExtensionFromServer=fetch,
        isExtensionInstalled=lambda name: answer is True and name in names,
    )
    monkeypatch.setattr(slicer.app, "extensionsManagerModel", lambda: manager, raising=False)
    monkeypatch.setattr("slicer.util.confirmOkCancelDisplay", lambda *_, **__: False)
    ready.panel.on_install()
    assert names == []
    monkeypatch.setattr("slicer.util.confirmOkCancelDisplay", lambda *_, **__: True)
    ready.panel.on_install()
    assert names == ["PyTorch"] and manager.interactive is interactive
    assert ("restart Slicer, then press" if answer is True else "pip_install") in ready.ui.statusLabel.text


MACHINES = [
    ("win32", "AMD64", ">=2.3,<2.13"),
    ("linux", "x86_64", ">=2.3"),
    ("darwin", "arm64", ">=2.3"),
    ("darwin", "x86_64", ">=2.1"),
]


@pytest.mark.parametrize(("system", "processor", "versions"), MACHINES)
def test_the_versions_asked_for_fit_the_machine(ready, extension, state, monkeypatch, system, processor, versions):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: processor)
    state(False, "PyTorch is not installed. Do this.")
    ready.ui.installButton.click()
    assert extension.deeds == [versions]
