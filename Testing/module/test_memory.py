"""What stays in memory of a scene that was closed: nothing, for the next one may be another patient's."""

import gc

import pytest

from .driving import apply, cancel, finish, poll, settle


def succeed(panel, child):
    finish(panel, child)


def leave_and_come_back(panel, child):
    finish(panel, child)
    panel.exit()
    panel.enter()


def leave(panel, child):
    finish(panel, child)
    panel.parent.isEntered = False
    panel.exit()


def fail(panel, child):
    child.process.code = 1
    poll(panel)


def stop(panel, child):
    cancel(panel)
    child.process.code = 8
    poll(panel)


def go_on(panel, child):
    """Let the job still be at work when the scene is closed."""


def watched(volume):
    """Return what tells whether a volume's voxels are still in memory."""
    import vtk

    reference = vtk.vtkWeakReference()
    reference.Set(volume.GetImageData())
    return reference


def close_scene(slicer):
    slicer.mrmlScene.Clear(0)
    settle()
    gc.collect()


@pytest.mark.parametrize("end", [succeed, leave_and_come_back, leave, fail, stop, go_on])
def test_no_voxels_of_a_closed_scene_stay_in_memory(slicer, ready, scenes, child, end):
    apply(ready)
    end(ready, child)
    ready.ui.registrationButton.setCollapsed(False)
    scenes.volume("preop_T2w")
    volumes = {node.GetName(): watched(node) for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")}
    assert "Doe-US" in volumes and len(volumes) == (5 if end in (succeed, leave_and_come_back, leave) else 2)
    close_scene(slicer)
    assert [name for name, voxels in volumes.items() if voxels.Get() is not None] == []
    assert ready.ui.runsTable.rowCount == ready.ui.alsoList.count == 0
