"""The made-up weights, images and noise on which the published code was run, made again from their rules."""

from typing import Dict, List, Tuple

import numpy as np

from MMHVAESynthesisLib.modalities import MODALITIES
from MMHVAESynthesisLib.network.sizes import NetworkSizes

SMALL = NetworkSizes(size=64, halvings=5)
PAIR = NetworkSizes(("us", "t2"), 16, 64, 5, 64, 5, 4)
FULL = NetworkSizes()


def released_names(sizes: NetworkSizes) -> List[str]:
    """Return the names of a released checkpoint of these sizes."""
    names = [f"bottleneck_{way}.linear.{part}" for way in ("down", "up") for part in ("bias", *_normalised("weight"))]
    for modality in sizes.modalities:
        names += _both(f"first_conv.{modality}")
        for halvings in range(sizes.halvings + 1):
            cell = f"conv_blocks_context.{modality}.{halvings}"
            names += [*_both(f"{cell}.conv_0"), *_both(f"{cell}.conv_1"), *_both(f"{cell}.se.se.0")]
            names += _both(f"{cell}.se.se.2")
        for halvings in range(sizes.halvings):
            names += _both(f"td.{modality}.{halvings}")
        names += _decoder_names(f"final_blocks.{modality}", sizes)
    for step in range(sizes.halvings):
        names += [f"tu.{step}.conv_1.weight", *_normalised(f"pz.{step}.weight")]
        for part in ("conv_0", "dw_conv_1", "conv_2", "se_2.se.0", "se_2.se.2"):
            names += _both(f"conv_blocks_localization.{step}.{part}")
        for part in ("conv_0", "conv_1", "se.se.0", "se.se.2"):
            names += _both(f"qz.{step}.{part}")
        names += _normalised(f"qz.{step}.last_conv.weight")
    return names


def _decoder_names(decoder: str, sizes: NetworkSizes) -> List[str]:
    adapted = has_adapter(sizes)
    names = _both(f"{decoder}.res.0") if adapted else []
    for block in range(sizes.decoder_blocks):
        names += _both(f"{decoder}.res.{block + adapted}.conv_block.1")
        names += _both(f"{decoder}.res.{block + adapted}.conv_block.5")
    return names + _both(f"{decoder}.convt2") + _both(f"{decoder}.convt3")


def has_adapter(sizes: NetworkSizes) -> bool:
    return sizes.decoder_features != sizes.base_features // 2


def _both(layer: str) -> List[str]:
    return [f"{layer}.weight", f"{layer}.bias"]


def _normalised(weight: str) -> List[str]:
    head, _, last = weight.rpartition(".")
    prefix = f"{head}." if head else ""
    return [f"{prefix}parametrizations.{last}.original{index}" for index in (0, 1)]


def weights(shapes: Dict[str, Tuple[int, ...]], seed: int) -> Dict[str, np.ndarray]:
    """Return tensors for ``{released name: shape}``, drawn in the sorted order of the names."""
    made = {}
    for position, (name, shape) in enumerate(sorted(shapes.items())):
        values = np.random.default_rng([seed, position]).standard_normal(shape)
        if name.endswith("original0"):
            values = 1 + 0.1 * values
        elif name.endswith("bias"):
            values = 0.05 * values
        else:
            values = values / np.sqrt(int(np.prod(shape[1:])) if len(shape) > 1 else 1)
        made[name] = values.astype(np.float32)
    return made


def image(seed: int, slices: int, size: int, modality: str) -> np.ndarray:
    """Return smooth blobs in a fan, (slices, 1, size, size) in (-1, 1), exactly -1 outside the fan."""
    draw = np.random.default_rng([seed, MODALITIES.index(modality)])
    rows, columns = np.mgrid[0:size, 0:size]
    fan = (rows > size * 0.1) & (np.abs(columns - size / 2) < rows * 0.6) & (rows < size * 0.95)
    made = np.full((slices, 1, size, size), -1, np.float32)
    for index in range(slices):
        blobs = np.zeros((size, size))
        for _ in range(6):
            row, column, radius = draw.uniform(0, size), draw.uniform(0, size), draw.uniform(size / 16, size / 4)
            distance = (rows - row) ** 2 + (columns - column) ** 2
            blobs += draw.uniform(-1, 1) * np.exp(-distance / (2 * radius * radius))
        blobs = blobs / np.abs(blobs).max() * 0.9
        made[index, 0][fan] = blobs[fan]
    return made


def noise(seed: int, sizes: NetworkSizes, slices: int) -> List[np.ndarray]:
    """Return standard normal draws, one array a latent group, the coarsest first."""
    return [
        np.random.default_rng([seed, 77, level]).standard_normal((slices, *shape)).astype(np.float32)
        for level, shape in enumerate(sizes.noise_shapes())
    ]
