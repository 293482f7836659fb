import os
import sys
from pathlib import Path

import pytest

from slicer_headless import missing
from slicer_headless.fixtures import layout, scene, slicer  # noqa: F401

FILE = Path(__file__).parents[2] / "MMHVAESynthesis" / "MMHVAESynthesis.py"


@pytest.fixture(scope="session")
def module(slicer):  # noqa: F811
    """The module, loaded as Slicer loads it. Loading drops the library's modules; the other suites' are put back."""
    from slicer_headless.modules import load_module

    library = {name: each for name, each in sys.modules.items() if name.split(".")[0] == "MMHVAESynthesisLib"}
    loaded = load_module(FILE)
    sys.modules.update(library)
    return loaded


@pytest.fixture
def panel(scene, module, monkeypatch):  # noqa: F811
    """The module's panel, open over an empty scene; whether PyTorch is installed here makes no difference to it."""
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
    import zipfile

    path = tmp_path / "m.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
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
