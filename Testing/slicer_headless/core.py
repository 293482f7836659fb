"""Brings up the MRML scene and the module logics. The order of the steps matters: see each function."""

import atexit
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Optional, Union

HERE = Path(__file__).parent
PRESET_LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Models": "vtkSlicerModelsLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Units": "vtkSlicerUnitsLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Data": "vtkSlicerDataModuleLogic",
}
"""The modules whose logic is there, by the class of the logic."""

_started: Optional[ModuleType] = None


def start(temporary_path: Union[str, Path, None] = None) -> ModuleType:
    """Return the module ``slicer`` with its scene running; the second call returns the same.

    :param temporary_path: Folder for Slicer's temporary files; None makes one.
    :raises ImportError: where slicer-core cannot be imported.
    """
    global _started
    if _started is None:
        if sys.platform == "linux" and "DISPLAY" not in os.environ:
            os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
        path = Path(temporary_path or tempfile.mkdtemp(prefix="slicer-"))
        path.mkdir(parents=True, exist_ok=True)
        _started = _start(path)
    return _started


def _start(temporary_path: Path) -> ModuleType:
    import slicer
    import slicer.util

    slicer.__path__.append(str(HERE / "slicer"))
    sys.path.insert(0, str(HERE / "toplevel"))
    slicer.mrmlScene = _new_scene(slicer)
    logic = _application_logic(slicer, temporary_path)
    slicer.modules = SimpleNamespace()
    for name, class_name in PRESET_LOGICS.items():
        _add_module(slicer, logic, name, class_name)
    remote = _enable_bundles(slicer, temporary_path)

    from .application import Application
    from .hierarchy import Hierarchy

    slicer.app = Application(logic, temporary_path, remote)
    slicer.app.hierarchy = Hierarchy(slicer.mrmlScene)
    # Without the thread nothing that a command line module wrote is ever read back.
    logic.CreateProcessingThread()
    atexit.register(logic.TerminateProcessingThread)
    return slicer


def _new_scene(slicer):
    scene = slicer.vtkMRMLScene()
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    # vtkSlicerCLIModuleLogic.CreateNode() dereferences the registered class unasked.
    scene.RegisterNodeClass(slicer.vtkMRMLCommandLineModuleNode())
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    return scene


def _application_logic(slicer, temporary_path: Path):
    import vtk

    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.SetTemporaryPath(str(temporary_path))
    logic.GetColorLogic().SetMRMLScene(slicer.mrmlScene)
    logic.GetColorLogic().AddDefaultColorNodes()
    logic.SetSliceLogics(vtk.vtkCollection())
    logic.SetViewLogics(vtk.vtkCollection())
    for factory in (
        slicer.vtkMRMLThreeDViewDisplayableManagerFactory,
        slicer.vtkMRMLSliceViewDisplayableManagerFactory,
    ):
        factory.GetInstance().SetMRMLApplicationLogic(logic)
    return logic


def _add_module(slicer, application_logic, name: str, class_name: str) -> None:
    logic = application_logic.GetColorLogic() if name == "Colors" else getattr(slicer, class_name)()
    if name != "Colors":
        logic.SetMRMLScene(slicer.mrmlScene)
        logic.SetMRMLApplicationLogic(application_logic)
    application_logic.SetModuleLogic(name, logic)
    setattr(slicer.modules, name.lower(), SimpleNamespace(name=name, logic=lambda: logic))


def _enable_bundles(slicer, temporary_path: Path):
    """Make .mrb files work: reading one goes through the remote reader's cache."""
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.GetCacheManager().SetRemoteCacheDirectory(str(temporary_path))
    remote.SetMRMLScene(slicer.mrmlScene)
    manager = slicer.vtkDataIOManagerLogic()
    manager.SetMRMLApplicationLogic(slicer.vtkSlicerApplicationLogic())
    manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
    remote.AddDataIOToScene()
    return [remote, manager]
