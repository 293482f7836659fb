"""The preview's picture: the slices of all contrasts side by side, marked as synthetic."""

import os
import tempfile
from typing import Any, Mapping

import numpy as np
import qt
import SimpleITK as sitk
from slicer.i18n import tr as _

from ..modalities import labels
from ..scene import annotations
from ..scene.display import common_window
from . import texts

_HEIGHT = 150
"""Pixels of a row of slices, where the panel is wide enough for it."""

_WIDEST_ROW = 3
"""Slices beside one another; four of them make two rows."""

_LEAST_WIDTH = 200
_YELLOW = (255, 217, 77)


def picture(images: Mapping[str, sitk.Image], widest: int) -> Any:
    """Return a pixmap of the planes in rows, in one window, with square pixels, marked as synthetic.

    :param widest: Pixels that there are across.
    """
    low, high = common_window(images.values())
    tiles = []
    for image in images.values():
        plane = sitk.GetArrayViewFromImage(image)[0]
        tiles.append(np.clip((plane - low) / (high - low) * 255, 0, 255).astype(np.uint8))
    columns = len(tiles) if len(tiles) <= _WIDEST_ROW else 2
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    whole = sitk.GetImageFromArray(np.vstack(rows))
    handle, path = tempfile.mkstemp(suffix=".png")
    os.close(handle)
    try:
        sitk.WriteImage(whole, path)
        pixmap = qt.QPixmap(path)
    finally:
        os.remove(path)
    across, down = next(iter(images.values())).GetSpacing()[:2]
    shape = whole.GetWidth() * across / (whole.GetHeight() * down)
    height = min(_HEIGHT * len(rows), whole.GetHeight() * 2, round(widest / shape))
    width = round(height * shape)
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
    label.setPixmap(picture(shown.images, max(_LEAST_WIDTH, label.parentWidget().width)))
    label.setVisible(True)
    sentence = _("SYNTHETIC preview of slice {plane}: {modalities}. All slices would take about {time}.")
    return sentence.format(
        plane=shown.plane, modalities=labels(shown.images), time=texts.duration(shown.seconds + seconds)
    )
