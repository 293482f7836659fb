"""The command line of this library in a child process: started, listened to, ended."""

import logging
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import deque
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Protocol, Sequence

from ..errors import MMHVAEError
from ..models import catalogue
from ..models.transfer import CERTIFICATES_VARIABLE
from ..paths import absolute
from .i18n import _

log = logging.getLogger(__name__)

LIBRARY = Path(__file__).resolve().parents[2]
"""The folder that holds MMHVAESynthesisLib, in which the child starts: Python imports from there before all else."""

_LAUNCHER = "PythonSlicer"
_IS_WINDOWS = os.name == "nt"
_EXE = ".exe" if _IS_WINDOWS else ""
_OF_THE_USER = re.compile(r"MMHVAE_\w+|\w+_PROXY|CUDA_VISIBLE_DEVICES|SSL_CERT_(FILE|DIR)|XDG_DATA_HOME", re.IGNORECASE)
"""Variables that the child obeys, whenever they were set: folder of models, proxies, graphics cards, certificates."""

_CERTIFICATES = "SSL_CERT_FILE"
"""Slicer's launchers set it to Slicer's own certificates; what the user set has to reach the child by another name."""

_PATHS = (catalogue.MODELS_DIR_VARIABLE, CERTIFICATES_VARIABLE, _CERTIFICATES, "MMHVAE_DATA", "XDG_DATA_HOME")
"""Variables that name a file or folder."""

_LOG_LINES = 2000
_LINES_AT_ONCE = 1000
"""So many lines are taken at a time, and as many more kept: a child that writes faster than that has to wait."""
_YIELD_SECONDS = 0.01
_DRAIN_SECONDS = 3.0
"""So long after the child's end its last words are waited for: the readers may not have had their turn yet."""


class JobError(MMHVAEError):
    """The child process itself went wrong, not what it was asked to do."""


class Process(Protocol):
    """A child as a job sees it. Nothing here blocks for longer than an instant."""

    def lines(self) -> List[str]:
        """Return the lines of standard output that came since the last call."""

    def log(self) -> str:
        """Return what came on standard error so far, or its end."""

    def exit_code(self) -> Optional[int]:
        """Return the exit code once the child has ended and all its lines were taken; None before."""

    def ask_to_stop(self) -> None:
        """Ask the child to stop and clean up."""

    def terminate(self) -> None:
        """Ask the operating system to end the child and its own children."""

    def kill(self) -> None:
        """End the child and its own children at once."""

    def close(self) -> None:
        """Leave nothing behind of a child that has ended: no child of its own, no file."""


Start = Callable[[Sequence[str]], Process]
"""Starts the command line with arguments, all paths in them absolute, and returns the child."""


def find_python(slicer_home: Optional[str] = None) -> str:
    """Return the Python to run: PythonSlicer on the path, then below Slicer's home; outside Slicer, this one.

    :raises JobError: in a Slicer without PythonSlicer: what runs there, ``sys.executable``, may be no Python.
    """
    found = shutil.which(_LAUNCHER)
    if found is not None and os.path.isabs(found):  # Windows looks into the working folder first
        return found
    if not slicer_home:
        return sys.executable
    folder = os.path.join(slicer_home, "bin")
    found = shutil.which(os.path.join(folder, _LAUNCHER + _EXE))
    if found is None:
        words = _(
            "PythonSlicer was not found, neither on the path nor in '{folder}': it comes with Slicer and does the "
            "computation. Install Slicer again, or add the folder that holds PythonSlicer to the variable PATH."
        )
        raise JobError(words.format(folder=folder))
    return os.path.abspath(found)


def environment(base: Mapping[str, str]) -> Dict[str, str]:
    """Return the environment of the child: ``base``, paths absolute, this library's folder first on Python's path."""
    paths = [str(LIBRARY), *filter(None, [base.get("PYTHONPATH")])]
    named = {name: absolute(base[name]) for name in _PATHS if base.get(name)}
    return {**base, **named, "PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8"}


def starter(slicer_home: Optional[str] = None, startup: Optional[Mapping[str, str]] = None) -> Start:
    """Return what starts the command line as this machine needs it.

    :param slicer_home: Slicer's folder.
    :param startup: The environment in which Slicer itself was started. PythonSlicer, a launcher, needs that one; any
        other Python needs the present one. What the user set since, in the console or in .slicerrc.py, goes with it.
    :raises JobError: as :func:`find_python`.
    """
    python = find_python(slicer_home)
    base: Mapping[str, str] = os.environ
    if startup is not None and Path(python).stem == _LAUNCHER:
        since = {name: os.environ[name] for name in os.environ if _OF_THE_USER.fullmatch(name)}
        if since.get(_CERTIFICATES):
            since.setdefault(CERTIFICATES_VARIABLE, since[_CERTIFICATES])
        base = {**startup, **since}
    command, variables = [python, "-m", "MMHVAESynthesisLib"], environment(base)

    def start(arguments: Sequence[str]) -> Process:
        folder = tempfile.gettempdir()
        stop_file = Path(folder, f"mmhvae-stop-{uuid.uuid4().hex}")
        ours = ["--stop-file", str(stop_file), "--parent", str(os.getpid())]
        if _IS_WINDOWS:
            # The temporary folder is below the user's, whose letters ITK may not open; from there it is not seen.
            ours += ["--work-in", folder]
        return Child([*command, *arguments, *ours], variables, stop_file)

    return start


class Child:
    """A :class:`Process` of the operating system; two threads read what it writes.

    It may be a launcher, whose child does the work: PythonSlicer hands on what that one writes and its exit code, but
    neither signals nor standard input, and leaves it alone when it is ended itself.

    :param stop_file: The child stops once this file is there.
    :raises OSError: when it cannot be started.
    """

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], stop_file: Path):
        self._stop_file = stop_file
        self._process = subprocess.Popen(
            list(command),
            env=dict(variables),
            # Not the user's folder: ``python -m`` would import what lies there, such as an argparse.py.
            cwd=str(LIBRARY),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            # A group of its own, so that a launcher's child ends with it; no console window on Windows.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._lines: queue.Queue[str] = queue.Queue(_LINES_AT_ONCE)
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._ended: Optional[float] = None
        self._is_stopping = self._is_closed = False
        self._readers = [
            threading.Thread(target=_read, args=(self._process.stdout, self._keep), daemon=True),
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
            while len(lines) < _LINES_AT_ONCE:
                lines.append(self._lines.get_nowait())
        except queue.Empty:
            pass
        return lines

    def _keep(self, line: str) -> None:
        """Keep a line until it is taken; wait where there are too many, until some are taken or this is closed."""
        while not self._is_closed:
            try:
                self._lines.put(line, timeout=_YIELD_SECONDS)
                return
            except queue.Full:
                pass

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
        is_read = not any(reader.is_alive() for reader in self._readers)
        # A grandchild that lives on may hold the pipes open for ever. After a request to stop it may be the one that
        # does the work: it has still to clean up, or to be killed.
        is_due = is_read or not self._is_stopping and time.monotonic() - self._ended > _DRAIN_SECONDS
        return code if is_due and self._lines.empty() else None

    def ask_to_stop(self) -> None:
        """Ask the child to stop and clean up, by the file that it looks for."""
        self._is_stopping = True
        try:
            self._stop_file.touch()
        except OSError as error:
            log.warning("The computation cannot be asked to stop (%s): it will be ended", error.strerror)

    def terminate(self) -> None:
        """Ask the operating system to end the child and its own children."""
        self._signal("SIGTERM")

    def kill(self) -> None:
        """End the child and its own children at once."""
        self._is_stopping = False
        self.close()
        self._process.wait()

    def close(self) -> None:
        """Leave nothing behind of a child that has ended: no child of its own, no file."""
        self._is_closed = True
        self._signal("SIGKILL")
        try:
            self._stop_file.unlink()
        except OSError:  # it was never written
            pass

    def _signal(self, name: str) -> None:
        """Send a signal to the child's group; on Windows, which has none, end the child and its own children."""
        if hasattr(os, "killpg"):
            try:
                os.killpg(self._process.pid, getattr(signal, name))
            except (ProcessLookupError, PermissionError):  # nothing of it is left
                pass
        elif self._process.poll() is None:
            subprocess.run(
                ["taskkill", "/F", "/T", "/PID", str(self._process.pid)],
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                capture_output=True,
                check=False,
            )


def _read(stream, keep: Callable[[str], None]) -> None:
    with stream:
        for line in stream:
            keep(line.rstrip("\r\n"))
