"""One plane through the network: tiles, samples, their mean and standard deviation."""

import threading
from dataclasses import dataclass
from typing import Callable, Dict, List, Sequence

import numpy as np

from ..network.sizes import NetworkSizes
from ..request import SynthesisRequest
from ..volumes.cover import uncovered
from ..volumes.grid import Tile
from ..volumes.intensity import BACKGROUND, to_image
from ..volumes.preparation import PreparedCase
from .devices import Resources, is_out_of_memory, out_of_memory, release_memory
from .noise import slice_noise
from .passes import Pass, Shared


@dataclass(frozen=True)
class SynthesizedPlane:
    """A plane of the model's grid, [i, j]: the reference as the network took it, each target's mean and deviation."""

    plane: int
    reference: np.ndarray
    mean: Dict[str, np.ndarray]
    deviation: Dict[str, np.ndarray]


class _Blend:
    """Puts the tiles of one plane together, sample by sample, and keeps their running mean and squared deviations."""

    def __init__(self, plane: int, inputs: Dict[str, np.ndarray], reference: str, targets: Sequence[str], tiles):
        self.plane, self.inputs, self.reference = plane, inputs, inputs[reference]
        self._targets = targets
        # A tile with nothing in it need not go through the network: it is masked in the end.
        self.tiles = [
            (index, tile, weights)
            for index, (tile, weights) in enumerate(tiles)
            if (tile.cut(self.reference) != BACKGROUND).any()
        ]
        self._samples = self._seen = 0
        self._sum = {target: np.zeros_like(self.reference) for target in targets}
        self._mean = {target: np.zeros(self.reference.shape) for target in targets}
        self._squares = {target: np.zeros(self.reference.shape) for target in targets}

    def add(self, tile: Tile, weights: np.ndarray, images: Dict[str, np.ndarray]) -> None:
        """Take one tile, (S, S) in [-1, 1]; after the last tile of a sample the statistics grow by that sample."""
        for target in self._targets:
            part = tile.cut(self._sum[target])
            part += weights * images[target]
        self._seen += 1
        if self._seen % len(self.tiles) == 0:
            self._close_sample()

    def _close_sample(self) -> None:
        self._samples += 1
        for target in self._targets:
            sample = np.where(self.reference == BACKGROUND, BACKGROUND, self._sum[target])
            before = sample - self._mean[target]
            self._mean[target] += before / self._samples
            self._squares[target] += before * (sample - self._mean[target])
            self._sum[target][:] = 0

    def result(self) -> SynthesizedPlane:
        """Return the finished plane; the deviation is the unbiased one (n - 1), 0 for a single sample."""
        mean = {target: to_image(self._mean[target]).astype(np.float32) for target in self._targets}
        free = max(self._samples - 1, 1)
        deviation = {t: (127.5 * np.sqrt(self._squares[t] / free)).astype(np.float32) for t in self._targets}
        return SynthesizedPlane(self.plane, self.reference, mean, deviation)


@dataclass(frozen=True)
class _Item:
    """One pass of the network: a tile of a plane, and which sample."""

    blend: _Blend
    sample: int
    index: int
    tile: Tile
    weights: np.ndarray
    shared: Shared

    @property
    def modalities(self):
        """The inputs that this tile has."""
        return tuple(self.shared.inputs)


def _cut(tile: Tile, inputs: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """Return the tile of each input that shows anything there: to the network nothing is not the same as no input."""
    tiles = {modality: np.ascontiguousarray(tile.cut(image)) for modality, image in inputs.items()}
    return {modality: image for modality, image in tiles.items() if (image != BACKGROUND).any()}


def _gaps(inputs: Dict[str, np.ndarray], reference: str) -> Dict[str, np.ndarray]:
    """Return where the inputs of a plane that do not cover the reference's field show nothing."""
    gaps = {m: uncovered(inputs[reference], image) for m, image in inputs.items() if m != reference}
    return {modality: gap for modality, gap in gaps.items() if gap is not None}


def _shared(tile: Tile, inputs: Dict[str, np.ndarray], gaps: Dict[str, np.ndarray]) -> Shared:
    given = _cut(tile, inputs)
    covers = {m: 1 - np.ascontiguousarray(tile.cut(gap), np.float32) for m, gap in gaps.items() if m in given}
    return Shared(given, {modality: cover for modality, cover in covers.items() if not cover.all()})


class PlaneSynthesizer:
    """Takes planes of a case through the network. Can be called from several threads at once.

    :param passes: Takes passes through the network, see ``passes.passes_through``.
    :param sizes: The network's.
    :param direction: Across which axis the case's slices lie: 0 as stored; each has noise of its own.
    :param stop: Called before each pass; raises to end the work.
    """

    def __init__(
        self,
        passes: Callable[[Sequence[Pass]], Dict[str, np.ndarray]],
        sizes: NetworkSizes,
        case: PreparedCase,
        direction: int,
        request: SynthesisRequest,
        targets: Sequence[str],
        resources: Resources,
        stop: Callable[[], None],
    ):
        self._through, self._sizes = passes, sizes
        self._case, self._direction, self._request, self._targets = case, direction, request, tuple(targets)
        self._resources, self._stop = resources, stop
        self._tiles = case.grid.tiles()
        self._samples = request.draws
        self._batch = resources.batch
        self._lock = threading.Lock()

    @property
    def passes(self) -> int:
        """Passes of the network for one plane."""
        return len(self._tiles) * self._samples

    @property
    def planes_at_a_time(self) -> int:
        """Planes that fill a batch."""
        return max(1, self._batch // self.passes)

    def __call__(self, planes: Sequence[int]) -> List[SynthesizedPlane]:
        """Synthesise planes of the case's grid."""
        blends = []
        for plane in planes:
            inputs = self._case.plane(plane)
            blends.append(_Blend(plane, inputs, self._case.reference, self._targets, self._tiles))
        batch: List[_Item] = []
        for item in self._items(blends):
            if batch and (len(batch) >= self._batch or item.modalities != batch[0].modalities):
                self._pass(batch)
                batch = []
            batch.append(item)
        self._pass(batch)
        return [blend.result() for blend in blends]

    def _items(self, blends: Sequence[_Blend]):
        for blend in blends:
            gaps = _gaps(blend.inputs, self._case.reference)
            shared = {index: _shared(tile, blend.inputs, gaps) for index, tile, _ in blend.tiles}
            for sample in range(self._samples):
                for index, tile, weights in blend.tiles:
                    # Let go with the last sample, so that a batch does not keep what its planes no longer need.
                    last = sample + 1 == self._samples
                    yield _Item(blend, sample, index, tile, weights, shared.pop(index) if last else shared[index])

    def _pass(self, batch: List[_Item]) -> None:
        """Take items through the network, in smaller batches where memory does not suffice."""
        self._stop()
        try:
            images = self._forward(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise out_of_memory(self._resources.device, error) from error
            images = None
        if images is None:
            release_memory(self._resources.device)
            half = len(batch) // 2
            with self._lock:
                self._batch = min(self._batch, half)
            self._pass(batch[:half])
            self._pass(batch[half:])
            return
        for position, item in enumerate(batch):
            item.blend.add(item.tile, item.weights, {target: images[target][position] for target in self._targets})

    def _forward(self, batch: List[_Item]) -> Dict[str, np.ndarray]:
        """Return ``{target: (B, S, S)}`` in [-1, 1]."""
        return self._through([Pass(item.shared, self._noise(item)) for item in batch])

    def _noise(self, item: _Item) -> List[np.ndarray]:
        request, shapes = self._request, self._sizes.noise_shapes()
        place = (self._direction, item.blend.plane, item.index)
        return slice_noise(shapes, request.noise, request.seed, item.sample, *place)
