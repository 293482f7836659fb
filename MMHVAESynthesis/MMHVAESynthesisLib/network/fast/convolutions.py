"""Convolutions of one slice in channels-last order."""

from typing import Optional, Tuple

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .layout import channels_last
from .norms import normalise_into, normalised, silu_normalised
from .winograd import WinogradConvolution, pays

_LANES = 16
"""Floats that a processor multiplies at once, at best: fewer output channels leave some of them idle."""


def conv3x3(x: Tensor, weight: Tensor, bias: Optional[Tensor] = None, stride: int = 1) -> Tensor:
    """Convolve (1, C, H, W), channels-last, zeros around it."""
    return channels_last(F.conv2d(x, weight, bias, stride, 1))


def depthwise5x5(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve each channel with its own kernel, zeros around it."""
    return channels_last(F.conv2d(x, weight, None, 1, 2, 1, x.shape[1]))


def doubled(x: Tensor) -> Tensor:
    """Return (1, C, H, W) at twice the size, bilinear."""
    return channels_last(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))


class NormedConvolution:
    """A 3x3 convolution, zeros around it, of the instance norm of an image, or of SiLU of that.

    :param weight: (D, C, 3, 3).
    :param edge: Rows and columns of the images.
    :param activated: Whether SiLU comes in between.
    """

    def __init__(self, weight: Tensor, edge: int, bias: Optional[Tensor] = None, activated: bool = True):
        self._bias, self._activated = bias, activated
        self._winograd = WinogradConvolution(weight) if pays(weight, edge) else None
        self._weight = None if self._winograd else channels_last(weight)

    def __call__(self, x: Tensor, spare: bool = False) -> Tensor:
        """(1, C, H, W) -> (1, D, H, W), both channels-last.

        :param spare: Whether ``x`` may be overwritten.
        """
        return self.convolve(self.prepare(x, spare))

    def prepare(self, x: Tensor, spare: bool = False) -> Tensor:
        """Return what is to be convolved; convolutions of the same kind and inputs can share it."""
        if self._winograd is not None:
            return self._padded(x)
        return silu_normalised(x, spare) if self._activated else normalised(x)

    def convolve(self, prepared: Tensor) -> Tensor:
        """Return the convolution of what :meth:`prepare` returned, (1, D, H, W)."""
        if self._winograd is None:
            return conv3x3(prepared, self._weight, self._bias)
        result = self._winograd(prepared)
        return result if self._bias is None else result.add_(self._bias.view(1, -1, 1, 1))

    def _padded(self, x: Tensor) -> Tensor:
        """Return what is to be convolved with a border of zeros, which SiLU leaves as it is, (H + 2, W + 2, C)."""
        channels, height, width = x.shape[1:]
        padded = x.new_zeros(height + 2, width + 2, channels)
        inner = padded.view(height + 2, -1)[1:-1, channels:-channels]
        normalise_into(inner, x.permute(0, 2, 3, 1).view(height, -1), channels)
        return F.silu(padded, inplace=True) if self._activated else padded


class HalvingConvolution:
    """A 3x3 convolution with stride 2, zeros around it, of features that no norm stands before.

    It sums over few channels at a time. Long sums lose more digits, and the instance norm behind makes much of that
    where a channel varies little: a quarter of the whole network's error came from here. On the smallest images it
    hardly matters.

    :param weight: (D, C, 3, 3).
    :param edge: Rows and columns of the images.
    """

    CHANNELS = 16
    LEAST_EDGE = 24

    def __init__(self, weight: Tensor, bias: Tensor, edge: int):
        self._channels = self.CHANNELS if edge >= self.LEAST_EDGE else weight.shape[1]
        self._weights = [channels_last(part) for part in weight.split(self._channels, 1)]
        self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        """(1, C, H, W) -> (1, D, H/2, W/2), both channels-last."""
        first, *others = (channels_last(part) for part in x.split(self._channels, 1))
        result = conv3x3(first, self._weights[0], self._bias, stride=2)
        for part, weight in zip(others, self._weights[1:]):
            result.add_(conv3x3(part, weight, stride=2))
        return result


class TiledConvolution:
    """A convolution with few output channels that computes the pixels of a tile as channels of a strided one.

    The kernel grows by the tile's size less one, and most of it is zeros, but no lane of the processor is idle: twice
    as fast for 8 to 8 channels, six times for 8 to 1.

    :param weight: (D, C, k, k).
    :param edge: Rows and columns of the images.
    """

    def __init__(self, weight: Tensor, edge: int, bias: Optional[Tensor] = None):
        outputs, inputs, height, width = weight.shape
        self.outputs, self.tile = outputs, _tile(outputs, edge)
        down, right = self.tile
        wide = weight.new_zeros(down * right, outputs, inputs, height + down - 1, width + right - 1)
        for position in range(down * right):
            i, j = divmod(position, right)
            wide[position, :, :, i : i + height, j : j + width] = weight
        self._weight = channels_last(wide.flatten(0, 1))
        self._bias = None if bias is None else bias.repeat(down * right)

    def __call__(self, padded: Tensor) -> Tensor:
        """(1, C, H + k - 1, W + k - 1) -> (1, D, H, W), channels-last."""
        down, right = self.tile
        tiles = channels_last(F.conv2d(padded, self._weight, self._bias, self.tile))
        rows, columns = tiles.shape[2:]
        # (rows, columns, down, right, outputs) in memory; with one row a tile that is an image already.
        parts = tiles.permute(0, 2, 3, 1).reshape(1, rows, columns, down, right, self.outputs)
        pixels = parts.transpose(2, 3).reshape(1, rows * down, columns * right, self.outputs)
        return pixels.permute(0, 3, 1, 2)


def _tile(outputs: int, edge: int) -> Tuple[int, int]:
    """Return the rows and columns of a tile: in one row, save for a lone channel, while lanes are idle."""
    right = 1
    while 2 * right * outputs <= _LANES and right < 8 and edge % (2 * right) == 0:
        right *= 2
    return (2 if 2 * right * outputs <= _LANES and edge % 2 == 0 else 1), right


class Bordered:
    """An image with a border that mirrors it, kept together so that no convolution has to copy it.

    :param channels: C.
    :param edge: Rows and columns of the image.
    :param border: Pixels on each side.
    """

    def __init__(self, channels: int, edge: int, border: int, like: Tensor):
        whole = edge + 2 * border
        self._pixels, self._border = like.new_empty(whole, whole, channels), border
        self.whole = self._pixels[None].permute(0, 3, 1, 2)
        inner = self._pixels.view(whole, whole * channels)[border : border + edge]
        self.rows = inner[:, border * channels : (border + edge) * channels]
        """The image without its border as a matrix (H, W C); a view."""

    def mirror(self) -> Tensor:
        """Fill the border from the image; return the whole, (1, C, H + 2 border, W + 2 border), channels-last."""
        border, pixels = self._border, self._pixels
        for side in (pixels, pixels.transpose(0, 1)):
            for step in range(1, border + 1):
                side[border - step].copy_(side[border + step])
                side[-1 - border + step].copy_(side[-1 - border - step])
        return self.whole
