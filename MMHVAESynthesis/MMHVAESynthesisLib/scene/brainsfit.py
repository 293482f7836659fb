"""BRAINSFit as Slicer's command-line module, for the engine of that name; see :mod:`..registration.brainsfit`.

What the module would do to the scene by itself is done to nodes that live for one run: it puts the moving volume under
the new transform, ignores parent transforms (the volumes come here in coordinates without any), and leaves its own node
behind. It runs in a thread of Slicer's; this waits for it while Slicer goes on drawing.
"""

import time
from contextlib import ExitStack
from typing import Any, Callable, Dict

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

from ..errors import Cancelled, DependencyError
from ..registration.brainsfit import NO_TRANSFORM, failure
from ..registration.transforms import affine_of, matrix_of
from . import closing
from .nodes import RAS_TO_LPS
from .removal import remove

_POLL_SECONDS = 0.02

_KILL_SECONDS = 10.0
"""How long to wait for a cancelled run to end before its nodes are taken away."""

_NOWHERE = np.eye(4)
_NOWHERE[:3, 3] = 1e6
"""What the output holds before the run: a run that ends well and still writes nothing is not to pass for one."""


def runner() -> "SlicerRunner":
    """Return what runs BRAINSFit in this Slicer.

    :raises DependencyError: where Slicer has no such module.
    """
    module = getattr(slicer.modules, "brainsfit", None)
    if module is None:
        raise DependencyError(
            "This Slicer has no module BRAINSFit: was it started without command-line modules? Choose the engine "
            "'lncc' or 'mattes' instead."
        )
    return SlicerRunner(module)


class SlicerRunner:
    """Runs the module once for each call, as :class:`~..registration.brainsfit.BrainsFitRunner` says."""

    def __init__(self, module: Any):
        self.module = module
        self._is_closing = closing.watch()

    def run(
        self,
        images: Dict[str, sitk.Image],
        initial: sitk.Transform,
        settings: Dict[str, Any],
        check: Callable[[], None],
    ) -> sitk.Transform:
        """Run once and return the linear transform found, from fixed to moving points.

        :raises DependencyError: when BRAINSFit fails; the message holds the end of what it wrote.
        """
        from slicer import cli

        with ExitStack() as stack:
            parameters = {name: _plain(value) for name, value in settings.items()}
            for name, image in images.items():
                parameters[name] = _volume(name, image, stack)
            parameters["initialTransform"] = _transform("initialTransform", matrix_of(initial), stack)
            found = _transform("linearTransform", _NOWHERE, stack)
            parameters["linearTransform"] = found
            node = cli.run(self.module, None, parameters, wait_for_completion=False, update_display=False)
            stack.callback(remove, node)
            _wait(node, check, self._is_closing)
            _check_done(node)
            return _found(found, node)


def _plain(value: Any) -> Any:
    """Return a number as Python's own: slicer.cli drops numpy's with no more than a printed line."""
    return value.item() if isinstance(value, np.generic) else value


def _wait(node: Any, check: Callable[[], None], is_closing: Callable[[], bool]) -> None:
    try:
        while node.IsBusy():
            check()
            slicer.app.processEvents()
            if node.GetScene() is None:
                raise Cancelled("The scene was closed during the registration: nothing was moved.")
            if is_closing():
                raise Cancelled("Slicer was closed during the registration: nothing was moved.")
            time.sleep(_POLL_SECONDS)
    finally:
        if node.IsBusy():
            node.Cancel()
            patience = time.monotonic() + _KILL_SECONDS
            while node.IsBusy() and time.monotonic() < patience:
                slicer.app.processEvents()
                time.sleep(_POLL_SECONDS)


def _check_done(node: Any) -> None:
    status = node.GetStatus()
    if status == node.Cancelled:
        raise Cancelled("BRAINSFit was cancelled. Nothing was changed.")
    if status & node.ErrorsMask or not status & node.Completed:
        raise failure(f"failed ({node.GetStatusString()})", _said(node))


def _said(node: Any) -> str:
    return node.GetErrorText().strip() or node.GetOutputText()


def _volume(name: str, image: sitk.Image, stack: ExitStack) -> Any:
    is_mask = name.endswith("BinaryVolume")
    node = slicer.vtkMRMLLabelMapVolumeNode() if is_mask else slicer.vtkMRMLScalarVolumeNode()
    to_lps = np.eye(4)
    to_lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    to_lps[:3, 3] = image.GetOrigin()
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(RAS_TO_LPS @ to_lps))
    slicer.util.updateVolumeFromArray(node, sitk.GetArrayViewFromImage(image))
    return _added(node, name, stack)


def _transform(name: str, matrix: np.ndarray, stack: ExitStack) -> Any:
    """Return a new transform node; ``matrix`` (4, 4) maps fixed to moving points, LPS mm."""
    node = slicer.vtkMRMLLinearTransformNode()
    node.SetMatrixTransformFromParent(slicer.util.vtkMatrixFromArray(RAS_TO_LPS @ matrix @ RAS_TO_LPS))
    return _added(node, name, stack)


def _found(transform: Any, node: Any) -> sitk.Transform:
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformFromParent(matrix)
    found = RAS_TO_LPS @ slicer.util.arrayFromVTKMatrix(matrix) @ RAS_TO_LPS
    if np.allclose(found, _NOWHERE):
        raise failure(NO_TRANSFORM, _said(node))
    return affine_of(found)


def _added(node: Any, name: str, stack: ExitStack) -> Any:
    """Add a node that no list shows and no file keeps, until ``stack`` closes."""
    node.SetName(f"MMHVAE BRAINSFit {name}")
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    slicer.mrmlScene.AddNode(node)
    stack.callback(remove, node)
    return node
