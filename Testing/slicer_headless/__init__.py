"""Slicer without its application: the real MRML scene, module logics and ``slicer.util`` of the package slicer-core,
with small stand-ins for what needs Slicer's Qt.

>>> from slicer_headless import start
>>> slicer = start("/tmp/slicer")          # doctest: +SKIP
>>> slicer.util.loadVolume("US.nrrd", {})  # doctest: +SKIP

There is one scene in a process; ``slicer.mrmlScene.Clear(0)`` empties it. Files:

===================  ==========================================================================================
core.py              brings up scene, application logic and module logics, in the one order that works
application.py       ``slicer.app``
files.py             ``slicer.app.coreIOManager()``: volumes, transforms, markups, models and scenes
hierarchy.py         the subject hierarchy's items, which a Qt plugin makes in Slicer
modules.py           loads a scripted module as Slicer does, and opens its panel
views.py             slice views drawn into a picture
slicer/              modules of the package ``slicer`` that slicer-core lacks (no ``__init__.py`` belongs there)
toplevel/            ``qt``, ``ctk``, ``SampleData``: what Slicer has at the top level
pythonqt/            PySide6 made to behave as PythonQt does, the widgets, and the reader of .ui files
===================  ==========================================================================================
"""

import importlib.util
from typing import Optional

from .core import start

__all__ = ["missing", "start"]


def missing(*packages: str) -> Optional[str]:
    """Return why this folder cannot work here (a package that is not installed), or None if it can.

    :param packages: Import names of further packages that the caller needs, such as ``PySide6``.
    """
    absent = [name for name in ("slicer_core", "vtk", *packages) if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(absent)} (slicer_core comes with pip install slicer-core)" if absent else None
