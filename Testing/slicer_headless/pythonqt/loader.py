"""Reads a .ui file as Slicer does, and refuses what Slicer would only warn of.

An unknown class, a property that the class does not have, and a connection whose end does not exist raise. Connections
are made exactly as the file lists them, so that a forgotten ``mrmlSceneChanged`` line leaves a selector empty.
"""

import xml.etree.ElementTree as ElementTree

from PySide6 import QtWidgets
from PySide6.QtCore import QBuffer, QByteArray, QObject
from PySide6.QtUiTools import QUiLoader as PlainLoader

from . import ctk_widgets, mrml_widgets
from .behaviour import is_property, signal, slot

WIDGETS = {
    cls.__name__: cls
    for module in (ctk_widgets, mrml_widgets)
    for cls in vars(module).values()
    if isinstance(cls, type) and issubclass(cls, QtWidgets.QWidget) and cls.__module__ == module.__name__
}
"""The classes of .ui files that are not Qt's own."""


class UiError(Exception):
    """The .ui file asks for what is not there."""


class QUiLoader(PlainLoader):
    """Stands in for ``qt.QUiLoader``."""

    def load(self, file, parent=None):
        root = ElementTree.fromstring(bytes(file.readAll()))
        connections = _taken_out(root, "connections")
        own = [_take_own_properties(element) for element in root.iter("widget")]
        self._unknown = []
        buffer = QBuffer()
        buffer.setData(QByteArray(ElementTree.tostring(root)))
        widget = super().load(buffer, parent)
        if self._unknown or widget is None:
            raise UiError(f"unknown widget classes: {', '.join(self._unknown) or 'the file has no widget'}")
        objects = {child.objectName: child for child in [widget, *widget.findChildren(QObject)]}
        for name, properties in own:
            _set_properties(objects[name], properties)
        for element in root.iter("widget"):
            _check_properties(objects[element.get("name")], element)
        for connection in connections:
            _make(connection, objects)
        return widget

    def createWidget(self, class_name, parent=None, name=""):
        if class_name in WIDGETS:
            widget = WIDGETS[class_name](parent)
            widget.setObjectName(name)
            return widget
        if not hasattr(QtWidgets, class_name):
            self._unknown.append(class_name)
            return QtWidgets.QWidget(parent)
        return super().createWidget(class_name, parent, name)


def _taken_out(root, tag):
    element = root.find(tag)
    if element is None:
        return []
    root.remove(element)
    return list(element)


def _take_own_properties(element):
    """Remove from a widget's XML what Qt's loader cannot set, and return (object name, {property: value})."""
    cls = WIDGETS.get(element.get("class"))
    own = {} if cls is None else {name for each in cls.__mro__ if each in WIDGETS.values() for name in vars(each)}
    taken = {}
    for child in element.findall("property"):
        if child.get("name") in own:
            taken[child.get("name")] = _value(child[0])
            element.remove(child)
    return element.get("name"), taken


def _value(element):
    text = element.text or ""
    if element.tag == "stringlist":
        return [each.text or "" for each in element]
    convert = {"bool": lambda word: word == "true", "double": float, "number": int}.get(element.tag, str)
    return convert(text)


def _set_properties(widget, properties):
    for name, value in properties.items():
        if not is_property(widget, name):
            raise UiError(f"{type(widget).__name__} has no property {name}")
        setattr(widget, name, value)


def _check_properties(widget, element):
    for child in element.findall("property"):
        if child.get("stdset") != "0" and not is_property(widget, child.get("name")):
            raise UiError(f"{type(widget).__name__} has no property {child.get('name')}")


def _make(connection, objects):
    end = {each.tag: each.text for each in connection}
    try:
        sender, receiver = objects[end["sender"]], objects[end["receiver"]]
        signal(sender, end["signal"]).connect(slot(receiver, end["slot"]))
    except (KeyError, AttributeError) as error:
        raise UiError(f"connection {end.get('sender')} -> {end.get('receiver')}: {error}") from error
