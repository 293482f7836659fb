"""Blocks of consecutive slices of one case: the published way to make batches."""

from typing import Sequence, Tuple

import numpy as np

from ..errors import InputError
from ..modalities import US
from ..volumes.cover import filled
from .batches import Batch, window
from .cases import Case, harmonised, intensity_range
from .config import DataConfig, TrainingConfig


class Blocks:
    """Consecutive slices of one case, all its modalities on one grid, flipped along I half the time: as published.

    In-plane the field is cropped or padded about the centre of the iUS (or of the first modality) to S x S; MR is set
    to 0 outside the iUS's field of view; intensity ranges are those of what remains (preprocessing.md).
    """

    def __init__(self, cases: Sequence[Case], config: TrainingConfig):
        self._config = config
        self._cases = [framed(case, config) for case in cases]
        self.names = sorted({case.name for case in cases})
        self.epoch_batches = config.epoch_batches or len(self._cases)

    def batch(self, index: int) -> Batch:
        """Return batch ``index``: every case once in ``len(cases)`` batches, in an order drawn anew each time."""
        seed = self._config.seed
        turn, place = divmod(index, len(self._cases))
        case = self._cases[np.random.default_rng([seed, turn]).permutation(len(self._cases))[place]]
        rng = np.random.default_rng([seed, index, 1])
        planes = case.shape[0]
        start = int(rng.integers(0, max(planes - self._config.data.slices, 0) + 1))
        count = min(self._config.data.slices, planes)
        return block(case, range(start, start + count), self._config.data, flipped=rng.random() < 0.5)


def block(case: Case, planes: Sequence[int], data: DataConfig, flipped: bool = False) -> Batch:
    """Return some planes of a framed case as a batch: rows along I, columns along J.

    :param flipped: Mirror all along I.
    """
    step = -1 if flipped else 1
    inputs, targets = {}, {}
    for name, volume in case.volumes.items():
        values = np.ascontiguousarray(volume[list(planes)].transpose(0, 2, 1)[:, None, ::step])
        inputs[name] = case.ranges[name].to_network(values)
        if name == US:
            targets[name] = inputs[name]
        else:
            targets[name] = harmonised(values, case.white_matter[name], data.white_matter[name])
    return Batch(inputs, targets, (case.name,), US not in case.volumes)


def frame(reference: np.ndarray, size: int) -> Tuple[Tuple[int, ...], Tuple[int, ...]]:
    """Return start and size, (k, j, i), of the window of ``size`` in-plane about the middle of what is above 0."""
    occupied = [np.flatnonzero((reference > 0).any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    first, last = int(occupied[0][0]), int(occupied[0][-1])
    rows, columns = (int(axis[0] + axis[-1] + 1) // 2 - size // 2 for axis in occupied[1:])
    return (first, rows, columns), (last + 1 - first, size, size)


def framed(case: Case, config: TrainingConfig) -> Case:
    """Return the case in S x S in-plane, planes that are empty in the reference dropped, MR cut to the iUS's field.

    The reference is the iUS, without it the first modality. A modality of which nothing remains is dropped.

    :raises InputError: when nothing remains of any.
    """
    wanted = {name: case.volumes[name] for name in case.modalities if name in config.sizes.modalities}
    place = frame(wanted[US if US in wanted else next(iter(wanted))], config.sizes.size)
    volumes = {name: window(volume, *place) for name, volume in wanted.items()}
    if US in volumes:
        field = np.stack([filled(plane > 0) for plane in volumes[US]])
        volumes = {name: volume if name == US else np.where(field, volume, 0) for name, volume in volumes.items()}
    ranges = {name: intensity_range(volume) for name, volume in volumes.items()}
    kept = {name: volume for name, volume in volumes.items() if ranges[name] is not None}
    if not kept:
        raise InputError(
            f"{case.name} shows nothing in the {config.sizes.size} x {config.sizes.size} pixels about its middle: "
            "leave the case out."
        )
    return Case(case.name, case.folder, kept, {name: ranges[name] for name in kept}, case.white_matter)
