"""Window, level and colours of the volumes that a run makes."""

from typing import Any, Iterable, Tuple

import numpy as np
import SimpleITK as sitk

GREY = "vtkMRMLColorTableNodeGrey"
HOT = "vtkMRMLPETProceduralColorNodePET-HotMetalBlue"
"""For uncertainty maps: black where certain, through blue and orange to white; never taken for an image."""

_PERCENTILE = 99.5
_MOST_VOXELS = 1_000_000


def common_window(images: Iterable[sitk.Image]) -> Tuple[float, float]:
    """Return the (lowest, highest) intensity to show, the same for all ``images`` so that they can be compared.

    The lowest is 0, the background. The highest is the 99.5th percentile of the voxels above 0, the greatest among the
    images; 1 where nothing lies above 0.
    """
    highest = 0.0
    for image in images:
        voxels = sitk.GetArrayViewFromImage(image).ravel()
        voxels = voxels[:: max(1, voxels.size // _MOST_VOXELS)]
        voxels = voxels[voxels > 0]
        if voxels.size:
            highest = max(highest, float(np.percentile(voxels, _PERCENTILE)))
    return 0.0, highest or 1.0


def show(display_node: Any, window: Tuple[float, float], colours: str) -> None:
    """Set the window and the colour table (a node ID) of a scalar volume's display node."""
    display_node.SetAndObserveColorNodeID(colours)
    display_node.AutoWindowLevelOff()
    display_node.SetWindowLevelMinMax(*window)
