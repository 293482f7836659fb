"""The command line of this library in a child process: started, listened to, ended."""

import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Protocol, Sequence

LIBRARY = Path(__file__).resolve().parents[2]
"""The folder that holds MMHVAESynthesisLib."""

_LAUNCHER = "PythonSlicer"
_LOG_LINES = 2000
_YIELD_SECONDS = 0.01
_DRAIN_SECONDS = 3.0
"""So long after the child's end its last words are waited for: the readers may not have had their turn yet."""


class Process(Protocol):
    """A child as a job sees it. Nothing here blocks for longer than an instant."""

    def lines(self) -> List[str]:
        """Return the lines of standard output that came since the last call."""

    def log(self) -> str:
        """Return what came on standard error so far, or its end."""

    def exit_code(self) -> Optional[int]:
        """Return the exit code once the child has ended and all its lines were taken; None before."""

    def close_input(self) -> None:
        """Close the child's standard input, which asks it to stop and clean up."""

    def terminate(self) -> None:
        """Ask the operating system to end the child."""

    def kill(self) -> None:
        """End the child and its own children at once."""


Start = Callable[[Sequence[str]], Process]
"""Starts the command line with arguments and returns the child."""


def find_python(slicer_home: Optional[str] = None) -> str:
    """Return the Python to run: PythonSlicer on the path, then below Slicer's home, else this one."""
    found = shutil.which(_LAUNCHER)
    if found is None and slicer_home:
        found = shutil.which(_LAUNCHER, path=os.path.join(slicer_home, "bin"))
    return found or sys.executable


def environment(base: Mapping[str, str]) -> Dict[str, str]:
    """Return the environment of the child: ``base``, with this library's folder first on Python's path."""
    paths = [str(LIBRARY), *filter(None, [base.get("PYTHONPATH")])]
    return {**base, "PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8"}


def starter(slicer_home: Optional[str] = None, startup: Optional[Mapping[str, str]] = None) -> Start:
    """Return what starts the command line as this machine needs it.

    :param slicer_home: Slicer's folder.
    :param startup: The environment in which Slicer itself was started. PythonSlicer, a launcher, needs that one; any
        other Python needs the present one.
    """
    python = find_python(slicer_home)
    base = startup if startup is not None and Path(python).stem == _LAUNCHER else os.environ
    command, variables = [python, "-m", "MMHVAESynthesisLib"], environment(base)

    def start(arguments: Sequence[str]) -> Process:
        return Child([*command, *arguments], variables)

    return start


class Child:
    """A :class:`Process` of the operating system; two threads read what it writes."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str]):
        """Start the child.

        :raises OSError: when it cannot be started.
        """
        self._process = subprocess.Popen(
            list(command),
            env=dict(variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            # A group of its own, so that a launcher's child ends with it; no console window on Windows.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._ended: Optional[float] = None
        self._readers = [
            threading.Thread(target=_read, args=(self._process.stdout, self._lines.put), daemon=True),
            threading.Thread(target=_read, args=(self._process.stderr, self._log.append), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def lines(self) -> List[str]:
        """Return the lines of standard output that came since the last call."""
        lines = []
        try:
            # Slicer holds Python's lock between its calls: the readers only run while this one waits.
            lines.append(self._lines.get(timeout=_YIELD_SECONDS))
            while True:
                lines.append(self._lines.get_nowait())
        except queue.Empty:
            return lines

    def log(self) -> str:
        """Return the last lines of standard error."""
        return "\n".join(list(self._log))

    def exit_code(self) -> Optional[int]:
        """Return the exit code once the child has ended and all its lines were taken; None before."""
        code = self._process.poll()
        if code is None or not self._lines.empty():
            return None
        self._ended = self._ended or time.monotonic()
        for reader in self._readers:
            reader.join(_YIELD_SECONDS)
        # A grandchild that lives on may hold the pipes open for ever.
        is_read = not any(reader.is_alive() for reader in self._readers)
        is_due = is_read or time.monotonic() - self._ended > _DRAIN_SECONDS
        return code if is_due and self._lines.empty() else None

    def close_input(self) -> None:
        """Close the child's standard input, which asks it to stop and clean up."""
        try:
            self._process.stdin.close()
        except OSError:  # the child has closed its end already
            pass

    def terminate(self) -> None:
        """Ask the operating system to end the child."""
        if self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """End the child and its own children at once."""
        self.close_input()
        if hasattr(os, "killpg"):
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):  # nothing of it is left
                pass
        elif self._process.poll() is None:
            subprocess.run(
                ["taskkill", "/F", "/T", "/PID", str(self._process.pid)],
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                capture_output=True,
                check=False,
            )
        self._process.wait()


def _read(stream, keep: Callable[[str], None]) -> None:
    with stream:
        for line in stream:
            keep(line.rstrip("\r\n"))
