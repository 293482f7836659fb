"""Begin a wide network from the weights of a narrow one, so that it computes at first what the narrow one did.

After Chen, Goodfellow, Shlens, "Net2Net", ICLR 2016: but new channels are random, and what was there does not listen to
them yet. Their weights get gradients from the first step on, and no symmetry has to be broken.
"""

import dataclasses
from typing import Dict, Mapping

import torch
from torch import Tensor

from ..network.sizes import NetworkSizes

_WIDTHS = ("base_features", "max_features")

_HALVES = (".project.", ".prior.", "coarsest.down.")
"""Parts of the names of those layers whose outputs are locations and, behind them, log-scales."""


def can_widen(narrow: NetworkSizes, wide: NetworkSizes) -> bool:
    """Return whether :func:`widened` can begin ``wide`` from ``narrow``: none of its widths smaller, the rest equal.

    What no weight depends on may differ.
    The image decoders must agree on whether a 1x1 convolution stands in front (network.md: where their width is not
    b/2), since what it does has no other place.
    """
    widths = {name: getattr(wide, name) for name in _WIDTHS}
    return (
        dataclasses.replace(narrow, **widths, reconstruction=wide.reconstruction) == wide
        and all(getattr(narrow, name) <= width for name, width in widths.items())
        and _has_adapter(narrow) == _has_adapter(wide)
        and (_has_adapter(narrow) or narrow.base_features == wide.base_features)
    )


def _has_adapter(sizes: NetworkSizes) -> bool:
    return sizes.base_features // 2 != sizes.decoder_features


def widened(
    narrow: Mapping[str, Tensor], narrow_sizes: NetworkSizes, fresh: Mapping[str, Tensor], sizes: NetworkSizes
) -> Dict[str, Tensor]:
    """Return weights of a wide network that gives the same Gaussians and images as the narrow one.

    Locations and scales of all channels that the narrow network has are the same to rounding; so are the images at
    temperature 0, and at others where those channels get the same noise.

    :param narrow: State dict of the narrow network, of ``narrow_sizes``.
    :param fresh: State dict of a wide network with random weights, of ``sizes``: what new channels begin with.
    :raises ValueError: when the sizes cannot be reached, see :func:`can_widen`.
    """
    if not can_widen(narrow_sizes, sizes):
        raise ValueError(f"{narrow_sizes} cannot be widened to {sizes}")
    return {name: _placed(name, narrow[name], tensor, sizes) for name, tensor in fresh.items()}


def _placed(name: str, old: Tensor, fresh: Tensor, sizes: NetworkSizes) -> Tensor:
    """Return the wide tensor: old outputs hear old inputs alone, new outputs keep their random weights."""
    sources = len(sizes.modalities) if sizes.fusion == "zero_fill" else 1
    wide = fresh.clone()
    rows = _places(old.shape[0], fresh.shape[0], 2 if any(part in name for part in _HALVES) else 1)
    if old.ndim < 2:
        wide[rows] = old.to(wide)
        return wide
    parts = 1
    if ".expert.conv_0." in name:
        parts += sources
    elif "coarsest.down." in name and not name.endswith("original0"):  # gains have one column
        parts = sources
    columns = _places(old.shape[1], fresh.shape[1], parts)
    wide[rows] = 0
    wide[rows[:, None], columns[None, :]] = old.to(wide)
    return wide


def _places(old: int, wide: int, parts: int) -> Tensor:
    """Return where the ``old`` channels, ``parts`` groups of equal size, lie among the ``wide`` ones.

    >>> _places(4, 6, 2).tolist()
    [0, 1, 3, 4]
    """
    return torch.cat([torch.arange(old // parts) + part * (wide // parts) for part in range(parts)])
