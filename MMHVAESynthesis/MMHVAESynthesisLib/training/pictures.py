"""Pictures of slices: rows of inputs and outputs, and grids of images as PNG."""

import logging
from pathlib import Path
from typing import List, Sequence

import numpy as np

from ..network.model import MMHVAE
from ..paths import move
from .batches import Batch
from .psnr import to_8bit
from .running import run

log = logging.getLogger(__name__)

_ENLARGED = 2
_DPI, _POINTS = 100, 8
_LETTER, _LINE = 7, 18
"""Pixels of a letter across and of a line, at this size and resolution."""


def save_grid(
    rows: Sequence[Sequence[np.ndarray]], path: Path, of_rows: Sequence[str] = (), of_columns: Sequence[str] = ()
) -> bool:
    """Write images as one PNG of rows and columns, twice enlarged; without matplotlib the log says so.

    :param rows: Of one length; each image (S, S) in the network's range, or (S, S, 3) in 0..1 as colours.
    :param of_rows: A title for each row, beside it; ``of_columns`` for each column, above it. Without, there is none.
    :return: Whether it was written.
    """
    try:
        from matplotlib.image import imsave
    except ImportError:
        log.info("No picture %s: matplotlib is not installed.", path.name)
        return False
    grid = np.concatenate([np.concatenate([_colours(image) for image in row], axis=1) for row in rows])
    grid = grid.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1)
    beside = path.with_name("part-" + path.name)
    imsave(beside, _titled(grid, of_rows, of_columns) if of_rows or of_columns else grid)
    move(beside, path)
    return True


def _titled(grid: np.ndarray, of_rows: Sequence[str], of_columns: Sequence[str]) -> np.ndarray:
    """Return a picture with titles in margins of their own, white on black: no pixel of an image is changed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    left = _LETTER * (2 + max(map(len, of_rows), default=0))
    # Titles that are wider than their columns stand on several lines by turns.
    lines = -(-_LETTER * max(map(len, of_columns), default=0) * len(of_columns) // grid.shape[1])
    top = _LINE * lines
    height, width = grid.shape[0] + top, grid.shape[1] + left
    figure = Figure(figsize=((width + 1) / _DPI, (height + 1) / _DPI), dpi=_DPI, facecolor="black")
    canvas = FigureCanvasAgg(figure)
    style = {"color": "white", "fontsize": _POINTS, "family": "monospace", "va": "center"}
    for number, title in enumerate(of_rows):
        y = top + (number + 0.5) * grid.shape[0] / len(of_rows)
        figure.text(_LETTER / width, 1 - y / height, title, ha="left", **style)
    for number, title in enumerate(of_columns):
        x = left + (number + 0.5) * grid.shape[1] / len(of_columns)
        figure.text(x / width, 1 - _LINE * (number % lines + 0.5) / height, title, ha="center", **style)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[:height, :width, :3].copy()
    picture[top:, left:] = grid
    return picture


def _colours(image: np.ndarray) -> np.ndarray:
    if image.ndim == 3:
        return (255 * np.clip(image, 0, 1)).astype(np.uint8)
    return np.repeat(to_8bit(image)[:, :, None], 3, axis=2)


def _input_and_targets(batch: Batch, place: int, first: str, modalities: Sequence[str]) -> List[np.ndarray]:
    """Return a row: one input, then the targets, empty where there is none."""
    empty = np.full(batch.inputs[first].shape[2:], -1, np.float32)
    targets = [batch.targets[name][place, 0] if name in batch.targets else empty for name in modalities]
    return [batch.inputs[first][place, 0], *targets]


def synthesis(network: MMHVAE, batch: Batch, places: Sequence[int], inputs: Sequence[str], seed: int = 0) -> List[list]:
    """Return rows: the first input and all outputs; with MR in the batch a row of targets under each."""
    result = run(network, batch, inputs, seed)
    rows = []
    for place in places:
        images = [result.images[name][place, 0] for name in network.sizes.modalities]
        rows.append([batch.inputs[inputs[0]][place, 0], *images])
        if len(batch.targets) > 1:
            rows.append(_input_and_targets(batch, place, inputs[0], network.sizes.modalities))
    return rows
