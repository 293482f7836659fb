"""Pictures: grids of slices, the paper's Figure 4 (latents of different inputs) and Figure 5 (temperature)."""

import logging
import os
from pathlib import Path
from typing import List, Optional, Sequence

import numpy as np

from ..modalities import MODALITIES, US
from ..network.model import MMHVAE
from ..training.batches import Batch
from .metrics import to_8bit
from .running import run

log = logging.getLogger(__name__)

TEMPERATURES = (0.0, 0.7, 1.0)
_ENLARGED = 2


def save_grid(rows: Sequence[Sequence[np.ndarray]], path: Path) -> bool:
    """Write images as one PNG of rows and columns, twice enlarged; without matplotlib the log says so.

    :param rows: Of one length; each image (S, S) in the network's range, or (S, S, 3) in 0..1 as colours.
    :return: Whether it was written.
    """
    try:
        from matplotlib.image import imsave
    except ImportError:
        log.info("No picture %s: matplotlib is not installed.", path.name)
        return False
    grid = np.concatenate([np.concatenate([_colours(image) for image in row], axis=1) for row in rows])
    beside = path.with_name("part-" + path.name)
    imsave(beside, grid.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1))
    os.replace(beside, path)
    return True


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


def temperature(network: MMHVAE, batch: Batch, place: int, inputs: Sequence[str], seed: int = 0) -> List[list]:
    """Return one row for each temperature, 0, 0.7 and 1: the first input and all outputs (Figure 5)."""
    rows = []
    for value in TEMPERATURES:
        images = run(network, batch, inputs, seed, value).images
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


def latents(network: MMHVAE, batch: Batch, place: int, seed: int = 0) -> Optional[tuple]:
    """Return Figure 4 for one slice: rows (inputs above, components of z1 below, at T = 0) and the correlations.

    The columns are the modalities that the batch has, each as the only input, and at last all together.

    :return: None where z1 has fewer than three channels.
    """
    names = [name for name in MODALITIES if name in batch.inputs]
    found = [
        run(network, batch, inputs, seed, 0.0).z1[place] for inputs in [*((name,) for name in names), tuple(names)]
    ]
    if found[0].shape[0] < 3:
        return None
    mask = batch.inputs[US if US in batch.inputs else names[0]][place, 0] > -1
    shown = [batch.inputs[name][place, 0] for name in names]
    empty = np.full(mask.shape, -1, np.float32)
    return [[*shown, empty], principal_components(found, mask)], alignment(found, mask)
