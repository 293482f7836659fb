"""Which inputs have a say where: one that shows only a part of the field speaks of that part alone.

Not in the paper, whose inputs all cover the field: there an input is given or missing as a whole, here place by place.
"""

from typing import List, Mapping, Optional, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

Shares = List[Optional[Tensor]]
"""For each input, in their order, (B, 1, H, W) of 0 to 1, or None: it covers the field."""


class Coverage:
    """Where the inputs of a batch of slices have a say.

    :param maps: ``{modality: (B, 1, S, S)}``, 1 where an input has a say and 0 where not; one that is not named has it
        everywhere.
    :param field: Where the outputs will show something, (B, 1, S, S), bool: what lies outside counts for nothing.
    """

    def __init__(self, maps: Mapping[str, Tensor], field: Tensor):
        self._maps, self._field = dict(maps), field.to(torch.float32)

    def shares(self, inputs: Sequence[str], edge: int) -> Shares:
        """Return which share of the field each input covers, pixel by pixel of a latent group of ``edge`` squared."""
        cell = self._field.shape[-1] // edge
        whole = F.avg_pool2d(self._field, cell)
        return [self._share(self._maps[name], cell, whole) if name in self._maps else None for name in inputs]

    def whole(self, name: str) -> Optional[Tensor]:
        """Return in which slices an input covers the field, (B, 1, 1, 1), bool; None: in all, for want of a map."""
        if name not in self._maps:
            return None
        covered = (self._maps[name] > 0) | (self._field == 0)
        return covered.flatten(1).all(1).view(-1, 1, 1, 1)

    def _share(self, cover: Tensor, cell: int, whole: Tensor) -> Tensor:
        share = F.avg_pool2d(self._field * cover, cell) / whole
        return torch.where(whole > 0, share, torch.ones_like(share))


def checked_maps(maps: Mapping[str, Tensor], images: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return maps of where inputs have a say.

    :raises ValueError: when one belongs to no input or has not its shape.
    """
    for name, cover in maps.items():
        if name not in images or cover.shape != images[name].shape:
            raise ValueError(f"the coverage of {name} must have the shape of that input, {tuple(cover.shape)} has not")
    return maps
