"""How a program that runs the command line stops it."""

import os
import subprocess
import sys
import threading
import types

import pytest

from MMHVAESynthesisLib import __main__ as command_line
from MMHVAESynthesisLib import errors, stopping


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(stopping, "_SECONDS", 0.02)
    yield
    for thread in watching():
        thread.join(5)
    assert not watching(), "who watches a command ends with it"


def watching():
    return [thread for thread in threading.enumerate() if thread.name == "stopping"]


@pytest.fixture
def command(monkeypatch):
    """A command that works until it is told to stop, for ``seconds`` at most."""

    def run(args, progress, cancel):
        if cancel.wait(run.seconds):
            raise errors.Cancelled("Cancelled.")
        return {"outputs": {}}

    run.seconds = 10
    room = types.SimpleNamespace(HELP="works", add_arguments=lambda parser: None, run=run)
    monkeypatch.setattr(command_line, "COMMANDS", {"work": "work"})
    monkeypatch.setattr(command_line.importlib, "import_module", lambda *_: room)
    return run


@pytest.fixture
def ended():
    """The ID of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_stop_file_stops_the_run_without_another_word(command, tmp_path, capsys):
    path = tmp_path / "stop"
    threading.Timer(0.3, path.touch).start()
    assert command_line.main(["work", "--stop-file", str(path), "--json"]) == 8
    assert "reason" not in capsys.readouterr().out


def test_the_end_of_the_parent_stops_the_run_and_is_told(command, ended, capsys):
    assert command_line.main(["work", "--parent", str(ended), "--json"]) == 8
    assert "that started this run has ended" in capsys.readouterr().out


def test_with_a_parent_a_standard_input_that_is_closed_is_no_request_to_stop(command, monkeypatch):
    command.seconds = 0.5
    monkeypatch.setattr(command_line, "_wait_for_the_end", lambda descriptor: None)
    arguments = ["work", "--progress", "json"]
    assert command_line.main([*arguments, "--parent", str(os.getpid())]) == 0
    assert command_line.main(arguments) == 8


def test_a_process_lives_until_it_has_ended(ended):
    assert stopping.living(os.getpid())() and not stopping.living(ended)()


@pytest.mark.skipif(sys.platform == "win32", reason="asks as POSIX does")
def test_a_process_of_somebody_else_lives(monkeypatch):
    def deny(*_):
        raise PermissionError

    monkeypatch.setattr(stopping.os, "kill", deny)
    assert stopping.living(1)()


class Function:
    """A function of the library kernel32, played."""

    def __init__(self, *answers):
        self.answers, self.calls = list(answers), []

    def __call__(self, *arguments):
        self.calls.append(arguments)
        return self.answers.pop(0)


@pytest.fixture
def windows(monkeypatch):
    """Windows, played, with a process of the handle 77."""
    import ctypes

    kernel = types.SimpleNamespace(OpenProcess=Function(77), WaitForSingleObject=Function(258, 258, 0), error=0)
    monkeypatch.setattr(stopping.sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "WinDLL", lambda *_, **__: kernel, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: kernel.error, raising=False)
    # There it would end the process.
    monkeypatch.setattr(stopping.os, "kill", lambda *_: pytest.fail("killed"))
    return kernel


def test_windows_is_asked_by_a_handle(windows):
    lives = stopping.living(123)
    assert [lives(), lives(), lives()] == [True, True, False]
    assert windows.OpenProcess.calls[0][2] == 123 and set(windows.WaitForSingleObject.calls) == {(77, 0)}


@pytest.mark.parametrize(("error", "lives"), [(5, True), (87, False)], ids=["denied", "no such process"])
def test_on_windows_a_process_without_a_handle_has_ended_unless_it_is_somebody_elses(windows, error, lives):
    windows.OpenProcess.answers, windows.error = [None], error
    assert stopping.living(123)() is lives


@pytest.mark.parametrize("pid", ["0", "-1", str(2**70), "x"])
def test_what_is_no_process_id_is_refused(pid, capsys):
    with pytest.raises(SystemExit):
        command_line.main(["models", f"--parent={pid}"])
    assert "--parent" in capsys.readouterr().err


def test_a_run_works_in_the_folder_that_it_is_given(command, tmp_path, monkeypatch):
    monkeypatch.chdir(os.curdir)  # to come back
    command.seconds = 0.01
    assert command_line.main(["work", "--work-in", str(tmp_path)]) == 0
    assert os.path.samefile(os.curdir, tmp_path)


def test_no_folder_to_work_in_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        command_line.main(["models", f"--work-in={tmp_path / 'absent'}"])
    assert "is no folder" in capsys.readouterr().err
