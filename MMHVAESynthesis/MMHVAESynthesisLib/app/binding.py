"""A panel's widgets bound to the parameter node, and let go of again."""

from typing import Any, Mapping, Tuple


class Binding:
    """Keeps widgets and parameters alike until :meth:`end`.

    With each binding Slicer's wrapper adds an observer to the node that it never removes: the next change would write
    every widget once for each time that the panel was opened.

    :param parameters: The parameter node's wrapper.
    :param widgets: ``{parameter: widget}``.
    """

    def __init__(self, parameters: Any, widgets: Mapping[str, Any]):
        self._parameters, self._observers = parameters, []
        observe = parameters.AddObserver
        # Of the wrapper itself, for as long as it binds: the observer's tag is to be had nowhere else.
        parameters.AddObserver = lambda *given: self._observers.append(observe(*given))
        try:
            self._tag = parameters.connectParametersToGui(widgets)
        finally:
            del parameters.AddObserver

    def end(self) -> None:
        """Let the widgets go."""
        try:
            self._parameters.disconnectGui(self._tag)
        finally:
            for tag in self._observers:
                self._parameters.RemoveObserver(tag)


def forget_unusable(node: Any, ranges: Mapping[str, Tuple[float, float]]) -> None:
    """Let the defaults take the place of numbers that a scene of another version keeps and that this one cannot use.

    Slicer's wrapper raises whenever it reads one: no panel could be opened over that scene.

    :param node: The parameter node itself, before a wrapper reads it.
    :param ranges: ``{parameter: (least, greatest)}``; of whole numbers these are whole too.
    """
    for name, (least, greatest) in ranges.items():
        if node.HasParameter(name) and not _is_within(node.GetParameter(name), least, greatest):
            node.UnsetParameter(name)


def _is_within(text: str, least: float, greatest: float) -> bool:
    try:
        return least <= type(least)(text) <= greatest
    except ValueError:
        return False
