"""The exponential moving average of a network's weights."""

import copy

import torch
from torch import nn


class AveragedWeights:
    """Holds a copy of a network whose weights follow the trained ones slowly.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), so that the first, random weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the weights as they are now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for average, weight in zip(self.network.parameters(), network.parameters()):
            average.lerp_(weight, 1 - decay)
