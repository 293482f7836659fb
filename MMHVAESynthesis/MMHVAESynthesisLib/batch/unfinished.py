"""Folders of results that are not in place yet, or not any more, and whose they are.

``.CASE.HOST-PID-JOB.part`` is being made, ``.CASE.HOST-PID-JOB.old`` is what it takes the place of. A process of this
machine that has ended left its own behind, and one that lives did not, however long it takes. Of another machine's
nothing is known but what the batch knows: a job is given to one worker at a time, to the next one when the former has
died. What nobody touched there for a day is left behind too.
"""

import hashlib
import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Set

from .. import stopping

PART, OLD = "part", "old"

_NAME = re.compile(
    r"\.(?P<case>.+)\.((?P<host>[^.]*)-(?P<pid>\d+)-)?(?P<job>[0-9a-f]{8}|[0-9a-f]{32})\.(?P<kind>part|old)"
)
_LONGEST_HOST = 12
"""Windows allows 259 letters to a name with all its folders."""

_DAY = 24 * 3600.0

_working: Set[str] = set()
"""Names, without their endings, of what this very process is at: its ID may be that of one that was killed."""


def part_name(case: str, job: str) -> str:
    """Return the name of the folder in which this process makes a case's results."""
    return f".{case}.{_host()}-{os.getpid()}-{job}.{PART}"


def begin(part: Path) -> None:
    """Note that this process is at work in a folder called by :func:`part_name`."""
    _working.add(part.stem)


def end(part: Path) -> None:
    """Take back :func:`begin`."""
    _working.discard(part.stem)


@dataclass(frozen=True)
class Unfinished:
    """One such folder; ``host`` is empty, and ``pid`` 0, where its name does not say them."""

    path: Path
    case: str
    kind: str
    job: str
    host: str = ""
    pid: int = 0

    def is_left_behind(self, job: Optional[str] = None) -> bool:
        """Return whether nobody works at it any more.

        :param job: The one that asks; another worker that had it has died.
        """
        if self.pid == 0 or self.job == job:
            return True
        if self.host != _host():
            return self.age() > _DAY
        return self.path.stem not in _working if self.pid == os.getpid() else not stopping.living(self.pid)()

    def age(self) -> float:
        """Return for how many seconds nothing was made or moved in it; 0 where that is not known."""
        try:
            return time.time() - self.path.stat().st_mtime
        except OSError:
            return 0.0


def find(output: Path) -> List[Unfinished]:
    """Return all such folders in a folder of results."""
    matches = [(path, _NAME.fullmatch(path.name)) for path in list(output.iterdir())]
    return [
        Unfinished(path, found["case"], found["kind"], found["job"], found["host"] or "", int(found["pid"] or 0))
        for path, found in matches
        if found
    ]


def at_work(output: Path) -> List[str]:
    """Return which other processes are at work in a folder of results: ``process 4711 on HOST``."""
    found = [each for each in find(output) if each.kind == PART and not each.is_left_behind()]
    return sorted({f"process {each.pid} on {each.host}" for each in found})


def _host() -> str:
    """Return this machine's name as a part of a file's: a long one is cut, and then told apart by its digest."""
    name = re.sub(r"[\W_]+", "-", platform.node().split(".")[0])
    if len(name) <= _LONGEST_HOST:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:5]
    return name[: _LONGEST_HOST - len(digest)] + digest
