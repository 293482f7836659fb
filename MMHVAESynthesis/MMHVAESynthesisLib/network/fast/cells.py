"""The building blocks: each made from its readable counterpart in ``network.cells``, of one slice, channels-last."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .. import cells
from .convolutions import Bordered, NormedConvolution, TiledConvolution, depthwise5x5
from .gaussians import unclamped
from .layout import across, channel_means, channels_last, image, pixels, rows
from .norms import normalise_into, scale_and_shift, silu_normalised

_LEAST_WIDTH = 32
"""Channels of a part of the wide features, at least: so that no lane of the processor is idle."""


class Gate:
    """The gates of a squeeze-and-excite block, to be applied by whoever comes next."""

    def __init__(self, block: cells.SqueezeExcite):
        self._squeeze, self._excite = block.squeeze, block.excite

    def __call__(self, means: Tensor) -> Tensor:
        """Means of the channels, (C,) -> (C,) in (0, 1)."""
        return self._excite(F.relu(self._squeeze(means))).sigmoid_()


class EncoderCell:
    """See ``cells.EncoderCell``.

    :param edge: Rows and columns of its features.
    """

    def __init__(self, cell: cells.EncoderCell, edge: int):
        self._conv_0 = NormedConvolution(cell.conv_0.weight, edge)
        self._conv_1 = NormedConvolution(cell.conv_1.weight, edge, cell.conv_1.bias)
        self._gate = Gate(cell.gate)

    def __call__(self, x: Tensor) -> Tensor:
        """(1, C, H, W) -> the same shape, in the place of ``x``."""
        h = self._conv_1(self._conv_0(x), spare=True)
        features = rows(x)
        features.addcmul_(rows(h), across(self._gate(channel_means(h)), features))
        return x


class DecoderCell:
    """See ``cells.DecoderCell``.

    The wide features are computed part by part: nothing mixes their channels before the last convolution, and a part
    needs less memory and stays closer to the processor.

    :param edge: Rows and columns of its features.
    """

    PART = 4_800_000
    """Bytes of a part's features, about."""

    def __init__(self, cell: cells.DecoderCell, edge: int):
        wide = cell.widen.out_channels
        parts = max(1, min(-(-4 * wide * edge**2 // self.PART), wide // _LEAST_WIDTH))
        self._parts = [
            (NormedConvolution(widen, edge, activated=False), channels_last(depthwise))
            for widen, depthwise in zip(cell.widen.weight.chunk(parts), cell.depthwise.weight.chunk(parts))
        ]
        self._narrow, self._bias = cell.narrow.weight.flatten(1), cell.narrow.bias
        self._gate = Gate(cell.gate)

    def __call__(self, x: Tensor) -> Tensor:
        """(1, C, H, W) -> the same shape, in the place of ``x``."""
        prepared = self._parts[0][0].prepare(x)
        parts = []
        for widen, depthwise in self._parts:
            h = silu_normalised(widen.convolve(prepared), spare=True)
            parts.append(silu_normalised(depthwise5x5(h, depthwise), spare=True))
        # The gates scale the weights instead of the features, six times as wide as x and at full size.
        gated = self._narrow * self._gate(torch.cat([channel_means(part) for part in parts]))
        for part, weight in zip(parts, gated.split([part.shape[1] for part in parts], 1)):
            pixels(x).addmm_(pixels(part), weight.t())
        features = rows(x)
        features.add_(across(self._bias, features))
        return x


class Expert:
    """See ``cells.Expert``.

    Its first convolution is the sum of one over the decoder's features and one over an input's skip, since instance
    norm and SiLU treat each channel alone: the first is shared by all inputs, the second by all samples.

    :param edge: Rows and columns of its features.
    """

    def __init__(self, expert: cells.Expert, edge: int):
        halves = expert.conv_0.weight.split(expert.conv_1.in_channels, 1)
        self._shared, self._own = (NormedConvolution(half, edge) for half in halves)
        self._conv_1 = NormedConvolution(expert.conv_1.weight, edge, expert.conv_1.bias)
        self._project, self._gate = unclamped(expert.project.weight.flatten(1)), Gate(expert.gate)

    def of_features(self, h: Tensor) -> Tensor:
        """Return what the decoder's features, (1, C, H, W), add to the first convolution of every input."""
        return self._shared(h)

    def of_skip(self, skip: Tensor) -> Tensor:
        """Return what an input's skip, (1, C, H, W), adds to its first convolution."""
        return self._own(skip)

    def __call__(self, of_features: Tensor, of_skip: Tensor) -> Tensor:
        """Return the Gaussian as ``gaussians.draw`` takes it, (C, H W)."""
        h = self._conv_1(of_features + of_skip, spare=True)
        return (self._project * self._gate(channel_means(h))) @ pixels(h).t()


class ImageDecoder:
    """See ``cells.ImageDecoder``.

    :param edge: Rows and columns of a slice.
    """

    def __init__(self, decoder: cells.ImageDecoder, edge: int):
        self._edge, self._adapt = edge, None
        if isinstance(decoder.adapt, torch.nn.Conv2d):
            self._adapt = decoder.adapt.weight.flatten(1).t().contiguous(), decoder.adapt.bias
        self._blocks = [
            tuple(TiledConvolution(conv.weight, edge) for conv in (block.conv_0, block.conv_1))
            for block in decoder.blocks
        ]
        self._conv = TiledConvolution(decoder.conv.weight, edge)
        self._image = TiledConvolution(decoder.image.weight, edge, decoder.image.bias)

    def __call__(self, z: Tensor) -> Tensor:
        """(1, C, S, S) -> (1, 1, S, S) in (-1, 1)."""
        h = pixels(z)
        if self._adapt is not None:
            h = torch.addmm(self._adapt[1], h, self._adapt[0])
        h = self._residual_blocks(image(h, self._edge, self._edge))
        h = self._conv(h)
        wide = Bordered(h.shape[1], self._edge, 3, h)
        self._normalise_into(h, wide)
        F.leaky_relu(wide.whole, 0.2, inplace=True)
        return self._image(wide.mirror()).tanh_()

    def _residual_blocks(self, x: Tensor) -> Tensor:
        """Return the result with a border of 3 for the 7x7 convolution behind it."""
        kept, inner, result = (Bordered(x.shape[1], self._edge, border, x) for border in (1, 1, 3))
        kept.rows.copy_(x.permute(0, 2, 3, 1).reshape(self._edge, -1))
        for conv_0, conv_1 in self._blocks:
            self._normalise_into(conv_0(kept.mirror()), inner)
            F.relu(inner.rows, inplace=True)
            self._add_normalised(conv_1(inner.mirror()), kept)
        result.rows.copy_(kept.rows)
        return result.mirror()

    def _normalise_into(self, x: Tensor, place: Bordered) -> None:
        normalise_into(place.rows, self._matrix(x), x.shape[1])

    def _add_normalised(self, x: Tensor, place: Bordered) -> None:
        source = self._matrix(x)
        scale, shift = (across(row, source) for row in scale_and_shift(source, x.shape[1]))
        place.rows.addcmul_(source, scale).add_(shift)

    def _matrix(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).view(self._edge, -1)
