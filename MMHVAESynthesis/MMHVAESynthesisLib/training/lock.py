"""One run at a time in a state's folder: a lock that ends with the process that holds it, however that ends."""

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Iterator

from ..errors import OutputError

FILE = "in-use.lock"
_IS_WINDOWS = os.name == "nt"


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made where it is absent, for the while.

    A file system that knows no locks, as some network folders, holds nobody off.

    :raises OutputError: when another run holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    try:
        file = open(path, "a+b")
    except OSError:
        # That nothing can be written there is said by whoever writes.
        yield
        return
    try:
        if not (_is_taken(file) and _is_there(file, path)):
            raise OutputError(
                f"Another training is at work in {folder}: wait for it or stop it, or give another folder with --state."
            )
        try:
            yield
        finally:
            if not _IS_WINDOWS:  # while it is held: nobody else can hold what has no name any more
                path.unlink(missing_ok=True)
    finally:
        file.close()
    if _IS_WINDOWS:  # which removes no open file, and so neither one that another run holds by now
        with suppress(OSError):
            path.unlink()


def _is_taken(file: BinaryIO) -> bool:
    """Lock an open file for this process; return False where another one has."""
    try:
        if _IS_WINDOWS:
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass
    return True


def _is_there(file: BinaryIO, path: Path) -> bool:
    """Return whether an open file is the one of that name still: a run that ends takes its own away."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False
