"""Validation during training: PSNR of each pair of input and target on fixed held-out slices, and pictures."""

import dataclasses
import logging
import math
from pathlib import Path
from typing import Dict, List, Sequence, Set, Tuple

import numpy as np

from ..errors import InputError
from ..modalities import US
from ..network.model import MMHVAE
from .batches import Batch, BatchSource, source
from .cases import Case
from .config import TrainingConfig
from .pictures import save_grid, synthesis
from .psnr import counts, psnr, to_8bit
from .running import run

log = logging.getLogger(__name__)

_BATCHES = 4
_SEED = 4711
ALL, OTHERS = "all", "others"


class Validation:
    """Fixed slices of the held-out cases, the same in every run of a configuration.

    A few batches; of blocks, each of which shows one case, more where those lack a modality that the cases have.

    :param cases: The held-out cases; with none there is nothing to validate on.
    """

    def __init__(self, cases: Sequence[Case], config: TrainingConfig):
        self._modalities = config.sizes.modalities
        self._paired = _fixed(cases, config, "sweep")
        self._real = _fixed([case for case in cases if case.modalities == (US,)], config, "us")

    def psnr(self, network: MMHVAE) -> Dict[str, float]:
        """Return the mean PSNR, dB, for each input alone (``t2>flair``) and for all together (``all>flair``).

        Where what is given is drawn from itself, for all others in the place of all (``others>flair``).
        """
        own = network.sizes.reconstruction == "own"
        values: Dict[str, List[float]] = {}
        for number, batch in enumerate(self._paired):
            for name, inputs, targets in _sets(batch, own):
                images = run(network, batch, inputs, number, targets=targets).images
                for target in targets:
                    scores = _scores(batch.targets[target], images[target])
                    values.setdefault(f"{name}>{target}", []).extend(scores)
        return {pair: float(np.mean(scores)) for pair, scores in values.items() if scores}

    def picture(self, network: MMHVAE, path: Path) -> None:
        """Write a PNG: rows of held-out slices, simulated iUS (targets under the outputs), then real iUS.

        The first column is the iUS, the others are all outputs from it alone.
        """
        rows = []
        for number, batch in enumerate(self._paired[:2] + self._real[:2]):
            if US in batch.inputs:
                rows += synthesis(network, batch, range(min(batch.size, 2)), (US,), number)
        if rows:
            save_grid(rows, path)


def _fixed(cases: Sequence[Case], config: TrainingConfig, kind: str) -> List[Batch]:
    data = dataclasses.replace(config.data, augment=0.0, cysts=0.0, kinds={kind: 1.0})
    fixed = dataclasses.replace(config, data=data, seed=_SEED)
    try:
        batches = source(list(cases), fixed)
    except InputError:
        log.info("No validation on %s slices: no case that is held out has what they need.", kind)
        return []
    found = [batches.batch(index) for index in range(_BATCHES)]
    if data.sampling == "blocks":
        present = {name for case in cases for name in case.modalities if name in config.sizes.modalities}
        found += _with_the_rest(batches, present - {name for batch in found for name in batch.targets}, len(cases))
    return found


def _with_the_rest(batches: BatchSource, missing: Set[str], cases: int) -> List[Batch]:
    """Return those of the batches after the first ones, up to number ``cases``, that show a modality still missing."""
    more: List[Batch] = []
    for index in range(_BATCHES, cases):
        if not missing:
            break
        batch = batches.batch(index)
        if missing & set(batch.targets):
            more.append(batch)
            missing = missing - set(batch.targets)
    return more


def _sets(batch: Batch, own: bool) -> List[Tuple[str, Tuple[str, ...], Tuple[str, ...]]]:
    """Return what is validated: the name of a set of inputs, the inputs, and the targets from them."""
    inputs, targets = tuple(batch.inputs), tuple(batch.targets)
    found = [(name, (name,), targets) for name in inputs]
    if len(inputs) > 1 and not own:
        found.append((ALL, inputs, targets))
    if len(inputs) > 2 and own:
        found += [(OTHERS, tuple(name for name in inputs if name != target), (target,)) for target in targets]
    return found


def _scores(targets: np.ndarray, images: np.ndarray) -> List[float]:
    pairs = [(to_8bit(target[0]), to_8bit(image[0])) for target, image in zip(targets, images)]
    return [value for value in (psnr(*pair) for pair in pairs if counts(pair[0])) if math.isfinite(value)]
