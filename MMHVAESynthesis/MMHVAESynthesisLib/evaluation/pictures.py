"""Pictures: the paper's Figure 4 (latents of different inputs) and Figure 5 (temperature), and the titles of grids."""

from typing import List, Optional, Sequence, Tuple

import numpy as np

from ..modalities import MODALITIES, US, label
from ..network.model import MMHVAE
from ..training.batches import Batch
from ..training.running import run

TEMPERATURES = (0.0, 0.7, 1.0)

Titles = Tuple[List[str], List[str]]
"""Of the rows and of the columns of a grid."""


def titles_of_synthesis(network: MMHVAE, batch: Batch, places: Sequence[int], inputs: Sequence[str]) -> Titles:
    """Return the titles of what ``training.pictures.synthesis`` returns for the same arguments."""
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
