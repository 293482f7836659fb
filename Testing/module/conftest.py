import json
import os
import sys
import zipfile
from pathlib import Path

import pytest

from slicer_headless import missing
from slicer_headless.fixtures import layout, main_window, scene, slicer  # noqa: F401

FILE = Path(__file__).parents[2] / "MMHVAESynthesis" / "MMHVAESynthesis.py"


@pytest.fixture(scope="session")
def module(slicer):  # noqa: F811
    """The module, loaded as Slicer loads it. Loading drops the library's modules; the other suites' are put back."""
    from slicer_headless.modules import load_module

    library = {name: each for name, each in sys.modules.items() if name.split(".")[0] == "MMHVAESynthesisLib"}
    loaded = load_module(FILE)
    sys.modules.update(library)
    return loaded


FETCHABLE = {
    "name": "mmhvae-fold0",
    "title": "MMHVAE as published",
    "file": "CP_main_1000.pth",
    "url": "https://example.org/CP_main_1000.pth",
    "licence": "MIT",
    "permissive": True,
}
BUNDLED = {
    "name": "little",
    "title": "A little model",
    "file": "little.pth",
    "bundled": True,
    "card": "little.md",
    "licence": "MIT",
    "permissive": True,
}
"""Of licences that are agreed to without a question; the others have tests of their own."""


@pytest.fixture
def offer(scene, monkeypatch, tmp_path):  # noqa: F811
    """Sets which models there are, whatever this version ships: ``offer(models, default)``."""
    from MMHVAESynthesisLib.models import catalogue

    folder = tmp_path / "offered"
    folder.mkdir()
    real = {name: getattr(catalogue, name) for name in ("default_name", "list_models", "find")}

    def change(models, default=None):
        content = {"version": 1, "default": default, "models": models}
        (folder / "catalogue.json").write_text(json.dumps(content), encoding="utf-8")
        (folder / "little.md").write_text("# A little model\n\nFor tests.", encoding="utf-8")
        _pass_for_a_model(folder / "little.pth")

    monkeypatch.setenv("MMHVAE_MODELS_DIR", str(tmp_path / "own"))
    monkeypatch.setattr(catalogue, "default_name", lambda *_: real["default_name"](folder))
    monkeypatch.setattr(catalogue, "list_models", lambda *_: real["list_models"](folder))
    monkeypatch.setattr(catalogue, "find", lambda model, *_: real["find"](model, folder))
    change([FETCHABLE])
    return change


def _pass_for_a_model(path):
    """Write a file that passes for a model as far as its beginning shows."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")


@pytest.fixture
def panel(scene, module, monkeypatch, offer):  # noqa: F811
    """The module's panel, open over an empty scene.

    Whether PyTorch is installed here makes no difference to it, nor which models this version ships.
    """
    reason = missing("PySide6")
    if reason:
        pytest.skip(reason)
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    try:
        import qt
    except ImportError as error:
        pytest.skip(f"Qt does not load here: {error}")
    from slicer_headless.modules import open_panel

    qt.QSettings().clear()
    monkeypatch.setattr("MMHVAESynthesisLib.app.pytorch.problem", lambda: "")
    widget = open_panel(module)
    yield widget
    widget.cleanup()


@pytest.fixture
def child(panel):
    """The child processes that the panel starts, played by the test."""
    from app.fakes import FakeStart

    panel.panel._start = FakeStart()
    return panel.panel._start


@pytest.fixture
def model_path(tmp_path):
    """A file that passes for a model as far as its beginning shows."""
    path = tmp_path / "m.pth"
    _pass_for_a_model(path)
    return str(path)


@pytest.fixture
def scenes(scene):  # noqa: F811
    from scene import scenes

    return scenes


@pytest.fixture
def ready(panel, scenes, child, model_path):
    """The panel with an input and a model; Apply can be pressed."""
    from .driving import choose_file

    panel.ui.usSelector.setCurrentNode(scenes.volume("Doe-US"))
    choose_file(panel, model_path)
    return panel
