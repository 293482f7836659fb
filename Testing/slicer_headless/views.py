"""Slice views drawn offscreen, alone or into one picture, with each volume's own window, level and colours.

A view is Slicer's own slice logic with its displayable managers. The one piece that is Qt's in Slicer, the mapper that
puts the logic's image on the window, is VTK's image mapper here.
"""

from pathlib import Path
from typing import List, Sequence, Tuple, Union

import slicer
import vtk

AXIAL, SAGITTAL, CORONAL = "Axial", "Sagittal", "Coronal"


class SliceView:
    """One slice view: a slice node, its composite node and a window of its own.

    Stands in for qMRMLSliceWidget and its qMRMLSliceView too, where :class:`application.LayoutManager` gives it out.
    """

    def __init__(self, name: str, size: Tuple[int, int], orientation: str = AXIAL, node=None):
        """Make a view of a new slice node, or of ``node``."""
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(True)
        self._window.SetSize(*size)
        self._renderer = vtk.vtkRenderer()
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        if node is not None:
            self._logic.SetSliceNode(node)
        self.node = node or self._logic.AddSliceNode(name)
        if node is None:
            self.node.SetOrientation(orientation)
        self.node.SetDimensions(*size, 1)
        self.node.SetMappedInLayout(1)
        self._mapper = self._image_mapper()
        self._managers = self._displayable_managers()

    def _image_mapper(self):
        mapper = vtk.vtkImageMapper()
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(mapper)
        actor.GetProperty().SetDisplayLocationToBackground()
        self._renderer.AddViewProp(actor)
        return mapper

    def _displayable_managers(self):
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        group = factory.InstantiateDisplayableManagers(self._renderer)
        group.SetMRMLDisplayableNode(self.node)
        return group

    def show(self, background, foreground=None, opacity: float = 0.5) -> None:
        """Show a volume node, fitted to the view, in the plane of its own voxels that is nearest to the orientation."""
        composite = self._logic.GetSliceCompositeNode()
        composite.SetBackgroundVolumeID(background.GetID())
        composite.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
        composite.SetForegroundOpacity(opacity)
        self.node.RotateToVolumePlane(background)
        self._logic.FitSliceToBackground()
        self._logic.SnapSliceOffsetToIJK()

    def sliceLogic(self):
        return self._logic

    def mrmlSliceNode(self):
        return self.node

    def sliceView(self):
        return self

    def renderWindow(self):
        return self._window

    def scheduleRender(self):
        """Do nothing: a view is drawn when its picture is asked for."""

    def write_in_corner(self, text: str) -> None:
        """Write a line at the lower edge, as large as fits."""
        actor = vtk.vtkTextActor()
        actor.SetInput(text)
        actor.SetPosition(6, 5)
        actor.GetTextProperty().SetFontSize(min(13, int(1.8 * self._window.GetSize()[0] / max(1, len(text)))))
        actor.GetTextProperty().SetColor(1, 0.85, 0.3)
        actor.GetTextProperty().SetBackgroundColor(0, 0, 0)
        actor.GetTextProperty().SetBackgroundOpacity(0.6)
        self._renderer.AddViewProp(actor)

    def picture(self) -> vtk.vtkImageData:
        """Draw the view and return its RGB pixels."""
        self._logic.UpdatePipeline()
        # The logic's output is another port once the view shows something.
        self._mapper.SetInputConnection(self._logic.GetImageDataConnection())
        return _drawn(self._window)

    def close(self) -> None:
        """Take the view's nodes out of the scene and free its window."""
        logic = self._logic
        own = [logic.GetSliceCompositeNode(), logic.GetSliceModelNode(), logic.GetSliceModelDisplayNode()]
        own += [logic.GetSliceModelTransformNode(), self.node]
        self._managers.SetMRMLDisplayableNode(None)
        logic.SetMRMLScene(None)
        for node in own:
            if node is not None and node.GetScene() is not None:
                slicer.mrmlScene.RemoveNode(node)
        self._window.Finalize()


def _drawn(window: vtk.vtkRenderWindow) -> vtk.vtkImageData:
    """Draw a window and return its RGB pixels."""
    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.Update()
    return grab.GetOutput()


class ThreeDView:
    """One 3D view of a view node. Stands in for qMRMLThreeDWidget and its qMRMLThreeDView too."""

    _managers_known = False

    def __init__(self, node, size: Tuple[int, int]):
        self.node = node
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(True)
        self._window.SetMultiSamples(0)
        self._window.SetSize(*size)
        self._renderer = vtk.vtkRenderer()
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        if not ThreeDView._managers_known:
            # Slicer's modules Models (which draws slices too) and VolumeRendering add their own at start-up.
            for name in ("vtkMRMLModelDisplayableManager", "vtkMRMLVolumeRenderingDisplayableManager"):
                factory.RegisterDisplayableManager(name)
            ThreeDView._managers_known = True
        self._managers = factory.InstantiateDisplayableManagers(self._renderer)
        self._managers.SetMRMLDisplayableNode(node)

    def threeDView(self):
        return self

    def mrmlViewNode(self):
        return self.node

    def renderWindow(self):
        return self._window

    def scheduleRender(self):
        """Do nothing: a view is drawn when its picture is asked for."""

    def resetFocalPoint(self) -> None:
        """Look at all that is shown."""
        self._renderer.ResetCamera()

    def picture(self) -> vtk.vtkImageData:
        """Draw the view and return its RGB pixels."""
        return _drawn(self._window)

    def close(self) -> None:
        """Free the view's window."""
        self._managers.SetMRMLDisplayableNode(None)
        self._window.Finalize()


def save_slices(
    nodes: Sequence,
    path: Union[str, Path],
    size: Tuple[int, int] = (320, 320),
    orientation: str = AXIAL,
    columns: int = 4,
) -> None:
    """Draw the middle slice of each volume node, its name below, side by side into a PNG file.

    :param nodes: Scalar volume nodes; each is shown with its own display node.
    """
    tiles: List[vtk.vtkImageData] = []
    for index, node in enumerate(nodes):
        view = SliceView(f"Picture{index}", size, orientation)
        try:
            view.show(node)
            view.write_in_corner(node.GetName())
            copy = vtk.vtkImageData()
            copy.DeepCopy(view.picture())
            tiles.append(copy)
        finally:
            view.close()
    _write(_tiled(tiles, columns), path)


def _tiled(tiles: Sequence[vtk.vtkImageData], columns: int) -> vtk.vtkImageData:
    """Return the tiles in rows, the first at the top left; VTK's images begin at the bottom."""
    rows = []
    for start in range(0, len(tiles), columns):
        row = [*tiles[start : start + columns]]
        while len(row) < min(columns, len(tiles)):
            row.append(_black_like(tiles[0]))
        rows.append(_appended(row, axis=0))
    return _appended(rows[::-1], axis=1)


def _appended(images: Sequence[vtk.vtkImageData], axis: int) -> vtk.vtkImageData:
    append = vtk.vtkImageAppend()
    append.SetAppendAxis(axis)
    for image in images:
        append.AddInputData(image)
    append.Update()
    return append.GetOutput()


def _black_like(image: vtk.vtkImageData) -> vtk.vtkImageData:
    black = vtk.vtkImageData()
    black.DeepCopy(image)
    black.GetPointData().GetScalars().Fill(0)
    return black


def _write(image: vtk.vtkImageData, path: Union[str, Path]) -> None:
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    writer.Write()
