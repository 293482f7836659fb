"""Pytest fixtures of the headless Slicer; a suite's conftest.py imports those that it uses."""

import pytest

from . import missing, start


@pytest.fixture(scope="session")
def slicer(tmp_path_factory):
    """The module ``slicer``, once for the whole session; skips where slicer-core is not installed."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    return start(tmp_path_factory.mktemp("slicer"))


@pytest.fixture
def scene(slicer):
    """The scene, empty."""
    slicer.mrmlScene.Clear(0)
    yield slicer.mrmlScene
    slicer.mrmlScene.Clear(0)


@pytest.fixture
def main_window(slicer, monkeypatch):
    """Slicer's main window, shown."""
    from .application import MainWindow

    monkeypatch.setattr(slicer.app, "main_window", MainWindow())
    return slicer.app.main_window


@pytest.fixture
def layout(scene, slicer):
    """The layout manager with the views of the scene's layout, offscreen; at first one view each way (four-up)."""
    manager = slicer.app.layoutManager()
    manager.start()
    slicer.app.layoutManager().layoutLogic().GetLayoutNode().SetViewArrangement(
        slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    )
    yield manager
    manager.stop()
