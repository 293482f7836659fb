"""Fluid-filled cysts put into MR: large ones are common in gliomas, and hardly any training case has one.

Without them a network takes fluid that lies outside the ventricles in an iUS for something dark in T2.
"""

import dataclasses
from typing import Dict, Tuple

import numpy as np
from scipy import ndimage

from ..modalities import CET1, FLAIR, T2, US
from ..ultrasound.noise import smooth_noise
from ..ultrasound.tissue import contrast_levels
from .cases import Case

_RADIUS_MM = (6.0, 36.0)
_STRETCH = (0.75, 1.35)
_BULGE = 0.18
_EDGE_MM = 0.8
_FLUID = {CET1: (0.35, 0.65), FLAIR: (0.2, 0.7)}
"""Times white matter; in T2, times the volume's 99th percentile, which is CSF."""
_FLUID_T2 = (0.8, 1.05)
_RIM_MM = (1.0, 3.0)
_RIM = {T2: (1.0, 1.4), CET1: (1.3, 2.3), FLAIR: (1.1, 1.6)}
"""An enhancing wall, times what lies there."""
_RIM_CHANCE = 0.5
_MARGIN_MM = 6.0
_DARKEST = 1e-3
"""Times white matter: what is brain stays brighter than background."""


def with_cyst(case: Case, spacing: float, rng: np.random.Generator) -> Tuple[Case, np.ndarray]:
    """Return the case with a cyst in its MR: fluid, half of the time in an enhancing wall; and where the cyst is.

    An ellipsoid of 6 to 36 mm mean radius with bulges, about a voxel of the case's label, or of the brain where it has
    none; only what is brain becomes fluid. The label no longer holds it: the contrasts say what it is.

    :param case: With MR; iUS that it has stays as it is.
    :param spacing: Of its voxels, mm.
    :return: The case, and a mask, bool, of its shape.
    """
    brain = np.logical_or.reduce([volume > 0 for name, volume in case.volumes.items() if name != US])
    around = brain if case.label is None or not case.label.any() else case.label
    candidates = np.flatnonzero(around)
    centre = np.array(np.unravel_index(candidates[int(rng.integers(candidates.size))], brain.shape))
    radii = rng.uniform(*_RADIUS_MM) * rng.uniform(*_STRETCH, 3)
    reach = np.ceil((radii * (1 + 2.5 * _BULGE) + _MARGIN_MM) / spacing).astype(int)
    low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, brain.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high))
    outwards = _outwards(centre - low, high - low, radii / spacing, rng) * spacing
    cyst = np.zeros(brain.shape, bool)
    cyst[box] = (outwards < 0) & brain[box]
    fluid = ndimage.gaussian_filter(cyst[box].astype(np.float32), _EDGE_MM / spacing)
    rim_mm = rng.uniform(*_RIM_MM)
    rim = np.clip(1 - np.abs(outwards - rim_mm / 2) / rim_mm, 0, 1) * (rng.random() < _RIM_CHANCE)
    volumes: Dict[str, np.ndarray] = dict(case.volumes)
    for name in (T2, CET1, FLAIR):
        if name in volumes:
            changed = volumes[name].astype(np.float32)
            filled = np.maximum(_filled(changed[box], name, case, fluid, rim, rng), _DARKEST * case.white_matter[name])
            changed[box] = np.where(changed[box] > 0, filled, 0)
            volumes[name] = changed
    label = None if case.label is None else np.where(cyst, 0, case.label)
    return dataclasses.replace(case, volumes=volumes, label=label), cyst


def _outwards(centre: np.ndarray, shape: np.ndarray, radii: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return about how far each voxel lies outside the cyst's surface, voxels, float32; below 0 inside."""
    axes = np.ogrid[tuple(slice(0, int(count)) for count in shape)]
    squares = [((axis - place) / radius).astype(np.float32) ** 2 for axis, place, radius in zip(axes, centre, radii)]
    bulges = _BULGE * smooth_noise(tuple(int(count) for count in shape), [float(radii.mean()) / 2] * 3, rng)
    distance = np.sqrt(squares[0] + squares[1] + squares[2])
    return (distance - 1 - np.clip(bulges, -2.5 * _BULGE, 2.5 * _BULGE)) * np.float32(radii.mean())


def _filled(image: np.ndarray, name: str, case: Case, fluid: np.ndarray, rim: np.ndarray, rng) -> np.ndarray:
    """Return one contrast's box with fluid and wall."""
    walled = image * (1 + rim * np.float32(rng.uniform(*_RIM[name]) - 1))
    if name == T2:
        level = contrast_levels(case.volumes[name]).high * rng.uniform(*_FLUID_T2)
    else:
        level = case.white_matter[name] * rng.uniform(*_FLUID[name])
    texture = 1 + 0.05 * smooth_noise(image.shape, [3.0] * 3, rng)
    return walled * (1 - fluid) + np.float32(level) * texture.astype(np.float32) * fluid
