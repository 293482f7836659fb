"""What is evaluated: planes of held-out cases, with simulated iUS, without iUS, or real."""

import logging
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import numpy as np

from ..modalities import US
from ..training.batches import Batch, window
from ..training.blocks import block, frame, framed
from ..training.cases import Case
from ..training.config import TrainingConfig
from ..training.sweeps import sweep_over
from ..ultrasound.simulate import SimulatedSweep
from ..ultrasound.sweep import index_to_world

log = logging.getLogger(__name__)

_LEAST_FILLED = 0.1


@dataclass(frozen=True)
class Sample:
    """Planes of one case that are evaluated.

    :param case: Its name.
    :param batch: Inputs and targets, all planes.
    :param depth: With simulated iUS, the distance of each pixel from the probe's face along its beam, mm, (B, 1, S, S).
    """

    case: str
    batch: Batch
    depth: Optional[np.ndarray] = None


def chosen_planes(case: Case, count: int) -> List[int]:
    """Return at most ``count`` planes of a framed case, evenly spaced among those that are filled to a tenth."""
    reference = case.volumes[case.modalities[0]]
    full = np.flatnonzero((reference > 0).mean(axis=(1, 2)) >= _LEAST_FILLED)
    return [int(plane) for plane in _evenly(full, count)]


def _evenly(values: Sequence, count: int) -> Sequence:
    """Return at most ``count`` of the values: all, or the middle one of each of as many equal parts.

    So each stands for as many others; with the first and the last, planes that show least would count for too much.
    """
    if len(values) <= count:
        return values
    return [values[int((place + 0.5) * len(values) / count)] for place in range(count)]


def plain(case: Case, config: TrainingConfig, planes: int) -> Optional[Sample]:
    """Return planes of a case as it is, real iUS or paired data, S x S about its middle."""
    inside = framed(case, config)
    chosen = chosen_planes(inside, planes)
    return Sample(case.name, block(inside, chosen, config.data)) if chosen else None


def mr_only(case: Case, config: TrainingConfig, planes: int) -> Optional[Sample]:
    """Return planes of a case's MR with its whole field, in windows of S x S that cover it; None when it has none.

    Each window has its share of the planes; where there are more windows than planes, evenly spaced ones have one.
    Intensity ranges are those of the whole volume, as in use and in training.
    """
    wanted = [name for name in case.modalities if name != US and name in config.sizes.modalities]
    if not wanted:
        return None
    (first, _, _), (count, size, _) = frame(case.volumes[wanted[0]], config.sizes.size)
    places = _evenly(_covering(case.volumes[wanted[0]], size), planes)
    batches = []
    for rows, columns in places:
        volumes = {m: window(case.volumes[m], (first, rows, columns), (count, size, size)) for m in wanted}
        here = Case(case.name, case.folder, volumes, case.ranges, case.white_matter)
        chosen = chosen_planes(here, planes // len(places))
        if chosen:
            batches.append(block(here, chosen, config.data))
    return Sample(case.name, _joined(batches)) if batches else None


def _covering(volume: np.ndarray, size: int) -> List[Tuple[int, int]]:
    """Return where windows of ``size`` in-plane begin, (j, i), that cover what is not empty, evenly overlapping."""
    starts = []
    for axes in ((0, 2), (0, 1)):
        occupied = np.flatnonzero(volume.any(axis=axes))
        low, length = int(occupied[0]), int(occupied[-1] - occupied[0] + 1)
        count = -(-length // size)
        if count == 1:
            starts.append([low + length // 2 - size // 2])
        else:
            starts.append([low + round(step * (length - size) / (count - 1)) for step in range(count)])
    return [(row, column) for row in starts[0] for column in starts[1]]


def _joined(batches: Sequence[Batch]) -> Batch:
    first = batches[0]
    inputs = {name: np.concatenate([batch.inputs[name] for batch in batches]) for name in first.inputs}
    targets = {name: np.concatenate([batch.targets[name] for batch in batches]) for name in first.targets}
    return Batch(inputs, targets, first.cases, first.whole_field)


def simulated(case: Case, config: TrainingConfig, planes: int, seed: int, at_tumour: bool) -> Optional[Sample]:
    """Return planes of a simulated sweep over a case's MR, the MR resampled onto the sweep's own oblique grid.

    White matter of the targets is that of the whole MR.

    :param at_tumour: Let the probe look at the tumour, where the case has a label.
    """
    swept, sweep = sweep_over(case, config.data.spacing, seed, at_tumour)
    inside = framed(swept, config)
    chosen = chosen_planes(inside, planes)
    if not chosen:
        log.warning("%s: the simulated sweep of seed %d shows next to nothing", case.name, seed)
        return None
    depth = window(_depth(sweep), *frame(swept.volumes[US], config.sizes.size))[chosen].transpose(0, 2, 1)[:, None]
    return Sample(case.name, block(inside, chosen, config.data), np.ascontiguousarray(depth))


def _depth(sweep: SimulatedSweep) -> np.ndarray:
    """Return each voxel's distance from the probe's face along its beam, mm, (k, j, i)."""
    shape = sweep.us.GetSize()[::-1]
    k, j, i = np.meshgrid(*[np.arange(count) for count in shape], indexing="ij")
    index = np.stack([i.ravel(), j.ravel(), k.ravel(), np.ones(i.size)])
    to_probe = np.linalg.inv(np.asarray(sweep.pose.matrix)) @ index_to_world(sweep.us)
    x, y, z = (to_probe @ index)[:3]
    return sweep.pose.probe.to_beam(x, y, z)[2].reshape(shape).astype(np.float32)
