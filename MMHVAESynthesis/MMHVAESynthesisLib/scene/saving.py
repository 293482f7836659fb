"""Scenes that are saved while something of ours is shown open well, also where this module is missing.

Slicer does not say that it is about to save: what writes scenes invokes no StartSaveEvent. So what is shown has to be
fit for a file at any time.
"""

import slicer

from . import layouts, registration_view

_KEEPER = "mmhvaeSaving"
"""Where the observers are kept: as an attribute of the module ``slicer``, which outlives a reload of this one."""


def install() -> None:
    """Look after what would be saved from now on, in place of what did so before."""
    if not hasattr(slicer, _KEEPER):
        slicer.app.connect("aboutToQuit()", uninstall)
    uninstall()
    scene, layout = slicer.mrmlScene, layouts.layout_node()
    observed = [(scene, scene.AddObserver(scene.EndImportEvent, _on_import))]
    if layout is not None:
        observed.append((layout, layout.AddObserver("ModifiedEvent", _on_layout)))
        layouts.keep_out_of_files()
    setattr(slicer, _KEEPER, observed)


def uninstall() -> None:
    """Look after nothing any more."""
    for node, tag in getattr(slicer, _KEEPER, ()):
        node.RemoveObserver(tag)
    setattr(slicer, _KEEPER, [])


def _on_import(*_args) -> None:
    registration_view.recover()


def _on_layout(*_args) -> None:
    layouts.keep_out_of_files()
