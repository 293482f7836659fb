"""The multi-modal hierarchical variational auto-encoder."""

from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence

import torch
from torch import Tensor, nn

from .cells import EncoderCell, ImageDecoder
from .coverage import Coverage, checked_maps
from .levels import CoarsestLevel, Level, Sampling
from .sizes import NetworkSizes, in_published_order

BACKGROUND = -1.0
"""The value of every pixel outside the field of view, in inputs and outputs."""

DARKEST = -255 / 256
"""The least value inside it."""


class Encoder(nn.Module):
    """Contracting path of one modality."""

    def __init__(self, sizes: NetworkSizes):
        super().__init__()
        widths = [sizes.width(halvings) for halvings in range(sizes.halvings + 1)]
        self.stem = nn.Conv2d(1, widths[0], 3, padding=1)
        self.cells = nn.ModuleList(EncoderCell(width) for width in widths)
        self.downs = nn.ModuleList(
            nn.Conv2d(fine, coarse, 3, stride=2, padding=1) for fine, coarse in zip(widths, widths[1:])
        )

    def forward(self, image: Tensor) -> List[Tensor]:
        """(B, 1, S, S) -> features of each size, the finest first: (B, c_d, S/2^d, S/2^d) for d = 0..P."""
        features = [self.cells[0](self.stem(image))]
        for down, cell in zip(self.downs, self.cells[1:]):
            features.append(cell(down(features[-1])))
        return features


@dataclass(frozen=True)
class Output:
    """What one pass gives back.

    :param images: ``{modality: (B, 1, S, S)}`` in [-1, 1], exactly -1 outside the first input's mask.
    :param z1: The finest latent group, drawn from all inputs, (B, b/2, S, S), not masked; None from the fast network
        where no image needed it.
    :param kl: One KL estimate a random level, z_L first, each summed over everything; None unless asked for.
    """

    images: Dict[str, Tensor]
    z1: Optional[Tensor]
    kl: Optional[List[Tensor]]


def ordered_images(images: Dict[str, Tensor], sizes: NetworkSizes) -> Dict[str, Tensor]:
    """Return a network's inputs in the published order, checked.

    :raises ValueError: when an image is unknown or of the wrong shape, there is none, or they differ in number.
    """
    unknown = set(images) - set(sizes.modalities)
    if unknown or not images:
        raise ValueError(f"inputs must be some of {sizes.modalities}, not {tuple(images)}")
    size = sizes.size
    for modality, image in images.items():
        if image.ndim != 4 or tuple(image.shape[1:]) != (1, size, size):
            raise ValueError(f"{modality} must have shape (B, 1, {size}, {size}), not {tuple(image.shape)}")
    batches = {modality: len(image) for modality, image in images.items()}
    if len(set(batches.values())) > 1:
        raise ValueError(f"the inputs must have one number of slices, not {batches}")
    # The first masks the outputs, whatever order a network was trained in.
    return {m: images[m] for m in in_published_order(sizes.modalities) if m in images}


def checked_noise(noise: Sequence[Tensor], batch: int, sizes: NetworkSizes) -> Sequence[Tensor]:
    """Return the noise for ``batch`` slices.

    :raises ValueError: when a random level lacks its tensor, or one has not its shape.
    """
    wanted = [(batch, *shape) for shape in sizes.noise_shapes()]
    given = [tuple(level.shape) for level in noise]
    if given != wanted:
        raise ValueError(f"the noise of {batch} slices must have the shapes {wanted}, not {given}")
    return noise


class MMHVAE(nn.Module):
    """Synthesises every modality from any non-empty subset of them (Dorent et al., TPAMI 2025)."""

    def __init__(self, sizes: NetworkSizes = NetworkSizes()):  # noqa: B008 (immutable)
        super().__init__()
        self.sizes = sizes
        self.encoders = nn.ModuleDict({modality: Encoder(sizes) for modality in sizes.modalities})
        self.coarsest = CoarsestLevel(sizes)
        self.levels = nn.ModuleList(Level(sizes, step) for step in range(sizes.halvings))
        self.decoders = nn.ModuleDict(
            {
                modality: ImageDecoder(sizes.base_features // 2, sizes.decoder_features, sizes.decoder_blocks)
                for modality in sizes.modalities
            }
        )

    def forward(
        self,
        images: Dict[str, Tensor],
        noise: Sequence[Tensor],
        temperature: float = 0.7,
        targets: Optional[Sequence[str]] = None,
        with_kl: bool = False,
        coverage: Optional[Dict[str, Tensor]] = None,
    ) -> Output:
        """Synthesise the target modalities.

        :param images: ``{modality: (B, 1, S, S)}`` in [-1, 1], outside the field of view exactly -1; at least one.
        :param noise: One standard normal tensor a random level, z_L first, of shape (B, *sizes.noise_shapes()[level]).
        :param temperature: Scales the spread of every sample; 0 gives the location of the posterior.
        :param targets: Only their decoders run; None means all. Outside training one that is an input is drawn as
            ``sizes.reconstruction`` says.
        :param with_kl: Also estimate the KL divergence of each level; needs a temperature above 0.
        :param coverage: ``{modality: (B, 1, S, S)}``, 1 where an input has a say and 0 where not, for those that show
            a part of the field only. Its expert is then taken to the power of the share it covers, place by place (not
            in the paper; without, as published). Only a product of experts heeds it.
        :raises ValueError: when an image is missing, unknown or of the wrong shape, inputs and noise are not of one
            number of slices, or the KL is asked for at 0.
        """
        ordered = ordered_images(images, self.sizes)
        noise = checked_noise(noise, len(next(iter(ordered.values()))), self.sizes)
        if with_kl and temperature == 0:
            raise ValueError("the KL estimate is undefined at temperature 0")
        features = {modality: self.encoders[modality](image) for modality, image in ordered.items()}
        mask = next(iter(ordered.values())) == BACKGROUND
        cover = Coverage(checked_maps(coverage or {}, ordered), ~mask)
        z1, kl = self._draw(features, noise, Sampling(temperature, with_kl), cover)
        synthetic = {}
        for target in self.sizes.modalities if targets is None else targets:
            own = self._own(target, ordered, features, noise, temperature, cover)
            if own is None:
                image = self.decoders[target](z1)
            else:
                whole = cover.whole(target)
                image = own if whole is None else torch.where(whole, own, self.decoders[target](z1))
            synthetic[target] = image.masked_fill(mask, BACKGROUND)
        return Output(synthetic, z1, kl)

    def _own(
        self,
        target: str,
        images: Dict[str, Tensor],
        features: Dict[str, List[Tensor]],
        noise: Sequence[Tensor],
        temperature: float,
        cover: Coverage,
    ) -> Optional[Tensor]:
        """Return a target's image drawn from its own expert alone, or None where it is not to be.

        What the input shows as background is as dark as can be, where another input's field goes further.
        """
        if self.training or not self.sizes.draws_alone(target, features):
            return None
        z1, _ = self._draw({target: features[target]}, noise, Sampling(temperature, False), cover)
        return self.decoders[target](z1).masked_fill(images[target] == BACKGROUND, DARKEST)

    def _draw(self, features: Dict[str, List[Tensor]], noise: Sequence[Tensor], sampling: Sampling, coverage: Coverage):
        """Draw all latent groups, coarsest first; return z1 and the KL estimates."""
        inputs = tuple(features)
        coarsest = {modality: maps[-1] for modality, maps in features.items()}
        z, kl = self.coarsest(coarsest, noise[0], sampling, coverage.shares(inputs, 1))
        terms = [kl]
        for step, level in enumerate(self.levels):
            skips = {modality: maps[level.halvings] for modality, maps in features.items()}
            shares = coverage.shares(inputs, self.sizes.size // 2**level.halvings)
            z, kl = level(z, skips, noise[step + 1] if level.is_random else None, sampling, shares)
            if level.is_random:
                terms.append(kl)
        return z, terms if sampling.with_kl else None

    def noise(self, batch: int, generator: Optional[torch.Generator] = None) -> List[Tensor]:
        """Draw fresh noise for ``batch`` slices, on the network's device."""
        device = next(self.parameters()).device
        return [torch.randn(batch, *shape, device=device, generator=generator) for shape in self.sizes.noise_shapes()]
