"""Validation during training: PSNR of each pair of input and target on fixed held-out slices, and pictures."""

import dataclasses
import logging
import math
import os
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy as np
import torch

from ..errors import InputError
from ..evaluation.metrics import counts, psnr, to_8bit
from ..modalities import US
from ..network.model import MMHVAE
from .batches import Batch, source
from .cases import Case
from .config import TrainingConfig

log = logging.getLogger(__name__)

TEMPERATURE = 0.7
"""Of the published prediction."""

_BATCHES = 4
_SEED = 4711
ALL = "all"


class Validation:
    """Fixed slices of the held-out cases, the same in every run of a configuration.

    :param cases: The held-out cases; with none there is nothing to validate on.
    """

    def __init__(self, cases: Sequence[Case], config: TrainingConfig):
        self._modalities = config.sizes.modalities
        self._paired = _fixed(cases, config, "sweep")
        self._real = _fixed([case for case in cases if case.modalities == (US,)], config, "us")

    def psnr(self, network: MMHVAE) -> Dict[str, float]:
        """Return the mean PSNR, dB, for each input alone (``t2>flair``) and for all together (``all>flair``)."""
        values: Dict[str, List[float]] = {}
        for number, batch in enumerate(self._paired):
            for inputs in _input_sets(batch):
                images = synthesise(network, batch, inputs, number)
                name = inputs[0] if len(inputs) == 1 else ALL
                for target in batch.targets:
                    scores = _scores(batch.targets[target], images[target])
                    values.setdefault(f"{name}>{target}", []).extend(scores)
        return {pair: float(np.mean(scores)) for pair, scores in values.items() if scores}

    def picture(self, network: MMHVAE, path: Path) -> None:
        """Write a PNG: each row a held-out slice (simulated iUS, then real iUS): the input and all outputs from it.

        For slices with MR the targets stand under the outputs.
        """
        rows = []
        for number, batch in enumerate(self._paired[:2] + self._real[:2]):
            if US not in batch.inputs:
                continue
            images = synthesise(network, batch, (US,), number)
            for place in range(min(batch.size, 2)):
                rows.append([batch.inputs[US][place, 0]] + [images[name][place, 0] for name in self._modalities])
                if len(batch.targets) > 1:
                    rows.append(_target_row(batch, self._modalities, place))
        if rows:
            save_grid(rows, path)


def _target_row(batch: Batch, modalities: Sequence[str], place: int) -> List[np.ndarray]:
    empty = np.full(batch.inputs[US].shape[2:], -1, np.float32)
    return [empty] + [batch.targets[name][place, 0] if name in batch.targets else empty for name in modalities]


def _fixed(cases: Sequence[Case], config: TrainingConfig, kind: str) -> List[Batch]:
    data = dataclasses.replace(config.data, augment=0.0, kinds={kind: 1.0})
    fixed = dataclasses.replace(config, data=data, seed=_SEED)
    try:
        batches = source(list(cases), fixed)
    except InputError as error:
        log.info("No validation on %s slices: %s", kind, error)
        return []
    return [batches.batch(index) for index in range(_BATCHES)]


def _input_sets(batch: Batch) -> List[Tuple[str, ...]]:
    singles = [(name,) for name in batch.inputs]
    return singles + [tuple(batch.inputs)] if len(singles) > 1 else singles


def synthesise(network: MMHVAE, batch: Batch, inputs: Sequence[str], seed: int) -> Dict[str, np.ndarray]:
    """Return all images of a batch from some of its inputs, (B, 1, S, S), at the published temperature."""
    device = next(network.parameters()).device
    noise = network_noise(network, batch.size, seed)
    seen = {name: torch.from_numpy(batch.inputs[name]).to(device) for name in inputs}
    with torch.no_grad():
        output = network.eval()(seen, [draw.to(device) for draw in noise], temperature=TEMPERATURE)
    return {name: image.float().cpu().numpy() for name, image in output.images.items()}


def network_noise(network: MMHVAE, batch: int, seed: int) -> List[torch.Tensor]:
    """Return the noise of a seed, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, *shape, generator=generator) for shape in network.sizes.noise_shapes()]


def _scores(targets: np.ndarray, images: np.ndarray) -> List[float]:
    pairs = [(to_8bit(target[0]), to_8bit(image[0])) for target, image in zip(targets, images)]
    return [value for value in (psnr(*pair) for pair in pairs if counts(pair[0])) if math.isfinite(value)]


def save_grid(rows: Sequence[Sequence[np.ndarray]], path: Path) -> None:
    """Write images in the network's range as one PNG of rows and columns; without matplotlib the log says so."""
    try:
        from matplotlib.image import imsave
    except ImportError:
        log.info("No picture %s: matplotlib is not installed.", path.name)
        return
    grid = np.concatenate([np.concatenate([to_8bit(image) for image in row], axis=1) for row in rows])
    beside = path.with_name("part-" + path.name)
    imsave(beside, np.repeat(np.repeat(grid, 2, axis=0), 2, axis=1), cmap="gray", vmin=0, vmax=255)
    os.replace(beside, path)
