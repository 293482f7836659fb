"""Scenes that were saved while a registration was looked at show its volumes themselves once they are loaded.

Slicer does not say that it is about to save: what writes scenes invokes no StartSaveEvent. So what is shown is fit for
a file at any time, and what a file cannot hold is made good when it is loaded.
"""

import slicer

from . import registration_view

_KEEPER = "mmhvaeSaving"
"""Where the observer is kept: as an attribute of the module ``slicer``, which outlives a reload of this one."""


def install() -> None:
    """Look after what is loaded from now on, in place of what did so before."""
    if not hasattr(slicer, _KEEPER):
        slicer.app.connect("aboutToQuit()", uninstall)
    uninstall()
    scene = slicer.mrmlScene
    setattr(slicer, _KEEPER, [(scene, scene.AddObserver(scene.EndImportEvent, _on_import))])


def uninstall() -> None:
    """Look after nothing any more."""
    for node, tag in getattr(slicer, _KEEPER, ()):
        node.RemoveObserver(tag)
    setattr(slicer, _KEEPER, [])


def _on_import(*_args) -> None:
    registration_view.recover()
