"""Tiles through the network: one by one on a CPU, several together elsewhere."""

import copy
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from ..network.fast.model import FastMMHVAE, can_be_fast
from ..network.model import MMHVAE
from .devices import Resources


@dataclass
class Shared:
    """What all samples of one tile share.

    :param inputs: ``{modality: (S, S)}`` in [-1, 1], background -1.
    :param coverage: ``{modality: (S, S)}``, 1 where an input has a say and 0 where not, of those that show a part only.
    :param encoded: Kept by whoever computes it, for the next sample.
    """

    inputs: Mapping[str, np.ndarray]
    coverage: Mapping[str, np.ndarray] = field(default_factory=dict)
    encoded: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class Pass:
    """One sample of one tile.

    :param noise: One array a random level, without a batch's dimension.
    """

    shared: Shared
    noise: List[np.ndarray]


class OneByOne:
    """The fast network, one pass at a time: on a CPU a batch would only fall out of the cache."""

    def __init__(self, network: FastMMHVAE, temperature: float, targets: Sequence[str]):
        self._network, self._temperature, self._targets = network, temperature, tuple(targets)

    def __call__(self, passes: Sequence[Pass]) -> Dict[str, np.ndarray]:
        """Return ``{target: (B, S, S)}`` in [-1, 1], B passes of the same modalities."""
        outputs = [self._image(one) for one in passes]
        return {target: np.concatenate([output[target] for output in outputs]) for target in self._targets}

    def _image(self, one: Pass) -> Dict[str, np.ndarray]:
        if one.shared.encoded is None:
            inputs, coverage = (
                {modality: torch.from_numpy(tile)[None, None] for modality, tile in tiles.items()}
                for tiles in (one.shared.inputs, one.shared.coverage)
            )
            one.shared.encoded = self._network.encode(inputs, coverage)
        noise = [torch.from_numpy(level)[None] for level in one.noise]
        output = self._network.sample(one.shared.encoded, noise, self._temperature, self._targets)
        return {target: image[:, 0].numpy() for target, image in output.images.items()}


class Together:
    """The readable network, passes stacked into a batch: for GPUs, and for what has no fast form.

    It has not run on CUDA yet. There, convolutions run in float16 if asked for, and channels-last, which their tensor
    cores want.
    """

    def __init__(self, network: MMHVAE, resources: Resources, temperature: float, targets: Sequence[str]):
        self._device, self._half = resources.device, resources.half_precision
        network = _folded(network).to(self._device)
        self._format = torch.channels_last if self._half else torch.contiguous_format
        self._network = network.to(memory_format=self._format)
        self._temperature, self._targets = temperature, tuple(targets)

    def __call__(self, passes: Sequence[Pass]) -> Dict[str, np.ndarray]:
        """Return ``{target: (B, S, S)}`` in [-1, 1], B passes of the same modalities."""
        inputs = {
            modality: self._stacked([one.shared.inputs[modality][None] for one in passes])
            for modality in passes[0].shared.inputs
        }
        coverage = {
            modality: self._stacked([_cover(one.shared, modality)[None] for one in passes])
            for modality in {modality for one in passes for modality in one.shared.coverage}
        }
        noise = [self._stacked(level) for level in zip(*(one.noise for one in passes))]
        half = torch.autocast(self._device.type, torch.float16) if self._half else nullcontext()
        with torch.inference_mode(), half:
            images = self._network(inputs, noise, self._temperature, self._targets, coverage=coverage).images
        return {target: image[:, 0].float().cpu().numpy() for target, image in images.items()}

    def _stacked(self, arrays: Sequence[np.ndarray]) -> torch.Tensor:
        stacked = torch.from_numpy(np.stack(arrays)).to(self._device)
        return stacked.contiguous(memory_format=self._format) if stacked.ndim == 4 else stacked


def _cover(shared: Shared, modality: str) -> np.ndarray:
    """Return where an input of a tile has a say, (S, S); everywhere where nothing else is said."""
    cover = shared.coverage.get(modality)
    return np.ones_like(shared.inputs[modality]) if cover is None else cover


def _folded(network: MMHVAE) -> MMHVAE:
    """Return a copy whose normalised weights are computed once, not in each pass: MPS did not know how to, once."""
    # Removing the parametrizations of a copy would remove them from the original's classes too.
    folded = copy.deepcopy(network)
    for module in list(folded.modules()):
        for name, child in list(module.named_children()):
            if parametrize.is_parametrized(child, "weight"):
                setattr(module, name, _plain(child))
    return folded


def _plain(layer: nn.Module) -> nn.Module:
    """Return a layer, linear or 1x1, with the weight that its parametrization gives."""
    has_bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        plain = nn.utils.skip_init(nn.Linear, layer.in_features, layer.out_features, bias=has_bias)
    else:
        plain = nn.utils.skip_init(nn.Conv2d, layer.in_channels, layer.out_channels, 1, bias=has_bias)
    plain.load_state_dict({"weight": layer.weight, **({"bias": layer.bias} if has_bias else {})})
    return plain


def passes_through(
    network: MMHVAE, resources: Resources, temperature: float, inputs: Sequence[str], targets: Sequence[str]
):
    """Return what takes passes of these inputs through a network (float32, on the CPU) with these resources."""
    if resources.device.type == "cpu" and can_be_fast(network):
        return OneByOne(FastMMHVAE(network, inputs, targets), temperature, targets)
    return Together(network, resources, temperature, targets)
