"""How a child learns that its parent has ended, and what it must not do meanwhile."""

import os
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest

from MMHVAESynthesisLib import __main__ as command_line
from MMHVAESynthesisLib.errors import Cancelled, ModelError


def test_a_pipe_that_is_closed_ends_the_watch():
    ours, theirs = os.pipe()
    ended = threading.Event()
    threading.Thread(target=lambda: (command_line._wait_for_the_end(ours), ended.set()), daemon=True).start()
    os.write(theirs, b"words that nobody waits for")
    assert not ended.wait(0.3)
    os.close(theirs)
    assert ended.wait(10)
    os.close(ours)


def test_on_windows_no_read_waits_on_the_pipe(monkeypatch):
    """A read that waits there holds up native libraries that are being loaded; played, since it needs Windows."""
    held, reads = [0, 0, 3, 0], []

    def peek(handle, size):
        assert (handle, size) == (1007, 0)
        if not held:
            raise BrokenPipeError
        return held.pop(0), 0

    monkeypatch.setitem(sys.modules, "_winapi", types.SimpleNamespace(PeekNamedPipe=peek))
    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(get_osfhandle=lambda number: 1000 + number))
    monkeypatch.setattr(command_line, "_WATCH_SECONDS", 0.0)
    monkeypatch.setattr(command_line.os, "read", lambda descriptor, count: reads.append((descriptor, count)) or b"abc")
    command_line._wait_for_the_end(7)
    assert reads == [(7, 3)]


def test_what_is_no_pipe_on_windows_is_read_to_its_end(monkeypatch):
    def peek(*_args):
        raise OSError("the function is wrong for this handle")

    left = [b"a", b""]
    monkeypatch.setitem(sys.modules, "_winapi", types.SimpleNamespace(PeekNamedPipe=peek))
    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(get_osfhandle=lambda number: number))
    monkeypatch.setattr(command_line.os, "read", lambda *_args: left.pop(0))
    command_line._wait_for_the_end(0)
    assert left == []


@pytest.mark.skipif(os.name == "nt", reason="a pipe that nobody reads is another error there")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["models", "--json"], 0, ""),
        (["models", "show", "nosuch", "--json"], ModelError.exit_code, "no model named 'nosuch'"),
        (["simulate", "--phantom", "--progress", "json", "--parent", str(os.getpid())], Cancelled.exit_code, "Nobody"),
    ],
)
def test_output_that_nobody_reads_is_no_fault(words, code, said, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    words += ["--output-dir", str(tmp_path / "out")] if words[0] == "simulate" else []
    paths = {**os.environ, "PYTHONPATH": str(Path(command_line.__file__).parents[1])}
    command = [sys.executable, "-m", "MMHVAESynthesisLib", *words]
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=paths, text=True, check=False)
    os.close(writer)
    assert ended.returncode == code and said in ended.stderr and "Traceback" not in ended.stderr
    assert not (tmp_path / "out").exists()


INTERRUPTED = """
import runpy, sys
sys.path.insert(0, {root!r})

class Impatient:
    def find_spec(self, name, path=None, target=None):
        if name == "MMHVAESynthesisLib.models.cli":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Impatient())
sys.argv = ["MMHVAESynthesisLib", "models"]
runpy.run_module("MMHVAESynthesisLib", run_name="__main__", alter_sys=True)
"""


def test_ctrl_c_before_the_work_began_is_no_fault():
    code = INTERRUPTED.format(root=str(Path(command_line.__file__).parents[1]))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (Cancelled.exit_code, "Cancelled.\n")
