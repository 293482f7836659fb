import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from MMHVAESynthesisLib.batch.runner import run_batch  # noqa: E402
from MMHVAESynthesisLib.batch.table import read_table  # noqa: E402

from .conftest import GOOD  # noqa: E402
from .making import contents  # noqa: E402

ROOT = Path(__file__).parents[2] / "MMHVAESynthesis"


def child(table, settings, out):
    command = [sys.executable, "-m", "MMHVAESynthesisLib", "batch", "--manifest", str(table), "--output-dir", str(out)]
    command += ["--model", settings.model, "--targets", "t2", "--samples", "2", "--seed", "5", "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(
        [*command, "--workers", "1", "--progress", "json"], env=environment, encoding="utf-8", **pipes
    )


def kill_at(process, cases, delay):
    """Kill the child a moment after so many cases were counted; return how many."""
    for line in process.stdout:
        report = json.loads(line)
        if report.get("stage") == "cases" and report["done"] >= cases:
            break
    time.sleep(delay)
    process.kill()
    process.communicate()
    assert process.returncode not in (0, 9), "the batch ended before it was killed"
    return report["done"]


def test_killed_five_times_and_resumed_it_equals_an_undisturbed_run(tmp_path, table, settings, undisturbed):
    chance = random.Random()
    out = tmp_path / "out"
    left, counted = [], []
    for kill in range(5):
        counted.append(kill_at(child(table, settings, out), 4 * kill + 1, chance.uniform(0, 0.3)))
        left.append(sum(path.name.startswith(".") for path in out.iterdir()))
        assert all((path / "provenance.json").is_file() for path in out.iterdir() if not path.name.startswith("."))
    result = run_batch(read_table(table), settings, out)
    assert len(result.of_state("kept")) >= max(counted) - 3 and len(result.of_state("done")) >= 1, (counted, left)
    assert len(result.of_state("done")) + len(result.of_state("kept")) == GOOD
    assert contents(out) == contents(undisturbed[1])
