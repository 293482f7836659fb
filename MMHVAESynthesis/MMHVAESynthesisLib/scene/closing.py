"""Whether the user closes Slicer while work goes on in one of its events."""

from typing import Callable

import slicer


def watch() -> Callable[[], bool]:
    """Return what says whether Slicer's main window, shown now, has been closed since.

    Work that lets Slicer handle events has to end then: Slicer ends only once the work returns to it, and goes on
    unseen until then. Without a main window, as in a script, the answer is always no.
    """
    was_shown = _is_shown()
    return lambda: was_shown and not _is_shown()


def _is_shown() -> bool:
    window = slicer.util.mainWindow()
    return window is not None and window.visible
