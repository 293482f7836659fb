"""Loads a scripted module as Slicer does, and opens its panel."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import slicer


def load_module(path) -> ModuleType:
    """Run a module's file, make its module object as ``slicer.modules.<name>`` and return the Python module.

    A module that is loaded already is loaded anew, as Slicer's Reload does.
    """
    path = Path(path)
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    parent = SimpleNamespace(path=str(path), name=name)
    parent.module = getattr(module, name)(parent)
    setattr(slicer.modules, name.lower(), parent)
    return module


def new_widget(module: ModuleType):
    """Return a module's widget, not yet set up, in a parent of its own as Slicer gives it."""
    import qt

    from .pythonqt import mrml_widgets

    for name in ("qMRMLWidget", "qMRMLNodeComboBox", "qSlicerWidget"):
        setattr(slicer, name, getattr(mrml_widgets, name))
    parent = slicer.qSlicerWidget()
    parent.setLayout(qt.QVBoxLayout())
    parent.setMRMLScene(slicer.mrmlScene)
    parent.isEntered = False
    return getattr(module, module.__name__ + "Widget")(parent)


def open_panel(module: ModuleType):
    """Return a module's widget, set up and entered."""
    widget = new_widget(module)
    widget.setup()
    widget.parent.isEntered = True
    widget.enter()
    return widget
