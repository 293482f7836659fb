"""The network for inference: slices through it one by one, all that samples of a slice share computed once."""

from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import torch
from torch import Tensor

from .. import levels
from ..coverage import Coverage, Shares, checked_maps
from ..model import BACKGROUND, DARKEST, MMHVAE, Encoder, Output, checked_noise, ordered_images
from .cells import DecoderCell, EncoderCell, Expert, ImageDecoder
from .convolutions import HalvingConvolution, conv3x3, doubled
from .gaussians import draw, location, unclamped
from .layout import channels_last, image, keep_freed_memory, pixels


class _Encoder:
    """Contracting path of one modality."""

    def __init__(self, encoder: Encoder, size: int):
        self._stem = channels_last(encoder.stem.weight), encoder.stem.bias
        self._cells = [EncoderCell(cell, size // 2**halvings) for halvings, cell in enumerate(encoder.cells)]
        self._downs = [
            HalvingConvolution(down.weight, down.bias, size // 2**halvings)
            for halvings, down in enumerate(encoder.downs)
        ]

    def __call__(self, slice_: Tensor) -> List[Tensor]:
        """(1, 1, S, S) -> features of each size, the finest first, channels-last."""
        # A lone channel is in both orders at once; said in these strides, the convolution keeps it last.
        edge = slice_.shape[-1]
        features = [self._cells[0](conv3x3(image(slice_.reshape(-1, 1), edge, edge), *self._stem))]
        for down, cell in zip(self._downs, self._cells[1:]):
            features.append(cell(down(features[-1])))
        return features


class _CoarsestLevel:
    """z_L, a vector."""

    def __init__(self, level: levels.CoarsestLevel):
        self._down = unclamped(level.down.weight), unclamped(level.down.bias)
        self._up, self._edge = (level.up.weight.detach(), level.up.bias), level.sizes.coarsest_size

    def of_skip(self, features: Tensor) -> Tensor:
        """Return an input's expert, (4m, 1), from its coarsest features, (1, C, H, W)."""
        weight, bias = self._down
        return torch.addmv(bias, weight, features.flatten())[:, None]

    def __call__(self, experts: List[Tensor], noise: Tensor, temperature: float, power: int, shares: Shares) -> Tensor:
        """Draw z_L, (2m, 1), and return features for the next level, (1, m, H, W)."""
        z = draw(None, [expert.clone() for expert in experts], noise, temperature, power, shares)
        weight, bias = self._up
        return channels_last(torch.addmv(bias, weight, z[:, 0]).view(1, -1, self._edge, self._edge))


class _Level:
    """One latent group of the expansive path."""

    def __init__(self, level: levels.Level):
        self.halvings, self.is_random = level.halvings, level.is_random
        self._edge = level.sizes.size // 2**level.halvings
        self._up, self._cell = channels_last(level.up.weight), DecoderCell(level.cell, self._edge)
        self._prior = unclamped(level.prior.weight.flatten(1))
        self._expert = Expert(level.expert, self._edge) if level.is_random else None

    def of_skip(self, skip: Tensor) -> Tensor:
        """Return what an input's skip adds to its expert, whatever the noise."""
        return self._expert.of_skip(skip)

    def __call__(
        self,
        z: Tensor,
        skips: List[Tensor],
        noise: Optional[Tensor],
        temperature: float,
        power: int,
        shares: Shares,
    ) -> Tensor:
        """Draw the next group from the coarser one, (1, C, H, W), as (1, c/2, 2H, 2W), channels-last."""
        h = self._cell(conv3x3(doubled(z), self._up))
        prior = self._prior @ pixels(h).t()
        if self._expert is None:
            return self._planes(location(prior))
        of_features = self._expert.of_features(h)
        experts = [self._expert(of_features, skip) for skip in skips]
        return self._planes(draw(prior, experts, noise, temperature, power, shares))

    def _planes(self, z: Tensor) -> Tensor:
        return channels_last(z.view(1, -1, self._edge, self._edge))


@dataclass(frozen=True)
class EncodedSlice:
    """What all samples of a slice share.

    :param inputs: Modalities, in the network's order.
    :param experts: For each level, the coarsest first, what each input's skip says.
    :param backgrounds: For each input where it shows nothing, (1, 1, S, S); the first one's is that of all outputs.
    :param shares: For each level which share of the field each input covers, (1, H W).
    :param partial: Those inputs that cover a part of the field.
    """

    inputs: Tuple[str, ...]
    experts: List[List[Tensor]]
    backgrounds: List[Tensor]
    shares: List[Shares]
    partial: Sequence[str]

    def alone(self, modality: str) -> "EncodedSlice":
        """Return it as if one of the inputs were the only one."""
        place = self.inputs.index(modality)
        experts, shares = ([level[place : place + 1] for level in levels] for levels in (self.experts, self.shares))
        return EncodedSlice((modality,), experts, self.backgrounds[place : place + 1], shares, self.partial)


class FastMMHVAE:
    """The same function as the network it is made from, for inference on a CPU; can be called from several threads.

    It keeps a reference to none of the network's modules, but shares such weights as it takes unchanged.

    :param network: In float32, on the CPU.
    :param inputs: Modalities that may be given; None means all.
    :param targets: Modalities that may be asked for; None means all. The rest of the network takes no memory.
    :raises ValueError: for a fusion other than ``product``; :func:`can_be_fast` tells beforehand.
    """

    def __init__(
        self, network: MMHVAE, inputs: Optional[Sequence[str]] = None, targets: Optional[Sequence[str]] = None
    ):
        if not can_be_fast(network):
            raise ValueError(f"the fusion {network.sizes.fusion!r} has no fast form")
        keep_freed_memory()
        self.sizes = network.sizes
        self._power = 2 if network.sizes.precision == "variance" else 1
        with torch.inference_mode():
            self._encoders = {
                modality: _Encoder(network.encoders[modality], network.sizes.size)
                for modality in inputs or network.sizes.modalities
            }
            self._coarsest = _CoarsestLevel(network.coarsest)
            self._levels = [_Level(level) for level in network.levels]
            self._decoders = {
                modality: ImageDecoder(network.decoders[modality], network.sizes.size)
                for modality in targets or network.sizes.modalities
            }

    @torch.inference_mode()
    def __call__(
        self,
        images: Dict[str, Tensor],
        noise: Sequence[Tensor],
        temperature: float = 0.7,
        targets: Optional[Sequence[str]] = None,
        coverage: Optional[Dict[str, Tensor]] = None,
    ) -> Output:
        """Synthesise the target modalities; arguments, result and errors as ``MMHVAE.forward``, without KL terms."""
        ordered = ordered_images(images, self.sizes)
        count, maps = len(next(iter(ordered.values()))), checked_maps(coverage or {}, ordered)
        noise = checked_noise(noise, count, self.sizes)
        slices = []
        for index in range(count):
            one = slice(index, index + 1)
            encoded = self.encode({m: batch[one] for m, batch in ordered.items()}, {m: c[one] for m, c in maps.items()})
            slices.append(self.sample(encoded, [level[one] for level in noise], temperature, targets))
        synthetic = {target: torch.cat([s.images[target] for s in slices]) for target in slices[0].images}
        drawn = [s.z1 for s in slices if s.z1 is not None]
        return Output(synthetic, torch.cat(drawn) if drawn else None, None)

    @torch.inference_mode()
    def encode(self, images: Dict[str, Tensor], coverage: Optional[Dict[str, Tensor]] = None) -> EncodedSlice:
        """Compute what does not depend on the noise.

        :param images: ``{modality: (1, 1, S, S)}`` as ``MMHVAE.forward``; ``coverage`` likewise.
        """
        ordered = ordered_images(images, self.sizes)
        if not set(ordered) <= set(self._encoders):
            raise ValueError(f"this was made for the inputs {tuple(self._encoders)}, not {tuple(ordered)}")
        inputs = [self._encoders[modality](given) for modality, given in ordered.items()]
        experts = [[self._coarsest.of_skip(features[-1]) for features in inputs]]
        for level in self._levels:
            if level.is_random:
                experts.append([level.of_skip(features[level.halvings]) for features in inputs])
        backgrounds = [given == BACKGROUND for given in ordered.values()]
        maps = checked_maps(coverage or {}, ordered)
        inputs = tuple(ordered)
        cover = Coverage(maps, ~backgrounds[0])
        partial = [modality for modality in maps if not cover.whole(modality)]
        return EncodedSlice(inputs, experts, backgrounds, self._shares(maps, inputs, ~backgrounds[0]), partial)

    def _shares(self, maps: Mapping[str, Tensor], inputs: Sequence[str], field: Tensor) -> List[Shares]:
        if not maps:
            return [()] * (1 + len(self._levels))
        coverage, edges = Coverage(maps, field), [1, *(self.sizes.size // 2**level.halvings for level in self._levels)]
        return [
            [None if share is None else share.view(1, -1) for share in coverage.shares(inputs, edge)] for edge in edges
        ]

    @torch.inference_mode()
    def sample(
        self,
        encoded: EncodedSlice,
        noise: Sequence[Tensor],
        temperature: float = 0.7,
        targets: Optional[Sequence[str]] = None,
    ) -> Output:
        """Draw one sample of an encoded slice.

        :param noise: One tensor a random level, z_L first, (1, *sizes.noise_shapes()[level]).
        :param targets: Only their decoders run; None means all.
        """
        flat = [level.reshape(level.shape[1], -1) for level in noise]
        wanted = self.sizes.modalities if targets is None else targets
        own = [t for t in wanted if self.sizes.draws_alone(t, encoded.inputs) and t not in encoded.partial]
        z1 = self._draw(encoded, flat, temperature) if len(own) < len(wanted) else None
        images = {}
        for target in wanted:
            if target in own:
                one = encoded.alone(target)
                image = self._decoders[target](self._draw(one, flat, temperature))
                image.masked_fill_(one.backgrounds[0], DARKEST)
            else:
                image = self._decoders[target](z1)
            images[target] = image.masked_fill_(encoded.backgrounds[0], BACKGROUND)
        return Output(images, z1, None)

    def _draw(self, encoded: EncodedSlice, noise: Sequence[Tensor], temperature: float) -> Tensor:
        """Draw all latent groups, coarsest first; return z1."""
        z = self._coarsest(encoded.experts[0], noise[0], temperature, self._power, encoded.shares[0])
        for step, level in enumerate(self._levels, start=1):
            known = (encoded.experts[step], noise[step]) if level.is_random else ([], None)
            z = level(z, *known, temperature, self._power, encoded.shares[step])
        return z


def can_be_fast(network: MMHVAE) -> bool:
    """Return whether a network has a fast form: not those of the ablation that do without the product of experts."""
    return network.sizes.fusion == "product"
