"""3x3 convolutions of many channels in 4/9 of the multiplications.

Two by two outputs of a 3x3 convolution come from a tile of four by four inputs with sixteen products instead of
thirty-six: F(2x2, 3x3) of Lavin and Gray, "Fast algorithms for convolutional neural networks" (CVPR 2016). Each product
is a matrix product over all tiles and channels. Sums are nine times shorter than in a direct convolution, and float32
loses less in them; larger tiles would save more and lose too much.
"""

import torch
from torch import Tensor

_LEAST_CHANNELS = 64
_EDGES = range(8, 50)


def pays(weight: Tensor, edge: int) -> bool:
    """Return whether images of ``edge`` rows are computed faster this way; the same for all parts of a weight.

    With few channels or large images the sums before and after the products take longer than is saved, and on the
    smallest images the transformed weights do, which are nearly twice as large.
    """
    return weight.shape[1] >= _LEAST_CHANNELS and edge in _EDGES and edge % 2 == 0


class WinogradConvolution:
    """A 3x3 convolution, stride 1, of one image with an even number of rows and columns.

    :param weight: (D, C, 3, 3).
    """

    def __init__(self, weight: Tensor):
        g = weight.new_tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], dtype=torch.float64)
        outputs, inputs = weight.shape[:2]
        # Along columns first, then along rows: the order in which the transforms below leave their sixteen parts.
        transformed = torch.einsum("ai,bj,dcij->bacd", g, g, weight.double())
        self._weight = transformed.reshape(16, inputs, outputs).to(weight.dtype)

    def __call__(self, padded: Tensor) -> Tensor:
        """(H + 2, W + 2, C) -> (1, D, H, W), channels-last."""
        height, width = padded.shape[0] - 2, padded.shape[1] - 2
        tiles = _tiles(padded).view(16, height * width // 4, -1)
        products = torch.bmm(tiles, self._weight).view(4, 4, height // 2, width // 2, -1)
        return _image(products).view(1, height, width, -1).permute(0, 3, 1, 2)


def _tiles(padded: Tensor) -> Tensor:
    """(H + 2, W + 2, C) -> sixteen transformed inputs of each tile, (4, 4, H/2, W/2, C)."""
    rows, columns, channels = padded.shape
    down, right = rows // 2 - 1, columns // 2 - 1
    halves = padded.new_empty(4, down, columns, channels)
    _transform(padded.view(rows, columns * channels), halves.view(4, down, -1))
    tiles = padded.new_empty(4, 4, down, right, channels)
    _transform(halves.permute(2, 0, 1, 3), tiles.permute(0, 3, 1, 2, 4))
    return tiles


def _transform(lines: Tensor, out: Tensor) -> None:
    """Combine lines 2 t ... 2 t + 3 of ``lines``, (2 n + 2, ...), into ``out``, (4, n, ...)."""
    first, second, third, fourth = lines[:-2:2], lines[1:-1:2], lines[2::2], lines[3::2]
    torch.sub(first, third, out=out[0])
    torch.add(second, third, out=out[1])
    torch.sub(third, second, out=out[2])
    torch.sub(second, fourth, out=out[3])


def _image(products: Tensor) -> Tensor:
    """(4, 4, H/2, W/2, D) -> the image as (H/2, 2, W/2, 2, D)."""
    _, _, down, right, channels = products.shape
    halves = products.new_empty(2, 4, down, right, channels)
    _combine(products, halves)
    image = products.new_empty(down, 2, right, 2, channels)
    _combine(halves.transpose(0, 1), image.permute(1, 3, 0, 2, 4))
    return image


def _combine(products: Tensor, out: Tensor) -> None:
    """Combine four products into two neighbouring outputs."""
    torch.add(products[0], products[1], out=out[0]).add_(products[2])
    torch.sub(products[1], products[2], out=out[1]).sub_(products[3])
