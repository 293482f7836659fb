"""Random crops of skull-stripped MR with freshly simulated iUS, and of real iUS: what the demonstrator learns from."""

from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..errors import InputError
from ..modalities import US
from ..ultrasound.tissue import Levels, contrast_levels
from ..volumes.intensity import IntensityRange
from .augmentation import change_intensities
from .batches import Batch, window
from .cases import Case, harmonised, intensity_range
from .config import TrainingConfig

Simulator = Callable[..., Tuple[np.ndarray, np.ndarray]]
"""As ``ultrasound.simulate.simulate_slices``: ``(contrasts, label, spacing_mm, rng, levels=)`` to iUS and its field."""

_CENTRES = 20000
_LEAST_FILLED = 0.08
_ATTEMPTS = 8
_THROUGH = (0.5, 0.25, 0.25)
"""How often slices lie across each stored axis (k, j, i): much MR was scanned in thick slices across the first."""
_RANGE_REACH = 24
"""Planes to either side over which the range of an MR cut to a sweep is taken: half a sweep's width at 1 mm."""


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
    """Batches of crops of S x S, each of another place, direction and flip, from cases with the same modalities.

    :param simulate: Makes the iUS of a crop.
    """

    def __init__(self, cases: Sequence[Case], config: TrainingConfig, simulate: Optional[Simulator] = None):
        self._config = config
        self._simulate = simulate or _default_simulator()
        self._centres = {case.name: _centres(case) for case in cases}
        self._levels = {case.name: _levels(case) for case in cases}
        self._kinds = self._cases_by_kind(cases)
        self._names = sorted(self._kinds)
        weights = np.array([config.data.kinds[name] for name in self._names], dtype=np.float64)
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
            "mr": mr,
            "us": [case for case in cases if case.modalities == (US,) and US in known],
        }
        return {kind: found for kind, found in serving.items() if found and self._config.data.kinds.get(kind, 0) > 0}

    def batch(self, index: int) -> Batch:
        """Return batch ``index``; its kind, cases, poses, iUS and intensities come from (seed, index) alone."""
        rng = np.random.default_rng([self._config.seed, index])
        kind = self._names[rng.choice(len(self._names), p=self._chances)]
        first = self._draw(self._kinds[kind], rng)
        alike = [case for case in self._kinds[kind] if case.modalities == first.modalities]
        cases = [first] + [self._draw(alike, rng) for _ in range(self._config.data.slices - 1)]
        crops = [self.crop(case, kind, rng) for case in cases]
        inputs = {name: np.stack([crop.inputs[name] for crop in crops])[:, None] for name in crops[0].inputs}
        targets = {name: np.stack([crop.targets[name] for crop in crops])[:, None] for name in crops[0].targets}
        return Batch(inputs, targets, tuple(case.name for case in cases), kind == "mr")

    @staticmethod
    def _draw(cases: Sequence[Case], rng: np.random.Generator) -> Case:
        return cases[int(rng.integers(len(cases)))]

    def crop(self, case: Case, kind: str, rng: np.random.Generator) -> _Crop:
        """Return one crop; one that shows next to nothing is drawn again, a few times."""
        make = {"sweep": self._sweep, "mr": self._mr, "us": self._us}[kind]
        for _ in range(_ATTEMPTS):
            crop = make(case, self._pose(case, rng), rng)
            if all((image > -1).mean() >= _LEAST_FILLED for image in crop.inputs.values()):
                break
        return _turned(crop, rng)

    def _pose(self, case: Case, rng: np.random.Generator) -> _Pose:
        size, slab = self._config.sizes.size, self._config.data.slab
        through = int(rng.choice(3, p=_THROUGH))
        axes = (through, *(int(axis) for axis in rng.permutation([axis for axis in range(3) if axis != through])))
        backwards = tuple(bool(flip) for flip in rng.integers(0, 2, 3))
        shape = [case.shape[axis] for axis in axes]
        centres = self._centres[case.name]
        centre = centres[int(rng.integers(len(centres)))][list(axes)]
        centre = [length - 1 - place if back else place for place, length, back in zip(centre, shape, backwards)]
        start = [int(centre[0]) - slab // 2]
        for place, length in zip(centre[1:], shape[1:]):
            low, high = sorted((0, length - size))
            start.append(int(np.clip(place - size // 2, low, high)))
        return _Pose(axes, backwards, tuple(start))

    def _windows(self, case: Case, pose: _Pose, names: Sequence[str]) -> Dict[str, np.ndarray]:
        """Return ``{modality: (slab, S, S)}``."""
        size = (self._config.data.slab, self._config.sizes.size, self._config.sizes.size)
        return {name: window(pose.view(case.volumes[name]), pose.start, size) for name in names}

    def _wanted(self, case: Case) -> List[str]:
        return [name for name in case.modalities if name in self._config.sizes.modalities and name != US]

    def _sweep(self, case: Case, pose: _Pose, rng: np.random.Generator) -> _Crop:
        size, slab = self._config.sizes.size, self._config.data.slab
        contrasts = self._windows(case, pose, [name for name in case.modalities if name != US])
        label = None
        if case.label is not None:
            label = window(pose.view(case.label), pose.start, (slab, size, size))
        us, field = self._simulate(contrasts, label, self._config.data.spacing, rng, levels=self._levels[case.name])
        middle = slab // 2
        us_range = intensity_range(us) or IntensityRange(0.0, 1.0)
        image = change_intensities(us_range.to_network(us[middle]), self._config.data.augment, rng)
        inputs, targets = {US: image}, {US: image}
        for name in self._wanted(case):
            values = np.where(field[middle], contrasts[name][middle], 0)
            reach = self._reach(case.volumes[name], pose, field[middle])
            inputs[name] = self._mr_input(values, reach or case.ranges[name], rng)
            targets[name] = self._target(values, case, name)
        return _Crop(inputs, targets)

    def _reach(self, volume: np.ndarray, pose: _Pose, field: np.ndarray) -> Optional[IntensityRange]:
        """Return the range of an MR within the sweep: the field of this plane, taken over the planes near it."""
        size = self._config.sizes.size
        start = (pose.start[0] + self._config.data.slab // 2 - _RANGE_REACH, *pose.start[1:])
        near = window(pose.view(volume), start, (2 * _RANGE_REACH + 1, size, size))[::3]
        return intensity_range(near[:, field])

    def _mr(self, case: Case, pose: _Pose, rng: np.random.Generator) -> _Crop:
        middle = self._config.data.slab // 2
        inputs, targets = {}, {}
        for name, values in self._windows(case, pose, self._wanted(case)).items():
            inputs[name] = self._mr_input(values[middle], case.ranges[name], rng)
            targets[name] = self._target(values[middle], case, name)
        return _Crop(inputs, targets)

    def _us(self, case: Case, pose: _Pose, rng: np.random.Generator) -> _Crop:
        values = self._windows(case, pose, [US])[US][self._config.data.slab // 2]
        image = change_intensities(case.ranges[US].to_network(values), self._config.data.augment, rng)
        return _Crop({US: image}, {US: image})

    def _mr_input(self, values: np.ndarray, limits: IntensityRange, rng: np.random.Generator) -> np.ndarray:
        return change_intensities(limits.to_network(values), self._config.data.augment, rng)

    def _target(self, values: np.ndarray, case: Case, name: str) -> np.ndarray:
        return harmonised(values, case.white_matter[name], self._config.data.white_matter[name])


def _levels(case: Case) -> Dict[str, Levels]:
    """Return what makes the contrasts of a case alike for the simulation, measured on the whole volumes."""
    return {name: contrast_levels(volume) for name, volume in case.volumes.items() if name != US}


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


def _default_simulator() -> Simulator:
    from ..ultrasound.simulate import simulate_slices

    return simulate_slices
