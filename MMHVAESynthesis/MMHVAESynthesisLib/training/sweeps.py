"""Simulated sweeps over MR cases as whole volumes: what training crops and evaluation cut their planes from."""

from typing import Dict, Optional, Sequence, Tuple

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..modalities import US
from ..ultrasound.simulate import SimulatedSweep, simulate_sweep
from .cases import Case, intensity_range
from .cysts import with_cyst

_LEAST_VOXELS = (100, 5000)
_LEAST_SHARE = 0.1
"""A sweep that sees a smaller share of the brain is made anew, unless it sees enough voxels all the same."""
_ATTEMPTS = 8
_AT_TUMOUR = 0.7


def sweep_over(
    case: Case, spacing: float, seed: int, at_tumour: bool = True, target: Optional[np.ndarray] = None
) -> Tuple[Case, SimulatedSweep]:
    """Simulate a sweep over a case and bring its MR onto the sweep's own oblique grid, cut to its field of view.

    Intensity ranges are those of the field, as in use; white matter of the targets is that of the whole MR.

    :param spacing: Of the case's voxels and of the sweep's, mm.
    :param at_tumour: Let the probe look at the tumour, where the case has a label.
    :param target: What the probe looks at instead, a mask of the case's shape.
    :return: A case with iUS and MR, (k, j, i) of the sweep; and the sweep.
    """
    images = {name: _image(case.volumes[name], case, spacing) for name in case.modalities if name != US}
    label = _image(case.label, case, spacing) if at_tumour and case.label is not None else None
    aim = None if target is None else _image(target.astype(np.uint8), case, spacing)
    sweep = simulate_sweep(images, seed, label, spacing, target=aim)
    field = sitk.GetArrayFromImage(sweep.mask) > 0
    volumes = {US: sitk.GetArrayFromImage(sweep.us)}
    for name, image in images.items():
        moved = sitk.Resample(image, sweep.us, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
        volumes[name] = np.where(field, sitk.GetArrayFromImage(moved), 0)
    ranges = {name: intensity_range(volume) for name, volume in volumes.items()}
    kept = {name: volume for name, volume in volumes.items() if ranges[name] is not None}
    return Case(case.name, case.folder, kept, {name: ranges[name] for name in kept}, case.white_matter), sweep


def _image(array: np.ndarray, case: Case, spacing: float) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([spacing] * 3)
    image.SetDirection(case.direction)
    return image


class SweepShelf:
    """Sweeps 0, 1, 2, ... over cases with the same modalities, each made when it is first taken, the latest kept.

    Which case a sweep looks at, from where, and how it looks follows from the seed and its number alone.

    :param cases: With two MR contrasts or more, all with the same.
    :param spacing: mm.
    :param seed: 0 or more.
    :param kept: How many sweeps are held in memory.
    :param cysts: The share of sweeps over a cyst that is put into the case.
    """

    def __init__(self, cases: Sequence[Case], spacing: float, seed: int, kept: int, cysts: float = 0.0):
        self._cases, self._spacing, self._seed, self._kept = list(cases), spacing, seed, kept
        self._cysts = cysts
        self._made: Dict[int, Case] = {}

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self._cases)

    def take(self, number: int) -> Case:
        """Return sweep ``number`` as a case.

        :raises InputError: when none of several sweeps shows anything of the brain.
        """
        if number not in self._made:
            self._made[number] = self._make(number)
            while len(self._made) > self._kept:
                del self._made[next(iter(self._made))]
        return self._made[number]

    def _make(self, number: int) -> Case:
        rng = np.random.default_rng([self._seed, number, 3])
        for _ in range(_ATTEMPTS):
            found = self._attempt(rng)
            if found is not None:
                return found
        raise InputError("The simulated sweeps show next to nothing of the brain: look at the MR and its background.")

    def _attempt(self, rng: np.random.Generator) -> Optional[Case]:
        case = self._cases[int(rng.integers(len(self._cases)))]
        seed, at_tumour = int(rng.integers(2**31)), bool(rng.random() < _AT_TUMOUR)
        cyst = None
        if rng.random() < self._cysts:
            case, cyst = with_cyst(case, self._spacing, rng)
        swept, _ = sweep_over(case, self._spacing, seed, at_tumour, cyst)
        seen = min(np.count_nonzero(volume) for volume in swept.volumes.values())
        whole = np.count_nonzero(case.volumes[case.modalities[0]])
        enough = seen >= np.clip(_LEAST_SHARE * whole, *_LEAST_VOXELS)
        return swept if enough and set(swept.modalities) == {US, *case.modalities} else None
