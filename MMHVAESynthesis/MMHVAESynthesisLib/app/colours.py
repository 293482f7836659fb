"""The colours of words that say what is wrong or has to be checked: legible in Slicer's light and dark styles."""

import qt
import slicer

_HALF_LIGHT = 128


def wrong() -> str:
    """Return the style sheet of words that say what is wrong."""
    return _of("#b03a2e", "#ff8a80")


def doubtful() -> str:
    """Return the style sheet of words that say what has to be checked: guesses, warnings."""
    return _of("#965e00", "#f5b041")


def _of(on_light: str, on_dark: str) -> str:
    is_dark = slicer.app.palette().color(qt.QPalette.Window).lightness() < _HALF_LIGHT
    return f"color: {on_dark if is_dark else on_light}"
