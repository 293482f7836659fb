"""The latent hierarchy: one object a level, which takes features and gives back its sample and its KL term."""

from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.parametrizations import weight_norm

from .cells import DecoderCell, Expert, conv1x1_normalised
from .coverage import Shares
from .gaussians import Gaussian, average, kl_estimate, product_of_experts
from .sizes import NetworkSizes


@dataclass(frozen=True)
class Sampling:
    """How a pass draws: the temperature of every level, and whether its KL terms are wanted."""

    temperature: float
    with_kl: bool = False


def stack_features(features: Dict[str, Tensor], modalities: Tuple[str, ...]) -> Tensor:
    """Concatenate the modalities' features along the channels, zeros for those that are absent."""
    zeros = torch.zeros_like(next(iter(features.values())))
    return torch.cat([features.get(modality, zeros) for modality in modalities], dim=1)


def _flat(shares: Shares) -> Shares:
    """Return shares of a whole slice, (B, 1, 1, 1), as (B, 1)."""
    return [None if share is None else share.flatten(1) for share in shares]


class _Fusion:
    """Joins what the inputs say of one level into its posterior."""

    sizes: NetworkSizes

    def _posterior(self, prior: Gaussian, experts: List[Gaussian], shares: Shares) -> Gaussian:
        if self.sizes.fusion == "product":
            return product_of_experts(prior, experts, self.sizes.precision, shares)
        return average(experts)

    @staticmethod
    def _draw(
        prior: Gaussian, posterior: Gaussian, noise: Tensor, sampling: Sampling
    ) -> Tuple[Tensor, Optional[Tensor]]:
        z = posterior.sample(noise, sampling.temperature)
        kl = kl_estimate(posterior, prior, z, sampling.temperature) if sampling.with_kl else None
        return z, kl


class CoarsestLevel(nn.Module, _Fusion):
    """z_L, a vector: its experts share one projection, its prior is N(0, 1)."""

    def __init__(self, sizes: NetworkSizes):
        super().__init__()
        self.sizes = sizes
        area = sizes.coarsest_size**2
        sources = len(sizes.modalities) if sizes.fusion == "zero_fill" else 1
        self.down = weight_norm(nn.Linear(sources * sizes.width(sizes.halvings) * area, 4 * sizes.max_features))
        self.up = weight_norm(nn.Linear(2 * sizes.max_features, sizes.max_features * area))

    def _experts(self, features: Dict[str, Tensor]) -> List[Gaussian]:
        if self.sizes.fusion == "zero_fill":
            sources = [stack_features(features, self.sizes.modalities)]
        else:
            sources = list(features.values())
        return [Gaussian.from_features(self.down(source.flatten(1))) for source in sources]

    def forward(self, features: Dict[str, Tensor], noise: Tensor, sampling: Sampling, shares: Shares = ()):
        """Draw z_L from each input's coarsest features, (B, c_P, S/2^P, S/2^P).

        :param shares: Which share of the field each input covers, (B, 1, 1, 1).
        :return: Features for the next level, (B, m, S/2^P, S/2^P), and the KL estimate or None.
        """
        experts = self._experts(features)
        prior = Gaussian.standard_like(experts[0])
        z, kl = self._draw(prior, self._posterior(prior, experts, _flat(shares)), noise, sampling)
        edge = self.sizes.coarsest_size
        return self.up(z).view(-1, self.sizes.max_features, edge, edge), kl


class Level(nn.Module, _Fusion):
    """One latent group of the expansive path: features twice as large, its prior, its inputs' experts, its sample."""

    def __init__(self, sizes: NetworkSizes, step: int):
        super().__init__()
        self.sizes = sizes
        self.halvings = sizes.halvings - 1 - step
        channels = sizes.width(self.halvings)
        inputs = sizes.max_features if step == 0 else sizes.width(self.halvings + 1) // 2
        sources = len(sizes.modalities) if sizes.fusion == "zero_fill" else 1
        self.up = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
        self.cell = DecoderCell(channels)
        self.prior = conv1x1_normalised(channels, channels)
        self.is_random = step + 1 < sizes.latents
        if self.is_random:
            self.expert = Expert((1 + sources) * channels, channels)

    def _experts(self, h: Tensor, skips: Dict[str, Tensor]) -> List[Gaussian]:
        if self.sizes.fusion == "zero_fill":
            sources = [stack_features(skips, self.sizes.modalities)]
        else:
            sources = list(skips.values())
        return [Gaussian.from_features(self.expert(torch.cat([h, source], dim=1))) for source in sources]

    def forward(
        self, z: Tensor, skips: Dict[str, Tensor], noise: Optional[Tensor], sampling: Sampling, shares: Shares = ()
    ):
        """Draw the next group.

        :param z: The coarser group (or the coarsest level's features), (B, C, H, W).
        :param skips: Each input's skip at this size, (B, c, 2H, 2W).
        :param noise: Standard normal, (B, c/2, 2H, 2W); None where the level is not random.
        :param shares: Which share of the field each input covers, (B, 1, 2H, 2W).
        :return: The sample, (B, c/2, 2H, 2W), and the KL estimate or None.
        """
        h = self.cell(self.up(F.interpolate(z, scale_factor=2, mode="bilinear", align_corners=False)))
        prior = Gaussian.from_features(self.prior(h))
        if not self.is_random:
            return prior.loc, None
        return self._draw(prior, self._posterior(prior, self._experts(h, skips), shares), noise, sampling)
