import os
import sys
from pathlib import Path

import pytest

from slicer_headless import missing
from slicer_headless.fixtures import scene, slicer  # noqa: F401

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
def panel(scene, module):  # noqa: F811
    """The module's panel, open over an empty scene."""
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
    widget = open_panel(module)
    yield widget
    widget.cleanup()
