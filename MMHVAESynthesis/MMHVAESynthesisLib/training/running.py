"""A batch through the network, as the published prediction does it."""

from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence

import numpy as np
import torch

from ..network.model import MMHVAE
from .batches import Batch

TEMPERATURE = 0.7
"""Of the published prediction."""

_TOGETHER = 8


@dataclass(frozen=True)
class Result:
    """What came out: images ``{modality: (B, 1, S, S)}`` in the network's range, and z1, (B, b/2, S, S)."""

    images: Dict[str, np.ndarray]
    z1: np.ndarray


def noise_of(network: MMHVAE, slices: int, seed: int) -> List[torch.Tensor]:
    """Return the noise of a seed for some slices, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(slices, *shape, generator=generator) for shape in network.sizes.noise_shapes()]


def run(
    network: MMHVAE,
    batch: Batch,
    inputs: Sequence[str],
    seed: int = 0,
    temperature: float = TEMPERATURE,
    targets: Optional[Sequence[str]] = None,
) -> Result:
    """Synthesise from some of a batch's inputs, a few slices at a time.

    :param seed: Of the noise; the same for every set of inputs makes their images comparable.
    :param targets: None means all modalities of the network.
    """
    device = next(network.parameters()).device
    noise = noise_of(network, batch.size, seed)
    parts = []
    for start in range(0, batch.size, _TOGETHER):
        some = slice(start, start + _TOGETHER)
        seen = {name: torch.from_numpy(batch.inputs[name][some]).to(device) for name in inputs}
        draws = [draw[some].to(device) for draw in noise]
        with torch.no_grad():
            output = network.eval()(seen, draws, temperature=temperature, targets=targets)
        parts.append(
            ({name: image.float().cpu().numpy() for name, image in output.images.items()}, output.z1.cpu().numpy())
        )
    images = {name: np.concatenate([part[name] for part, _ in parts]) for name in parts[0][0]}
    return Result(images, np.concatenate([z1 for _, z1 in parts]))
