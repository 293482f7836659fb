"""Random crops of skull-stripped MR, of simulated sweeps over it, and of real iUS, for the demonstrator."""

import dataclasses
from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

import numpy as np

from ..errors import InputError
from ..modalities import US
from .augmentation import change_intensities
from .batches import Batch, window
from .cases import Case, harmonised
from .config import TrainingConfig
from .sweeps import SweepShelf

_CENTRES = 20000
_LEAST_FILLED = 0.08
_ATTEMPTS = 8
_THROUGH = (0.5, 0.25, 0.25)
"""How often slices lie across each stored axis (k, j, i): much MR was scanned in thick slices across the first."""
_SHELF = 24
"""Sweeps that a batch chooses from."""
_SAME_KIND = 2
"""Batches in a row that are of one kind: processes side by side then have as much to do as one another."""


@dataclass(frozen=True)
class _Pose:
    """Which way a crop looks at a volume: its axes in their new order, which of them run backwards, and its start."""

    axes: Tuple[int, ...]
    backwards: Tuple[bool, ...]
    start: Tuple[int, ...]

    def view(self, volume: np.ndarray) -> np.ndarray:
        """Return the volume as seen, without a copy."""
        steps = tuple(slice(None, None, -1 if back else 1) for back in self.backwards)
        return volume.transpose(self.axes)[steps]


@dataclass(frozen=True)
class _Crop:
    inputs: Dict[str, np.ndarray]
    targets: Dict[str, np.ndarray]


class Crops:
    """Batches of crops of S x S, each of another place, direction and flip, from cases with the same modalities."""

    def __init__(self, cases: Sequence[Case], config: TrainingConfig):
        self._config = config
        self._centres = {case.folder: _centres(case) for case in cases if US not in case.volumes}
        self._kinds = self._cases_by_kind(cases)
        self._shelves = self._new_shelves()
        self.names = sorted({case.name for serving in self._kinds.values() for case in serving})
        self._kind_names = sorted(self._kinds)
        weights = np.array([config.data.kinds[name] for name in self._kind_names], dtype=np.float64)
        if not weights.size:
            raise InputError("The cases at hand serve none of the configured kinds of batches.")
        self._chances = weights / weights.sum()
        self.epoch_batches = config.epoch_batches or len(cases)

    def _cases_by_kind(self, cases: Sequence[Case]) -> Dict[str, List[Case]]:
        """Return which cases can serve which kind: a sweep needs two MR contrasts or more to be simulated from."""
        known = set(self._config.sizes.modalities)
        mr = [case for case in cases if (set(case.modalities) - {US}) & known]
        serving = {
            "sweep": [case for case in mr if len(set(case.modalities) - {US}) > 1 and US in known],
            "mr": [_without_us(case) for case in mr],
            "us": [case for case in cases if case.modalities == (US,) and US in known],
        }
        return {kind: found for kind, found in serving.items() if found and self._config.data.kinds.get(kind, 0) > 0}

    def _new_shelves(self) -> List[SweepShelf]:
        """Return a shelf of sweeps for each set of modalities that the cases to sweep over have."""
        by_modalities: Dict[Tuple[str, ...], List[Case]] = {}
        for case in self._kinds.get("sweep", []):
            by_modalities.setdefault(case.modalities, []).append(case)
        data, seed = self._config.data, self._config.seed
        return [
            SweepShelf(cases, data.spacing, seed + place, 2 * _SHELF, data.cysts)
            for place, cases in enumerate(by_modalities.values())
        ]

    def batch(self, index: int) -> Batch:
        """Return batch ``index``; its kind, cases, sweeps, poses and intensities come from (seed, index) alone."""
        rng = np.random.default_rng([self._config.seed, index])
        kind = self._kind(index)
        cases = self._swept(index, rng) if kind == "sweep" else self._alike(kind, rng)
        crops = [self.crop(case, rng) for case in cases]
        inputs = {name: np.stack([crop.inputs[name] for crop in crops])[:, None] for name in crops[0].inputs}
        targets = {name: np.stack([crop.targets[name] for crop in crops])[:, None] for name in crops[0].targets}
        return Batch(inputs, targets, tuple(case.name for case in cases), kind == "mr")

    def _kind(self, index: int) -> str:
        rng = np.random.default_rng([self._config.seed, index // _SAME_KIND, 4])
        return self._kind_names[rng.choice(len(self._kind_names), p=self._chances)]

    def _alike(self, kind: str, rng: np.random.Generator) -> List[Case]:
        """Return the cases of a batch, one a slice: all with the modalities of the first."""
        first = self._draw(self._kinds[kind], rng)
        alike = [case for case in self._kinds[kind] if case.modalities == first.modalities]
        return [first] + [self._draw(alike, rng) for _ in range(self._config.data.slices - 1)]

    def _swept(self, index: int, rng: np.random.Generator) -> List[Case]:
        """Return sweeps near number ``index / sweep_batches``, one a slice: a new one comes every few batches."""
        sizes = np.array([len(shelf) for shelf in self._shelves], dtype=np.float64)
        shelf = self._shelves[int(rng.choice(len(sizes), p=sizes / sizes.sum()))]
        newest = index // self._config.data.sweep_batches
        return [shelf.take(newest + int(place)) for place in rng.integers(0, _SHELF, self._config.data.slices)]

    @staticmethod
    def _draw(cases: Sequence[Case], rng: np.random.Generator) -> Case:
        return cases[int(rng.integers(len(cases)))]

    def crop(self, case: Case, rng: np.random.Generator) -> _Crop:
        """Return one crop; one that shows next to nothing is drawn again, a few times."""
        for _ in range(_ATTEMPTS):
            crop = self._cut(case, self._pose(case, rng), rng)
            if all((image > -1).mean() >= _LEAST_FILLED for image in crop.inputs.values()):
                break
        return _turned(crop, rng)

    def _pose(self, case: Case, rng: np.random.Generator) -> _Pose:
        size = self._config.sizes.size
        through = int(rng.choice(3, p=_THROUGH))
        axes = (through, *(int(axis) for axis in rng.permutation([axis for axis in range(3) if axis != through])))
        backwards = tuple(bool(flip) for flip in rng.integers(0, 2, 3))
        shape = [case.shape[axis] for axis in axes]
        known = None if US in case.volumes else self._centres.get(case.folder)
        centres = _centres(case) if known is None else known
        centre = centres[int(rng.integers(len(centres)))][list(axes)]
        centre = [length - 1 - place if back else place for place, length, back in zip(centre, shape, backwards)]
        start = []
        for place, length in zip(centre[1:], shape[1:]):
            low, high = sorted((0, length - size))
            start.append(int(np.clip(place - size // 2, low, high)))
        pose = _Pose(axes, backwards, (0, *start))
        planes = self._planes(pose.view(case.volumes[case.modalities[0]]), start)
        plane = int(centre[0]) if not planes.size else int(planes[int(rng.random() * planes.size)])
        return dataclasses.replace(pose, start=(plane, *start))

    def _planes(self, volume: np.ndarray, start: Sequence[int]) -> np.ndarray:
        """Return the planes that show enough in a window: each is as likely, as in use, where all of them are run.

        A plane for a voxel drawn at random would be a full one nearly always, and the level of the others, which shows
        least of all behind instance norm, would not be learnt.
        """
        size = self._config.sizes.size
        rows, columns = (slice(max(first, 0), max(first + size, 0)) for first in start)
        filled = np.count_nonzero(volume[:, rows, columns] > 0, axis=(1, 2))
        return np.flatnonzero(filled >= _LEAST_FILLED * size**2)

    def _cut(self, case: Case, pose: _Pose, rng: np.random.Generator) -> _Crop:
        size = (1, self._config.sizes.size, self._config.sizes.size)
        inputs, targets = {}, {}
        for name in case.modalities:
            if name in self._config.sizes.modalities:
                values = window(pose.view(case.volumes[name]), pose.start, size)[0]
                image = case.ranges[name].to_network(values)
                inputs[name] = change_intensities(image, self._config.data.augment, rng)
                targets[name] = inputs[name] if name == US else self._target(values, case, name)
        return _Crop(inputs, targets)

    def _target(self, values: np.ndarray, case: Case, name: str) -> np.ndarray:
        return harmonised(values, case.white_matter[name], self._config.data.white_matter[name])


def _without_us(case: Case) -> Case:
    """Return a case's MR alone: with its iUS, outputs would be cut to a field that the targets are not."""
    if US not in case.volumes:
        return case
    volumes = {name: volume for name, volume in case.volumes.items() if name != US}
    return dataclasses.replace(case, volumes=volumes)


def _centres(case: Case) -> np.ndarray:
    """Return at most 20,000 voxels inside the case's first volume, (n, 3)."""
    inside = np.flatnonzero(case.volumes[case.modalities[0]] > 0)
    chosen = inside[:: max(1, inside.size // _CENTRES)]
    return np.stack(np.unravel_index(chosen, case.shape), axis=1)


def _turned(crop: _Crop, rng: np.random.Generator) -> _Crop:
    """Turn and mirror all images of a crop alike, so that the probe may come from any side."""
    turns, mirror = int(rng.integers(4)), bool(rng.integers(2))

    def turn(image: np.ndarray) -> np.ndarray:
        turned = np.rot90(image, turns)
        return np.ascontiguousarray(turned.T if mirror else turned)

    return _Crop(
        {name: turn(image) for name, image in crop.inputs.items()},
        {name: turn(image) for name, image in crop.targets.items()},
    )
