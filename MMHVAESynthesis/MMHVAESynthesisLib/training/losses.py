"""The terms of the objective (Dorent et al. 2025, eq. 17-19; two are ours), each a plain function of tensors."""

from typing import Dict, Iterable, Mapping, Sequence

import torch
from torch import Tensor

Score = Mapping[str, torch.nn.Module]
"""``{modality: discriminator}``."""

_EXACT = 1e-5
"""Added to a mean square: below it (50 dB) no more is asked for."""


def l1_term(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
    """Return the mean over the modalities of ``targets`` of mean |output - target| / 2, over all pixels."""
    return torch.stack([(outputs[name] - target).abs().mean() / 2 for name, target in targets.items()]).mean()


def l2_term(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
    """Return the mean over the modalities of ``targets`` of mean ((output - target) / 2)^2, over all pixels.

    Not in the paper. L1 alone asks for the median: where an input tells little, the commonest grey, without a trace of
    what is only likely. The square asks for the mean, in which it shows.
    """
    return torch.stack([((outputs[name] - target) / 2).square().mean() for name, target in targets.items()]).mean()


def given_term(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], seen: Sequence[str]) -> Tensor:
    """Return the logarithm of the error of the targets among the inputs ``seen``; 0 where none is.

    It is that of a slice's root mean square of (output - target) / 2, the mean over slices, summed over these targets
    and divided by the number of all: less by 0.115 for each dB of PSNR. Not in the paper. What is given can come back
    exactly, however many other inputs there are; beside errors of what has to be guessed, ten times as large, L1 and
    the square would hardly ask for it, least of all in slices that come back well already.
    """
    parts = [_log_error(outputs[name], target).mean() for name, target in targets.items() if name in seen]
    return torch.stack(parts).sum() / len(targets) if parts else next(iter(targets.values())).new_zeros(())


def _log_error(output: Tensor, target: Tensor) -> Tensor:
    squares = ((output - target) / 2).square().mean((1, 2, 3))
    return torch.log(squares + _EXACT) / 2


def kl_term(kl: Sequence[Tensor], pixels: int, modalities: int) -> Tensor:
    """Return the sum of all levels' KL estimates over (pixels * modalities); ``pixels`` counts batch, rows, columns."""
    return torch.stack(list(kl)).sum() / (pixels * modalities)


def generator_term(outputs: Mapping[str, Tensor], discriminators: Score) -> Tensor:
    """Return the mean over all modalities of mean (D(output) - 1)^2: how far outputs are from being taken for real."""
    return torch.stack([((discriminators[name](image) - 1) ** 2).mean() for name, image in outputs.items()]).mean()


def discriminator_term(real: Tensor, fake: Tensor, discriminator: torch.nn.Module) -> Tensor:
    """Return mean (D(real) - 1)^2 + mean D(fake)^2 of one modality."""
    return ((discriminator(real) - 1) ** 2).mean() + (discriminator(fake) ** 2).mean()


def fakes(passes: Iterable, modalities: Sequence[str]) -> Dict[str, Tensor]:
    """Return, for each modality, the detached outputs of the passes that did not see it, one behind the other.

    :param passes: ``(inputs, outputs)`` of each pass: the modalities seen, ``{modality: (B, 1, S, S)}``.
    :return: ``{modality: (n B, 1, S, S)}``; a modality that every pass saw has no fakes and is not in it.
    """
    done = list(passes)
    found = {name: [outputs[name].detach() for inputs, outputs in done if name not in inputs] for name in modalities}
    return {name: torch.cat(images) for name, images in found.items() if images}
