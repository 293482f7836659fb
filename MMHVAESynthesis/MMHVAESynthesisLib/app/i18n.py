"""Slicer's translation; outside Slicer, where jobs run too, a text stays as it is."""

try:
    from slicer.i18n import tr as _
except ImportError:

    def _(text: str) -> str:
        return text


__all__ = ["_"]
