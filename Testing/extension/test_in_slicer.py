"""The tests that a built Slicer runs (Testing/Python), run in the headless one."""

import subprocess
import sys
from pathlib import Path

import pytest

from slicer_headless import missing

TESTING = Path(__file__).resolve().parents[1]

SCRIPT = """
import sys, unittest
from slicer_headless import start
start(sys.argv[1])
unittest.main(module=None, argv=["unittest", "MMHVAELibraryTest"], verbosity=2)
"""


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_library_loads_in_slicer_without_torch(tmp_path):
    paths = [TESTING, TESTING / "Python", TESTING.parent / "MMHVAESynthesis"]
    script = f"import sys; sys.path[:0] = {[str(path) for path in paths]}\n{SCRIPT}"
    line = [sys.executable, "-c", script, str(tmp_path)]
    run = subprocess.run(line, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "Ran 1 test" in run.stderr
