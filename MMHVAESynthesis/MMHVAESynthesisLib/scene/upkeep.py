"""What is looked after in the scene as long as Slicer runs, whoever changes it.

A registration whose transform leaves the scene, by whatever hand, takes with it what was made for it, and the views
that showed it show the volumes themselves.

So do views of scenes that were saved while a registration was looked at, once these are loaded. Slicer does not say
that it is about to save: what writes scenes invokes no StartSaveEvent. So what is shown is fit for a file at any time,
and what a file cannot hold is made good when it is loaded.
"""

from typing import Any, Iterable

import slicer
import vtk

from . import provenance
from .registrations import is_registration
from .removal import remove

_KEEPER = "mmhvaeUpkeep"
"""Where the observers are kept: as an attribute of the module ``slicer``, which outlives a reload of this one."""


def install() -> None:
    """Look after the scene from now on, in place of what did so before."""
    if not hasattr(slicer, _KEEPER):
        slicer.app.connect("aboutToQuit()", uninstall)
    uninstall()
    scene = slicer.mrmlScene
    handlers = {scene.EndImportEvent: _on_import, scene.NodeAboutToBeRemovedEvent: _on_leaving}
    setattr(slicer, _KEEPER, [(scene, scene.AddObserver(event, handler)) for event, handler in handlers.items()])


def uninstall() -> None:
    """Look after nothing any more."""
    for node, tag in getattr(slicer, _KEEPER, ()):
        node.RemoveObserver(tag)
    setattr(slicer, _KEEPER, [])


def _on_import(*_args) -> None:
    # Where nothing is noted there is nothing to make good: what does so brings SimpleITK, which takes its time.
    views = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    if any(provenance.noted(view) or provenance.references(view) for view in views):
        from . import registration_view

        registration_view.recover()


@vtk.calldata_type(vtk.VTK_OBJECT)
def _on_leaving(scene: Any, _event: str, node: Any) -> None:
    # Of a scene that goes away itself, all of it does.
    goes_on = not (scene.IsClosing() or scene.IsImporting() or scene.IsRestoring())
    if goes_on and is_registration(node):
        import qt

        from . import registration, registration_view

        registration_view.clear()
        spent = registration.release(node)
        # Later: Slicer crashes where a folder that it is deleting, with this transform in it, goes meanwhile.
        qt.QTimer.singleShot(0, lambda: _tidy(spent))


def _tidy(spent: Iterable[Any]) -> None:
    from . import registration

    for node in spent:
        remove(node)
    registration.remove_empty_folders()
