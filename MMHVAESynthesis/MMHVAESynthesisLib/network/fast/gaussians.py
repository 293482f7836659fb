"""Products of experts and their samples, in half the operations of ``network.gaussians``.

A Gaussian is one matrix (2C, N): locations above log-scales, both before the soft clamp 10 tanh(x / 10) and both times
2 / 10. That factor is folded into the weights that make them (:func:`unclamped`), and leaves tanh(y / 2) to compute,
which is 2 sigmoid(y) - 1. The sigmoid takes a sixth of the time of tanh; its error of 1e-6 at most matters little in
the logarithm of a scale, and so is taken there and not in locations.
"""

from typing import List, Optional, Sequence, Tuple

import torch
from torch import Tensor

_BOUND = 10.0


def unclamped(weights: Tensor) -> Tensor:
    """Return weights (or biases) of a layer whose outputs are soft-clamped, so that it makes a Gaussian as above."""
    return weights * (2 / _BOUND)


def draw(
    prior: Optional[Tensor],
    experts: List[Tensor],
    noise: Tensor,
    temperature: float,
    power: int,
    shares: Sequence[Optional[Tensor]] = (),
) -> Tensor:
    """Draw from the product of a prior and experts (Dorent et al. 2025, eq. 14).

    :param prior: None is N(0, 1). It is overwritten, as are the experts.
    :param experts: At least one.
    :param noise: Standard normal, (C, N).
    :param power: 1 weighs by 1 / scale, as released; 2 by 1 / scale^2, as the paper.
    :param shares: For each expert the share of the field that its input covers, (1, N); see ``network.coverage``.
    :return: (C, N).
    """
    if prior is None:
        prior = torch.zeros_like(experts[0])
    partly = any(share is not None for share in shares)
    if len(experts) == 1 and not partly:
        return _draw_from_two(prior, experts[0], noise, temperature, power)
    return _draw_from_many([prior, *experts], noise, temperature, power, [None, *shares] if partly else ())


def location(gaussian: Tensor) -> Tensor:
    """Return the soft-clamped location of a Gaussian as (C, N)."""
    return (gaussian.chunk(2)[0] / 2).tanh_().mul_(_BOUND)


def _parts(gaussian: Tensor) -> Tuple[Tensor, Tensor]:
    """Return location / 10 and (log-scale / 10 + 1) / 2, in its place."""
    loc, log = gaussian.chunk(2)
    return loc.div_(2).tanh_(), log.sigmoid_()


def _log_scale(part: Tensor, factor: float) -> Tensor:
    """Return ``factor`` times the log-scale of what :func:`_parts` returned, in its place."""
    return part.mul_(2 * factor * _BOUND).sub_(factor * _BOUND)


def _draw_from_two(prior: Tensor, expert: Tensor, noise: Tensor, temperature: float, power: int) -> Tensor:
    """Draw where there is one input.

    With w = scale^-power the expert's share in the location is w_e / (w_p + w_e) = sigmoid(log w_e - log w_p), and the
    product's scale is the expert's times share^(1 / power).
    """
    (loc_p, log_p), (loc_e, log_e) = _parts(prior), _parts(expert)
    share = log_p.sub_(log_e).mul_(2 * power * _BOUND).sigmoid_()
    z = torch.lerp(loc_p, loc_e, share).mul_(_BOUND)
    if temperature == 0:
        return z
    root = share if power == 1 else share.sqrt_()
    return z.add_(_log_scale(log_e, 1).exp_().mul_(root).mul_(noise), alpha=temperature)


def _draw_from_many(
    gaussians: List[Tensor], noise: Tensor, temperature: float, power: int, shares: Sequence[Optional[Tensor]]
) -> Tensor:
    total = weighted = None
    for place, gaussian in enumerate(gaussians):
        loc, log = _parts(gaussian)
        weight = _log_scale(log, -power).exp_()
        if shares and shares[place] is not None:
            weight.mul_(shares[place])
        if total is None:
            total, weighted = weight, loc.mul_(weight)
        else:
            weighted.addcmul_(loc, weight)
            total.add_(weight)
    z = weighted.div_(total).mul_(_BOUND)
    if temperature == 0:
        return z
    scale = total.reciprocal_() if power == 1 else total.rsqrt_()
    return z.add_(scale.mul_(noise), alpha=temperature)
