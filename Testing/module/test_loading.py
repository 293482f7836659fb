import subprocess
import sys
from pathlib import Path

import pytest

from slicer_headless import missing

ROOT = Path(__file__).parents[2]
FILE = ROOT / "MMHVAESynthesis" / "MMHVAESynthesis.py"

START = f"""
import sys, time
sys.path.insert(0, {str(ROOT / "Testing")!r})
sys.dont_write_bytecode = True
from slicer_headless import start
slicer = start()
from slicer_headless.modules import load_module, open_panel
FILE = {str(FILE)!r}
"""


def run(script, *packages):
    """Run a script in a Python of its own, behind START; fail with what it printed."""
    reason = missing(*packages)
    if reason:
        pytest.skip(reason)
    done = subprocess.run([sys.executable, "-c", START + script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_module_loads_where_torch_is_not_installed():
    run("""
sys.modules["torch"] = None
module = load_module(FILE)
slicer.modules.mmhvaesynthesis.module.runTest
assert module.MMHVAESynthesisLogic().getParameterNode().temperature == 0.7
""")


def test_loading_imports_neither_torch_nor_simpleitk_nor_the_engine():
    run("""
load_module(FILE)
heavy = [name for name in ("torch", "SimpleITK", "scipy", "qt", "PySide6") if name in sys.modules]
assert heavy == [], heavy
library = [name for name in sys.modules if name.startswith("MMHVAESynthesisLib")]
assert library == [], library
""")


def test_what_is_done_at_slicers_start_imports_neither_torch_nor_simpleitk_nor_the_engine():
    run("""
module = load_module(FILE)
module.prepareViews()
module.registerSampleData()
scene = slicer.mrmlScene
assert scene.HasObserver(scene.EndImportEvent), "the scene is looked after"
scene.InvokeEvent(scene.EndImportEvent)
scene.RemoveNode(scene.AddNewNodeByClass("vtkMRMLLinearTransformNode"))
heavy = [name for name in ("torch", "SimpleITK", "scipy", "qt", "PySide6") if name in sys.modules]
assert heavy == [], heavy
rooms = {name.split(".")[1] for name in sys.modules if name.startswith("MMHVAESynthesisLib.")}
assert rooms <= {"scene", "modalities", "errors"}, rooms
""")


def test_the_panel_opens_without_torch_and_in_under_half_a_second():
    output = run(
        """
sys.modules["torch"] = None
import qt, ctk
begin = time.process_time()
open_panel(load_module(FILE))
print(time.process_time() - begin)
""",
        "PySide6",
    )
    assert float(output.split()[-1]) < 0.5


def test_no_torch_is_imported_before_apply_nor_by_it():
    output = run(
        """
import os, tempfile, zipfile
import numpy as np
panel = open_panel(load_module(FILE))
from MMHVAESynthesisLib.app import pytorch
pytorch.problem = lambda: ""
from app.fakes import FakeStart
panel.panel._start = FakeStart()
node = slicer.util.addVolumeFromArray(np.ones((4, 40, 48)), np.eye(4), "iUS")
panel.ui.guessButton.click()
assert panel.ui.usSelector.currentNode() is node
path = os.path.join(tempfile.mkdtemp(), "m.pth")
with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("archive/data.pkl", b"x")
panel.ui.modelSelector.currentIndex = panel.ui.modelSelector.count - 1
panel.ui.modelPath.currentPath = path
panel.ui.cardButton.checked = True
for name in ("inputs", "outputs", "settings", "advanced", "results", "registration"):
    for collapsed in (True, False):
        getattr(panel.ui, name + "Button").setCollapsed(collapsed)
panel.ui.engineSelector.currentIndex = 1
panel.exit(); panel.enter()
assert panel.ui.applyButton.enabled, panel.ui.statusLabel.text
print("before", "torch" in sys.modules)
panel.ui.applyButton.click()
print("after", "torch" in sys.modules, len(panel.panel._start.calls))
panel.cleanup()
""",
        "PySide6",
    )
    assert "before False" in output and "after False 2" in output


def test_reload_runs_a_changed_library():
    run("""
load_module(FILE)
import MMHVAESynthesisLib.modalities as old
module = load_module(FILE)
import MMHVAESynthesisLib.modalities as new
assert new is not old
""")


def test_the_self_test_says_that_it_is_skipped_without_torch():
    run("""
import unittest
sys.modules["torch"] = None
module = load_module(FILE)
result = unittest.TestResult()
module.MMHVAESynthesisTest("test_synthesis").run(result)
assert not result.errors and not result.failures and len(result.skipped) == 1, result
assert "PyTorch is not installed" in result.skipped[0][1]
shown = []
module.MMHVAESynthesisTest.delayDisplay = lambda self, message: shown.append(message)
slicer.modules.mmhvaesynthesis.module.runTest()
assert len(shown) == 1 and shown[0].startswith("Test skipped: PyTorch"), shown
""")


def test_the_module_describes_itself(slicer, module):
    parent = slicer.modules.mmhvaesynthesis
    assert parent.title == "MMHVAE Synthesis" and parent.categories == ["Image Synthesis"]
    assert "BRAINSFit" not in parent.dependencies
    title = "Unified Cross-Modal Medical Image Synthesis with Hierarchical Mixture of Product-of-Experts"
    for words in ("Dorent", title, "2410.19378", "Please cite"):
        assert words in parent.acknowledgementText
    assert "Research software" in parent.helpText
