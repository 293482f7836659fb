"""Real children: small Python scripts that behave well or badly."""

import os
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest

from MMHVAESynthesisLib.app import process
from MMHVAESynthesisLib.app.jobs import CANCELLED, DONE, FAILED, RUNNING, Job


def starting(script):
    """Return what starts a Python script in place of the command line."""

    def start(arguments):
        stop_file = Path(tempfile.gettempdir(), f"mmhvae-stop-{uuid.uuid4().hex}")
        return process.Child([sys.executable, "-c", script, str(stop_file), *arguments], os.environ, stop_file)

    return start


def wait(job, seconds=30):
    end = time.monotonic() + seconds
    while job.poll() == RUNNING:
        assert time.monotonic() < end, job.log()
        time.sleep(0.02)
    return job.state


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    if not os.path.isdir("/proc/self"):
        return True
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # not found, or, where it ended between opening and reading, no such process
        return False


def gone(pid, seconds=10):
    """Wait until a process has ended, and return whether it has: its pipes close a moment before it is gone."""
    end = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not is_alive(pid)


def test_many_lines_and_both_streams_arrive_whole():
    job = Job(
        [],
        starting("""
import json, sys
for step in range(3000):
    print(json.dumps({"stage": "s", "done": step, "total": 3000, "seconds_left": None}))
    print("log", step, file=sys.stderr)
print(json.dumps({"result": {"name": "Größe"}}, ensure_ascii=True))
"""),
    )
    assert wait(job) == DONE and job.result == {"name": "Größe"}
    assert job.progress.done == 2999 and job.log().endswith("log 2999")


def test_the_last_words_of_a_child_are_waited_for(monkeypatch):
    read = process._read

    def late(stream, keep):
        time.sleep(1)
        read(stream, keep)

    monkeypatch.setattr(process, "_read", late)
    job = Job([], starting("print('{\"result\": {}}')"))
    assert wait(job) == DONE, job.error


@pytest.mark.skipif(sys.platform == "win32", reason="looks at processes as POSIX does")
def test_a_grandchild_that_holds_the_pipes_does_not_keep_a_job_from_ending(monkeypatch):
    monkeypatch.setattr(process, "_DRAIN_SECONDS", 0.5)
    script = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(20)"])
print('{"result": {}}')
"""
    begin = time.monotonic()
    job = Job([], starting(script))
    assert wait(job) == DONE and time.monotonic() - begin < 15
    job._process.kill()


def test_a_child_hears_that_it_is_to_stop():
    job = Job([], starting("import os, sys\nwhile not os.path.exists(sys.argv[1]): pass\nsys.exit(8)"))
    assert job.poll() == RUNNING
    job.cancel()
    assert wait(job) == CANCELLED


def test_bytes_that_are_no_text_do_no_harm():
    job = Job([], starting("import sys; sys.stdout.buffer.write(bytes(range(256)) * 9); sys.exit(1)"))
    assert wait(job) == FAILED and "exit code 1" in str(job.error)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_child_that_is_killed_by_the_system_is_told_as_such():
    job = Job([], starting("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
    assert wait(job) == FAILED and "memory ran out" in str(job.error)


@pytest.mark.skipif(sys.platform == "win32", reason="looks at processes as POSIX does")
def test_a_stubborn_child_and_its_own_child_are_killed(monkeypatch):
    monkeypatch.setattr(Job, "patience", (0.1, 0.1))
    script = """
import json, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
own = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(json.dumps({"stage": "pids", "done": own.pid, "total": 0, "seconds_left": None}), flush=True)
time.sleep(600)
"""
    job = Job([], starting(script))
    while job.progress is None:
        job.poll()
    grandchild = job.progress.done
    assert is_alive(grandchild)
    job.cancel()
    assert wait(job) == CANCELLED
    assert gone(grandchild)


def test_a_child_that_cannot_be_asked_is_terminated(monkeypatch):
    monkeypatch.setattr(Job, "patience", (0.1, 20.0))
    job = Job([], starting("import time; time.sleep(600)"))
    job._process._stop_file = job._process._stop_file / "no folder" / "stop"
    job.cancel()
    assert wait(job, 10) == CANCELLED


def test_kill_ends_a_child_at_once():
    job = Job([], starting("import time; time.sleep(600)"))
    begin = time.monotonic()
    job.kill()
    assert job.state == CANCELLED and time.monotonic() - begin < 5


def test_the_library_is_first_on_the_childs_path():
    variables = process.environment({"PYTHONPATH": "elsewhere", "HOME": "h"})
    assert variables["PYTHONPATH"].split(os.pathsep) == [str(process.LIBRARY), "elsewhere"]
    assert process.environment({})["PYTHONPATH"] == str(process.LIBRARY) and variables["HOME"] == "h"
    assert (process.LIBRARY / "MMHVAESynthesisLib" / "__main__.py").is_file()


def test_the_paths_among_the_variables_hold_in_the_childs_working_folder_too(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    given = {"MMHVAE_MODELS_DIR": "~", "MMHVAE_SSL_CERT_FILE": "own.pem", "SSL_CERT_FILE": "/all.pem", "HOME": "h"}
    variables = process.environment({**given, "XDG_DATA_HOME": "data", "MMHVAE_DATA": ""})
    assert variables["MMHVAE_MODELS_DIR"] == os.path.abspath(os.path.expanduser("~"))
    assert variables["MMHVAE_SSL_CERT_FILE"] == str(tmp_path / "own.pem")
    assert variables["SSL_CERT_FILE"] == os.path.abspath("/all.pem") and variables["HOME"] == "h"
    assert variables["XDG_DATA_HOME"] == str(tmp_path / "data") and variables["MMHVAE_DATA"] == ""


def test_what_lies_in_the_users_working_folder_is_none_of_the_childs_modules(monkeypatch, tmp_path):
    for name in ("argparse", "json", "threading"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken')")
    (tmp_path / "MMHVAESynthesisLib").mkdir()
    for name in ("__init__", "__main__"):
        (tmp_path / "MMHVAESynthesisLib" / f"{name}.py").write_text("raise SystemExit('taken')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    job = Job(["models", "list"], process.starter())
    assert wait(job, 120) == DONE, job.log()


def test_a_model_is_named_so_that_the_child_finds_it_in_its_own_working_folder(monkeypatch, tmp_path):
    from MMHVAESynthesisLib.models import catalogue

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMHVAE_MODELS_DIR", str(tmp_path / "models"))
    (tmp_path / "own").mkdir()
    for path in ("own/m.pth", "models.pth"):
        (tmp_path / path).write_bytes(b"")
    known = [entry.name for entry in catalogue.list_models()]
    assert any(entry.path is None for entry in catalogue.list_models()), "some are not on this machine"
    (tmp_path / known[0]).write_bytes(b"a file of that name")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "by hand.pth").write_bytes(b"")
    for model, name in (
        (None, None),
        *((each, each) for each in known),
        ("by hand.pth", "by hand.pth"),
        ("absent.pth", "absent.pth"),
        ("models.pth", str(tmp_path / "models.pth")),
        (os.path.join("own", "m.pth"), str(tmp_path / "own" / "m.pth")),
        (str(tmp_path / "own" / "m.pth"), str(tmp_path / "own" / "m.pth")),
    ):
        assert catalogue.from_anywhere(model, has_folder=True) == name
    assert catalogue.from_anywhere("by hand.pth", has_folder=False) == str(tmp_path / "models" / "by hand.pth")


@pytest.mark.parametrize("is_windows", [True, False])
def test_the_child_learns_where_to_look_for_a_request_to_stop_and_whose_child_it_is(monkeypatch, tmp_path, is_windows):
    given, where = [], ["--work-in", str(tmp_path)] if is_windows else []
    monkeypatch.setattr(process, "_IS_WINDOWS", is_windows)
    monkeypatch.setattr(process, "Child", lambda *args: given.append(args))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for _ in range(2):
        process.starter()(["machine"])
    (command, _, first), (_, _, second) = given
    assert command[1:4] == ["-m", "MMHVAESynthesisLib", "machine"] and first != second
    assert command[4:] == ["--stop-file", str(first), "--parent", str(os.getpid()), *where]
    assert first.parent == tmp_path and not first.exists()


def test_where_there_are_no_groups_the_launcher_and_its_children_are_ended_together(monkeypatch, tmp_path):
    """Windows, played: ended alone, the launcher would leave its child behind."""
    child, lines = process.Child([sys.executable, "-c", "input()"], os.environ, tmp_path / "stop"), []
    monkeypatch.delattr(process.os, "killpg", raising=False)
    run = lambda line, **_: (lines.append(line), child._process.kill())  # noqa: E731
    monkeypatch.setattr(process.subprocess, "run", run)
    monkeypatch.setattr(child._process, "poll", lambda: None)
    child.terminate()
    assert lines == [["taskkill", "/F", "/T", "/PID", str(child._process.pid)]]
    child._process.wait()


def test_the_real_command_line_answers():
    pytest.importorskip("torch")
    job = Job(["machine"], process.starter())
    assert wait(job, 120) == DONE, job.log()
    assert "cpu" in job.result["devices"]


def test_a_child_that_floods_its_output_holds_nobody_up_and_can_be_ended():
    child = starting("import itertools\nfor number in itertools.count(): print(number)")([])
    try:
        for _ in range(20):
            began = time.monotonic()
            lines = child.lines()
            assert len(lines) <= 1000 and time.monotonic() - began < 5
    finally:
        child.kill()
    end = time.monotonic() + 10
    while child.lines() or child.exit_code() is None:
        assert time.monotonic() < end
