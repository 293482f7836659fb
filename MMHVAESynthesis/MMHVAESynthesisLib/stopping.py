"""How a program that runs this command line stops it, by a file or by ending itself, and where it has it work.

Standard input and signals do not reach a child through a launcher such as Slicer's, which starts the real Python as a
process of its own.
"""

import argparse
import os
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Optional

_SECONDS = 0.5
_GONE = "The program that started this run has ended (--parent), and the run with it."

_SYNCHRONIZE = 0x00100000
_WAIT_OBJECT_0 = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options ``--stop-file``, ``--parent`` and ``--work-in``."""
    parser.add_argument(
        "--stop-file", metavar="FILE", help="for programs that run this one: stop once this file is there"
    )
    parser.add_argument(
        "--parent",
        metavar="PID",
        type=_process_id,
        help="for programs that run this one: stop once the process of this ID has ended; standard input may then "
        "close, with --progress json too",
    )
    parser.add_argument(
        "--work-in",
        metavar="FOLDER",
        type=_folder,
        help="for programs that run this one: the working folder, from which files may have names that Windows can "
        "open; needs absolute names in all other options",
    )


def _process_id(text: str) -> int:
    value = int(text)
    if not 0 < value < 2**31:
        raise argparse.ArgumentTypeError(f"{text} is no process ID")
    return value


def _folder(text: str) -> str:
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return text


def watch(cancel: Any, stop_file: Optional[str], parent: Optional[int]) -> None:
    """Set ``cancel``, in a thread, once ``stop_file`` is there or the process ``parent`` has ended.

    The thread ends once ``cancel`` is set, by whomever.

    :param cancel: A ``threading.Event``; its ``reason`` becomes a sentence where nobody asked for the end.
    :param stop_file: None looks for no file.
    :param parent: A process ID; None looks at no process.
    """
    if stop_file is None and parent is None:
        return
    asked = (lambda: _is_there(Path(stop_file))) if stop_file is not None else lambda: False
    lives = living(parent) if parent is not None else lambda: True

    def look() -> None:
        while not cancel.is_set() and not asked() and lives():
            cancel.wait(_SECONDS)
        if not cancel.is_set():
            cancel.reason = "" if asked() else _GONE
            cancel.set()

    threading.Thread(target=look, name="stopping", daemon=True).start()


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # not to be seen: then nobody asked
        return False


def living(pid: int) -> Callable[[], bool]:
    """Return what says whether the process ``pid`` still lives; what may not be known counts as yes."""
    return _living_on_windows(pid) if sys.platform == "win32" else lambda: _lives(pid)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _living_on_windows(pid: int) -> Callable[[], bool]:
    """Return the same for Windows, where ``os.kill`` would end the process."""
    import ctypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    kernel.WaitForSingleObject.argtypes = [ctypes.c_void_p, ctypes.c_ulong]
    # As long as the handle is kept, no other process gets the ID.
    handle = kernel.OpenProcess(_SYNCHRONIZE, False, pid)
    if not handle:
        denied = ctypes.get_last_error() == 5
        return lambda: denied
    return lambda: kernel.WaitForSingleObject(handle, 0) != _WAIT_OBJECT_0
