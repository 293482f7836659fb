"""The preview's picture: the slices of all contrasts side by side, marked as synthetic."""

import os
import tempfile
from typing import Any, Mapping

import numpy as np
import qt
import SimpleITK as sitk  # noqa: N813
from slicer.i18n import tr as _

from ..modalities import labels
from ..scene import annotations
from ..scene.display import common_window
from . import texts

_HEIGHT = 150
_YELLOW = (255, 217, 77)


def picture(images: Mapping[str, sitk.Image]) -> Any:
    """Return a pixmap of the planes side by side, in one window, with square pixels, marked as synthetic."""
    low, high = common_window(images.values())
    tiles = []
    for image in images.values():
        plane = sitk.GetArrayViewFromImage(image)[0]
        tiles.append(np.clip((plane - low) / (high - low) * 255, 0, 255).astype(np.uint8))
    whole = sitk.GetImageFromArray(np.hstack(tiles))
    handle, path = tempfile.mkstemp(suffix=".png")
    os.close(handle)
    try:
        sitk.WriteImage(whole, path)
        pixmap = qt.QPixmap(path)
    finally:
        os.remove(path)
    across, down = next(iter(images.values())).GetSpacing()[:2]
    rows = tiles[0].shape[0]
    height = min(_HEIGHT, max(rows, 1) * 2)
    width = round(height * whole.GetWidth() * across / (rows * down))
    return _marked(pixmap.scaled(width, height, qt.Qt.IgnoreAspectRatio, qt.Qt.SmoothTransformation))


def _marked(pixmap: Any) -> Any:
    painter = qt.QPainter()
    painter.begin(pixmap)
    painter.setPen(qt.QColor(*_YELLOW))
    painter.drawText(4, painter.fontMetrics().ascent() + 2, annotations.TEXT)
    painter.end()
    return pixmap


def show(label: Any, shown: Any, seconds: float) -> str:
    """Show a ``PreviewResult`` in a label and return the sentence that goes with it.

    :param seconds: What the preview took. Starting, loading the model and preparing take as long for all slices.
    """
    label.setPixmap(picture(shown.images))
    label.setVisible(True)
    sentence = _("SYNTHETIC preview of slice {plane}, left to right: {modalities}. All slices would take about {time}.")
    return sentence.format(
        plane=shown.plane, modalities=labels(shown.images), time=texts.duration(shown.seconds + seconds)
    )
