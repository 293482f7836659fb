"""Batches of slices: blocks of one case as published, or random crops; prepared in the background."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Callable, Deque, Dict, List, Protocol, Sequence, Tuple

import numpy as np

from ..errors import InputError
from ..modalities import US
from ..volumes.preparation import filled
from .cases import Case, harmonised, intensity_range
from .config import TrainingConfig


@dataclass(frozen=True)
class Batch:
    """Slices of one or more cases that have the same modalities O.

    :param inputs: ``{modality: (B, 1, S, S)}`` float32, in the network's range, -1 outside.
    :param targets: The same modalities, MR harmonised, iUS the input itself.
    :param cases: Names of the cases.
    :param whole_field: Whether the MR keeps its whole field, not cut to a sweep's.
    """

    inputs: Dict[str, np.ndarray]
    targets: Dict[str, np.ndarray]
    cases: Tuple[str, ...]
    whole_field: bool = False

    @property
    def size(self) -> int:
        """B."""
        return next(iter(self.inputs.values())).shape[0]


class BatchSource(Protocol):
    """Makes batch ``index`` from the configuration's seed and ``index`` alone, so that a run can be resumed exactly."""

    epoch_batches: int

    def batch(self, index: int) -> Batch:
        """Return batch ``index``, 0, 1, ..."""


class Blocks:
    """Consecutive slices of one case, all its modalities on one grid, flipped along I half the time: as published.

    In-plane the field is cropped or padded about the centre of the iUS (or of the first modality) to S x S; MR is set
    to 0 outside the iUS's field of view; intensity ranges are those of what remains (preprocessing.md).
    """

    def __init__(self, cases: Sequence[Case], config: TrainingConfig):
        self._config = config
        self._cases = [_framed(case, config) for case in cases]
        self.epoch_batches = config.epoch_batches or len(self._cases)

    def batch(self, index: int) -> Batch:
        """Return batch ``index``: every case once in ``len(cases)`` batches, in an order drawn anew each time."""
        seed = self._config.seed
        turn, place = divmod(index, len(self._cases))
        case = self._cases[np.random.default_rng([seed, turn]).permutation(len(self._cases))[place]]
        rng = np.random.default_rng([seed, index, 1])
        planes = case.shape[0]
        start = int(rng.integers(0, max(planes - self._config.data.slices, 0) + 1))
        block = slice(start, start + self._config.data.slices)
        flip = -1 if rng.random() < 0.5 else 1
        inputs, targets = {}, {}
        for modality, volume in case.volumes.items():
            values = np.ascontiguousarray(volume[block].transpose(0, 2, 1)[:, None, ::flip])
            inputs[modality] = case.ranges[modality].to_network(values)
            targets[modality] = inputs[modality] if modality == US else _target(values, case, modality, self._config)
        return Batch(inputs, targets, (case.name,), US not in case.volumes)


def _target(values: np.ndarray, case: Case, modality: str, config: TrainingConfig) -> np.ndarray:
    return harmonised(values, case.white_matter[modality], config.data.white_matter[modality])


def _framed(case: Case, config: TrainingConfig) -> Case:
    """Return the case in S x S in-plane, planes that are empty in the reference dropped, MR cut to the iUS's field."""
    size = config.sizes.size
    wanted = {name: case.volumes[name] for name in case.modalities if name in config.sizes.modalities}
    reference = wanted[US if US in wanted else next(iter(wanted))]
    occupied = [np.flatnonzero(reference.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    planes = slice(occupied[0][0], occupied[0][-1] + 1)
    rows, columns = ((axis[0] + axis[-1] + 1) // 2 - size // 2 for axis in occupied[1:])
    volumes = {
        name: window(volume[planes], (0, rows, columns), (planes.stop - planes.start, size, size))
        for name, volume in wanted.items()
    }
    if US in volumes:
        field = np.stack([filled(plane > 0) for plane in volumes[US]])
        volumes = {name: volume if name == US else np.where(field, volume, 0) for name, volume in volumes.items()}
    ranges = {name: intensity_range(volume) for name, volume in volumes.items()}
    kept = {name: volume for name, volume in volumes.items() if ranges[name] is not None}
    return Case(case.name, case.folder, kept, {name: ranges[name] for name in kept}, case.white_matter)


def window(volume: np.ndarray, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """Return ``volume[start:start + size]`` in each axis, 0 where that lies outside; always a copy."""
    result = np.zeros(tuple(size), volume.dtype)
    source, place = [], []
    for first, count, length in zip(start, size, volume.shape):
        low, high = max(first, 0), min(first + count, length)
        if high <= low:
            return result
        source.append(slice(low, high))
        place.append(slice(low - first, high - first))
    result[tuple(place)] = volume[tuple(source)]
    return result


class Loader:
    """Gives the batches of a source in order, the next ones being prepared in a background thread meanwhile."""

    def __init__(self, source: BatchSource, indices: Callable[[int], int], start: int, ahead: int = 3):
        """Prepare batches ``indices(start)``, ``indices(start + 1)``, ..., at most ``ahead`` at a time."""
        self._source, self._indices, self._next = source, indices, start
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._waiting: Deque[Future] = Deque()
        for _ in range(ahead):
            self._order()

    def _order(self) -> None:
        self._waiting.append(self._pool.submit(self._source.batch, self._indices(self._next)))
        self._next += 1

    def take(self) -> Batch:
        """Return the next batch; raises whatever its preparation raised."""
        self._order()
        return self._waiting.popleft().result()

    def close(self) -> None:
        """Stop preparing."""
        for future in self._waiting:
            future.cancel()
        self._pool.shutdown(wait=True)


def source(cases: List[Case], config: TrainingConfig) -> BatchSource:
    """Return the batches of ``cases`` as the configuration asks.

    :raises InputError: when there is no case to train on.
    """
    from .crops import Crops  # here, because simulation needs more packages than the published protocol

    usable = [case for case in cases if set(case.modalities) & set(config.sizes.modalities)]
    if not usable:
        raise InputError(f"There is no case with any of {', '.join(config.sizes.modalities)} to train on.")
    return Crops(usable, config) if config.data.sampling == "crops" else Blocks(usable, config)
