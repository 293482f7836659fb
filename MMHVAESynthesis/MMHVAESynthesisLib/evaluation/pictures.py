"""Pictures: grids of slices, the paper's Figure 4 (latents of different inputs) and Figure 5 (temperature)."""

import logging
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import numpy as np

from ..modalities import MODALITIES, US, label
from ..network.model import MMHVAE
from ..paths import move
from ..training.batches import Batch
from .metrics import to_8bit
from .running import run

log = logging.getLogger(__name__)

TEMPERATURES = (0.0, 0.7, 1.0)
_ENLARGED = 2
_DPI, _POINTS = 100, 8
_LETTER, _LINE = 7, 18
"""Pixels of a letter across and of a line, at this size and resolution."""

Titles = Tuple[List[str], List[str]]
"""Of the rows and of the columns of a grid."""


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


def titles_of_synthesis(network: MMHVAE, batch: Batch, places: Sequence[int], inputs: Sequence[str]) -> Titles:
    """Return the titles of what :func:`synthesis` returns for the same arguments."""
    rows = []
    for place in places:
        rows.append(f"slice {place + 1} of {batch.size}: synthetic")
        if len(batch.targets) > 1:
            rows.append(f"slice {place + 1} of {batch.size}: truth")
    return rows, _columns(network, inputs)


def titles_of_temperature(network: MMHVAE, inputs: Sequence[str]) -> Titles:
    """Return the titles of what :func:`temperature` returns for the same arguments."""
    return [f"T = {value:g}: synthetic" for value in TEMPERATURES], _columns(network, inputs)


def _columns(network: MMHVAE, inputs: Sequence[str]) -> List[str]:
    return [f"input {label(inputs[0])}", *map(label, network.sizes.modalities)]


def temperature(network: MMHVAE, batch: Batch, place: int, inputs: Sequence[str]) -> List[list]:
    """Return one row for each temperature, 0, 0.7 and 1: the first input and all outputs (Figure 5)."""
    rows = []
    for value in TEMPERATURES:
        images = run(network, batch, inputs, temperature=value).images
        rows.append([batch.inputs[inputs[0]][place, 0], *(images[name][place, 0] for name in network.sizes.modalities)])
    return rows


def principal_components(latents: Sequence[np.ndarray], mask: np.ndarray) -> List[np.ndarray]:
    """Return three principal components of latents as colours, found over all of them together (Figure 4).

    :param latents: z1 of one slice from different inputs, each (C, S, S), C of 3 or more.
    :param mask: (S, S), the pixels that count; the others are black.
    :return: (S, S, 3) in 0..1 for each, with one scaling for all: -2.5 to 2.5 standard deviations of each component.
    """
    pixels = [latent[:, mask].T for latent in latents]
    every = np.concatenate(pixels)
    mean = every.mean(axis=0)
    _, _, directions = np.linalg.svd(every - mean, full_matrices=False)
    spread = np.maximum(((every - mean) @ directions[:3].T).std(axis=0), 1e-12)
    pictures = []
    for values in pixels:
        picture = np.zeros((*mask.shape, 3))
        picture[mask] = np.clip((values - mean) @ directions[:3].T / spread / 5 + 0.5, 0, 1)
        pictures.append(picture)
    return pictures


def alignment(latents: Sequence[np.ndarray], mask: np.ndarray) -> np.ndarray:
    """Return the correlation of each pair of latents over the pixels of a mask, all channels together, (n, n)."""
    values = [latent[:, mask] - latent[:, mask].mean(axis=1, keepdims=True) for latent in latents]
    return np.corrcoef(np.stack([value.ravel() for value in values]))


def titles_of_latents(batch: Batch) -> Titles:
    """Return the titles of what :func:`latents` returns for the same batch."""
    names = [label(name) for name in MODALITIES if name in batch.inputs]
    return ["input alone", "its z1, T = 0"], [*names, "all together"]


def latents(network: MMHVAE, batch: Batch, place: int) -> Optional[tuple]:
    """Return Figure 4 for one slice: rows (inputs above, components of z1 below, at T = 0) and the correlations.

    The columns are the modalities that the batch has, each as the only input, and at last all together.

    :return: None where z1 has fewer than three channels.
    """
    names = [name for name in MODALITIES if name in batch.inputs]
    sets = [*((name,) for name in names), tuple(names)]
    found = [run(network, batch, inputs, temperature=0.0).z1[place] for inputs in sets]
    if found[0].shape[0] < 3:
        return None
    mask = batch.inputs[US if US in batch.inputs else names[0]][place, 0] > -1
    shown = [batch.inputs[name][place, 0] for name in names]
    empty = np.full(mask.shape, -1, np.float32)
    return [[*shown, empty], principal_components(found, mask)], alignment(found, mask)
