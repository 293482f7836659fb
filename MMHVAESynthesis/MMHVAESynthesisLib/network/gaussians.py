"""Diagonal Gaussians, their products and samples."""

from dataclasses import dataclass
from typing import Optional, Sequence

import torch
from torch import Tensor


def soft_clamp(x: Tensor) -> Tensor:
    """Bound ``x`` smoothly to (-10, 10): 10 tanh(x / 10)."""
    return 10 * torch.tanh(x / 10)


@dataclass(frozen=True)
class Gaussian:
    """A diagonal Gaussian; ``loc`` and ``logscale`` have one shape, (B, C) or (B, C, H, W)."""

    loc: Tensor
    logscale: Tensor

    @classmethod
    def from_features(cls, features: Tensor) -> "Gaussian":
        """Split (B, 2C, ...) into location and log-scale, both soft-clamped."""
        loc, logscale = features.chunk(2, dim=1)
        return cls(soft_clamp(loc), soft_clamp(logscale))

    @classmethod
    def standard_like(cls, other: "Gaussian") -> "Gaussian":
        """Return N(0, 1) in the shape of ``other``."""
        return cls(torch.zeros_like(other.loc), torch.zeros_like(other.logscale))

    def sample(self, noise: Tensor, temperature: float) -> Tensor:
        """Return loc + temperature * scale * noise; at temperature 0 the location itself."""
        if temperature == 0:
            return self.loc
        return self.loc + temperature * self.logscale.exp() * noise

    def log_density(self, z: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the log-density of ``z`` element by element, up to the constant log sqrt(2 pi), scale tempered."""
        scale = temperature * self.logscale.exp()
        return -0.5 * ((z - self.loc) / scale) ** 2 - torch.log(scale)


def product_of_experts(
    prior: Gaussian, experts: Sequence[Gaussian], precision: str, shares: Sequence[Optional[Tensor]] = ()
) -> Gaussian:
    """Multiply a prior and experts (Dorent et al. 2025, eq. 14).

    :param precision: ``variance`` weighs each Gaussian by 1/scale^2, as the paper; ``scale`` by 1/scale, as the
        released code and so its weights.
    :param shares: For each expert the power, 0 to 1, to which it enters the product: its precision is multiplied by
        that (not in the paper); None, and no shares at all, mean 1.
    """
    power = 2 if precision == "variance" else 1
    weights = [torch.exp(-power * gaussian.logscale) for gaussian in (prior, *experts)]
    for place, share in enumerate(shares, start=1):
        if share is not None:
            weights[place] = weights[place] * share
    total = sum(weights[1:], weights[0])
    weighted = [weight * gaussian.loc for weight, gaussian in zip(weights, (prior, *experts))]
    return Gaussian(sum(weighted[1:], weighted[0]) / total, -torch.log(total) / power)


def average(experts: Sequence[Gaussian]) -> Gaussian:
    """Average the experts' parameters: the fusion that the paper compares with."""
    return Gaussian(
        torch.stack([expert.loc for expert in experts]).mean(0),
        torch.stack([expert.logscale for expert in experts]).mean(0),
    )


def kl_estimate(posterior: Gaussian, prior: Gaussian, z: Tensor, temperature: float) -> Tensor:
    """Return log q(z) - log p(z), summed over everything, with the one sample ``z`` of the tempered posterior q."""
    return (posterior.log_density(z, temperature) - prior.log_density(z)).sum()
