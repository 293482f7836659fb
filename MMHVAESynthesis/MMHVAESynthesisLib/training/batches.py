"""Batches of slices, prepared in the background."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Callable, Deque, Dict, List, Protocol, Sequence, Tuple

import numpy as np

from ..errors import InputError
from .cases import Case
from .config import TrainingConfig

_AHEAD = 3
"""Batches that are prepared before they are asked for."""


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
    names: List[str]
    """Of the cases that come up."""

    def batch(self, index: int) -> Batch:
        """Return batch ``index``, 0, 1, ..."""


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

    def __init__(self, source: BatchSource, indices: Callable[[int], int], start: int):
        """Prepare batches ``indices(start)``, ``indices(start + 1)``, ..., a few at a time."""
        self._source, self._indices, self._next = source, indices, start
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._waiting: Deque[Future] = Deque()
        for _ in range(_AHEAD):
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
    # Here, because both need Batch from this file.
    from .blocks import Blocks
    from .crops import Crops

    usable = [case for case in cases if set(case.modalities) & set(config.sizes.modalities)]
    if not usable:
        raise InputError(f"There is no case with any of {', '.join(config.sizes.modalities)} to train on.")
    return Crops(usable, config) if config.data.sampling == "crops" else Blocks(usable, config)
