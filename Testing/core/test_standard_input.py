"""How a child learns that its parent has ended, and what it must not do meanwhile."""

import os
import sys
import threading
import types

from MMHVAESynthesisLib import __main__ as command_line


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
