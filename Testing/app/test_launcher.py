"""Children below a launcher such as Slicer's, which passes on neither signals nor standard input."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from MMHVAESynthesisLib.app import process
from MMHVAESynthesisLib.app.jobs import CANCELLED, DONE, FAILED, RUNNING, Job
from MMHVAESynthesisLib.app.process import JobError

from .test_process import gone, wait

pytest.importorskip("PySide6.QtCore", reason="the launcher is one of Qt's processes")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="makes a launcher as POSIX has them")

TELL = """
import json, os, signal, sys, threading, time
def tell(done):
    print(json.dumps({"stage": "pids", "done": done, "total": 0, "seconds_left": None}), flush=True)
"""

LISTENS = """
from MMHVAESynthesisLib import stopping
cancel = threading.Event()
stopping.watch(cancel, sys.argv[2], int(sys.argv[4]))
tell(os.getpid())
sys.exit(8 if cancel.wait(120) else 1)
"""

CLEANS_UP = """
asked = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: asked.set())
tell(os.getpid())
while not asked.wait(0.1):
    pass
time.sleep(1)
open(os.environ["CLEANED"], "w").close()
"""

STUCK = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
tell(os.getpid())
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The temporary folder; no job leaves a file in it."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(path))
    yield path
    assert list(path.iterdir()) == []


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder of Slicer's with its launcher."""
    launcher = tmp_path / "slicer" / "bin" / "PythonSlicer"
    launcher.parent.mkdir(parents=True)
    program = Path(__file__).with_name("python_slicer.py")
    launcher.write_text(f'#!/bin/sh\necho "$STARTUP" >&2\nexec {sys.executable} {program} "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return str(launcher.parents[1])


@pytest.fixture
def start(home, monkeypatch):
    """Starts a script below the launcher, with the options that the command line gets, and waits for its process ID."""

    def run(script):
        def spawn(command, variables, stop_file):
            ours = command[command.index("--stop-file") :]
            return child([command[0], "-c", TELL + script, *ours], variables, stop_file)

        child = process.Child
        with monkeypatch.context() as patch:
            patch.setattr(process, "Child", spawn)
            job, end = Job([], process.starter(home, os.environ)), time.monotonic() + 60
        while job.progress is None and job.poll() == RUNNING:
            assert time.monotonic() < end
            time.sleep(0.02)
        return job, job.progress.done

    return run


def seconds_until_the_end(job):
    begin = time.monotonic()
    job.cancel()
    assert wait(job, 60) == CANCELLED
    return time.monotonic() - begin


def test_slicers_python_is_preferred_and_gets_the_environment_that_slicer_had(home):
    assert process.find_python() == sys.executable
    assert process.find_python(home) == str(Path(home) / "bin" / "PythonSlicer")
    job = Job(["--version"], process.starter(home, {"STARTUP": "yes"}))
    wait(job)
    from MMHVAESynthesisLib import __version__

    assert job.log().splitlines()[0] == "yes" and f"[not understood] {__version__}" in job.log()


def test_a_slicer_without_its_python_is_told_and_never_started_in_its_stead(home):
    for start in (lambda: process.find_python("elsewhere"), lambda: Job(["machine"], process.starter("elsewhere"))):
        with pytest.raises(JobError, match="PythonSlicer was not found.*Install Slicer again"):
            start()


def test_a_launcher_in_the_working_folder_is_not_taken(home, monkeypatch, tmp_path):
    planted = tmp_path / "PythonSlicer"
    planted.write_text("#!/bin/sh\n")
    planted.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ".")
    assert process.find_python(home) == str(Path(home) / "bin" / "PythonSlicer")
    assert process.find_python() == sys.executable


def test_the_child_runs_this_library_where_the_launcher_puts_another_copy_first(home, tmp_path):
    other = tmp_path / "other" / "MMHVAESynthesisLib"
    other.mkdir(parents=True)
    for name in ("__init__", "__main__"):
        (other / f"{name}.py").write_text("raise SystemExit('another copy')")
    launcher = Path(home) / "bin" / "PythonSlicer"
    launcher.write_text(launcher.read_text().replace("exec ", f'PYTHONPATH="{other.parent}:$PYTHONPATH" exec '))
    job = Job(["models", "list"], process.starter(home, os.environ))
    assert wait(job, 120) == DONE, job.log()


def test_what_the_user_set_since_slicer_was_started_reaches_the_child_too(home, monkeypatch):
    since = {"MMHVAE_MODELS_DIR": "/models", "CUDA_VISIBLE_DEVICES": "1", "SSL_CERT_FILE": "/all.pem"}
    since.update(HTTPS_PROXY="a", https_proxy="b", NO_PROXY="c", no_proxy="d")
    for name, value in {**since, "LD_LIBRARY_PATH": "of Slicer"}.items():
        monkeypatch.setenv(name, value)
    started = []
    monkeypatch.setattr(process, "Child", lambda command, variables, stop_file: started.append(variables))
    process.starter(home, {"STARTUP": "yes", "NO_PROXY": "former", "PATH": "at launch"})(["models", "list"])
    (variables,) = started
    assert {**variables, **since, "STARTUP": "yes", "PATH": "at launch"} == variables
    assert "LD_LIBRARY_PATH" not in variables
    assert variables["MMHVAE_SSL_CERT_FILE"] == "/all.pem", "Slicer's launcher sets the other one itself"


def test_certificates_that_were_named_for_this_software_alone_go_before_others(home, monkeypatch):
    started = []
    monkeypatch.setattr(process, "Child", lambda command, variables, stop_file: started.append(variables))
    monkeypatch.setenv("SSL_CERT_FILE", "/all.pem")
    monkeypatch.setenv("MMHVAE_SSL_CERT_FILE", "/own.pem")
    process.starter(home, {})(["models", "list"])
    monkeypatch.delenv("MMHVAE_SSL_CERT_FILE")
    monkeypatch.setenv("SSL_CERT_FILE", "")
    process.starter(home, {})(["models", "list"])
    assert started[0]["MMHVAE_SSL_CERT_FILE"] == "/own.pem" and "MMHVAE_SSL_CERT_FILE" not in started[1]


def test_a_cancel_reaches_the_child_in_a_moment(start):
    job, pid = start(LISTENS)
    assert seconds_until_the_end(job) < 6 and gone(pid, 2)


def test_a_child_that_hears_only_signals_is_terminated_and_has_the_time_to_clean_up(start, monkeypatch, tmp_path):
    monkeypatch.setattr(Job, "patience", (0.2, 20.0))
    monkeypatch.setenv("CLEANED", str(tmp_path / "cleaned"))
    job, pid = start(CLEANS_UP)
    assert seconds_until_the_end(job) < 15
    assert (tmp_path / "cleaned").exists() and gone(pid, 2)


def test_a_stuck_child_is_killed_before_the_job_counts_as_ended(start, monkeypatch):
    monkeypatch.setattr(Job, "patience", (0.2, 2.0))
    monkeypatch.setattr(process, "_DRAIN_SECONDS", 0.2)
    job, pid = start(STUCK)
    assert seconds_until_the_end(job) < 10 and gone(pid, 2)


def test_nothing_lives_on_when_the_launcher_dies_by_itself(start, monkeypatch):
    monkeypatch.setattr(process, "_DRAIN_SECONDS", 0.2)
    job, pid = start(STUCK)
    os.kill(job._process._process.pid, 9)
    assert wait(job) == FAILED
    assert gone(pid)


def test_killing_the_job_ends_all_at_once(start):
    job, pid = start(STUCK)
    job.kill()
    assert job.state == CANCELLED and gone(pid)


def test_a_child_ends_with_its_parent_however_that_ended(home, tmp_path):
    script = f"""
import os, sys, time
from MMHVAESynthesisLib.app import process
stop = os.path.join({str(tmp_path)!r}, "stop")
command = [process.find_python({home!r}), "-c", {TELL + LISTENS!r}, "--stop-file", stop, "--parent", str(os.getpid())]
child = process.Child(command, process.environment(os.environ), stop)
lines = []
while not lines:
    lines = child.lines()
print(lines[0], flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=process.environment(os.environ), capture_output=True, text=True, timeout=60
    )
    assert gone(json.loads(done.stdout)["done"]), done.stderr


def test_a_synthesis_below_the_launcher_ends_well_or_is_cancelled_within_a_slice(home, tmp_path):
    pytest.importorskip("torch")
    from MMHVAESynthesisLib.app.synthesis import SynthesisJob
    from MMHVAESynthesisLib.request import SynthesisRequest
    from synthesis.making import fan, model_file

    def job(planes):
        request = SynthesisRequest({"us": fan(planes)}, ["t2"], model, device="cpu")
        return SynthesisJob(request, process.starter(home, os.environ))

    model = model_file(tmp_path)
    short, long = job(4), job(400)
    assert wait(short, 120) == DONE, short.log()
    end = time.monotonic() + 120
    while long.poll() == RUNNING and (long.progress is None or long.progress.stage != "synthesis"):
        assert time.monotonic() < end, long.log()
        time.sleep(0.05)
    assert seconds_until_the_end(long) < 7
    assert long._said["kind"] == "Cancelled", "it ended by itself, and has cleaned up"
