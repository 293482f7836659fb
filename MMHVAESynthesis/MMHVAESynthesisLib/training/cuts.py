"""Inputs that end within the field, as a slab or a short scan does: the network learns what beyond the cut is worth."""

from typing import Dict, Tuple

import numpy as np
import torch
from torch import Tensor

from ..network.model import BACKGROUND

_LEAST, _MOST = 0.1, 0.9
"""Between which shares of the field a cut input shows."""


def cut(inputs: Dict[str, Tensor], rng: np.random.Generator) -> Tuple[Dict[str, Tensor], Dict[str, Tensor]]:
    """Cut one input off along a line, another one a slice.

    :param inputs: ``{modality: (B, 1, S, S)}``, two or more; the first, which is the field, stays whole.
    :return: The inputs, and the ``coverage`` that belongs to them, see ``MMHVAE.forward``.
    """
    field = next(iter(inputs.values())).ne(BACKGROUND).cpu().numpy()[:, 0]
    name = list(inputs)[1 + int(rng.integers(len(inputs) - 1))]
    shown = torch.from_numpy(np.stack([_side(inside, rng) for inside in field])[:, None]).to(inputs[name].device)
    return {**inputs, name: inputs[name].masked_fill(~shown, BACKGROUND)}, {name: shown.to(inputs[name].dtype)}


def _side(field: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one side of a line of random direction, on which a random share of the field lies."""
    angle, share = rng.uniform(0, 2 * np.pi), rng.uniform(_LEAST, _MOST)
    rows, columns = np.indices(field.shape)
    along = np.cos(angle) * rows + np.sin(angle) * columns
    return along <= np.quantile(along[field], share) if field.any() else np.ones_like(field)
