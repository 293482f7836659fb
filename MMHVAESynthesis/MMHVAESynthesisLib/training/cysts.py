"""Fluid-filled cysts put into MR: large ones are common in gliomas, and hardly any training case has one.

Without them a network takes fluid that lies outside the ventricles in an iUS for something dark in T2. And without the
solid tumour that often lies beside a cyst, about as bright in T2, it takes for brain whatever borders on such fluid.
"""

import dataclasses
from typing import Dict, Optional, Tuple

import numpy as np
from scipy import ndimage

from ..modalities import CET1, FLAIR, T2, US
from ..ultrasound.noise import smooth_noise
from ..ultrasound.tissue import ENHANCING, NECROSIS, contrast_levels
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
_SOLID_RADIUS = (0.7, 1.5)
"""Mean radius of the solid part, times the cyst's."""
_SOLID_ASIDE = (0.3, 0.9)
"""How far its centre lies from the cyst's, times the cyst's radius."""
_SOLID = {T2: (0.55, 1.0), CET1: (0.6, 1.0), FLAIR: (1.5, 2.0)}
"""Times white matter, in FLAIR enough for the simulation to see a lesion; in T2, times the cyst's own fluid."""
_SOLID_SHARE = (0.75, 1.0)
"""How much of what lay there it replaces."""
_SOLID_CHANCE = 0.5
_SOLID_EDGE_MM = 1.5
_MARGIN_MM = 6.0
_DARKEST = 1e-3
"""Times white matter: what is brain stays brighter than background."""


def with_cyst(case: Case, spacing: float, rng: np.random.Generator) -> Tuple[Case, np.ndarray]:
    """Return the case with a cyst in its MR, and where the cyst is.

    An ellipsoid of 6 to 36 mm mean radius with bulges, about a voxel of the case's label, or of the brain where it has
    none; only what is brain becomes fluid. Half of the cysts have an enhancing wall; half lie in or beside a solid
    tumour, where there is FLAIR that shows it or a label, which it enters. The label no longer holds the cyst: the
    contrasts say what it is.

    :param case: With MR; iUS that it has stays as it is.
    :param spacing: Of its voxels, mm.
    :return: The case, and a mask, bool, of its shape.
    """
    brain = np.logical_or.reduce([volume > 0 for name, volume in case.volumes.items() if name != US])
    around = brain if case.label is None or not case.label.any() else case.label
    candidates = np.flatnonzero(around)
    centre = np.array(np.unravel_index(candidates[int(rng.integers(candidates.size))], brain.shape))
    radii = rng.uniform(*_RADIUS_MM) * rng.uniform(*_STRETCH, 3)
    has_solid = rng.random() < _SOLID_CHANCE and _shows_lesions(case)
    solid_radii = radii.mean() * rng.uniform(*_SOLID_RADIUS) * rng.uniform(*_STRETCH, 3)
    aside = _direction(rng) * rng.uniform(*_SOLID_ASIDE) * radii.mean()
    most = np.maximum(radii, has_solid * (np.abs(aside) + solid_radii))
    reach = np.ceil((most * (1 + 2.5 * _BULGE) + _MARGIN_MM) / spacing).astype(int)
    low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, brain.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high))
    outwards = _outwards(centre - low, high - low, radii / spacing, rng) * spacing
    cyst = np.zeros(brain.shape, bool)
    cyst[box] = (outwards < 0) & brain[box]
    rim_mm = rng.uniform(*_RIM_MM)
    rim = np.clip(1 - np.abs(outwards - rim_mm / 2) / rim_mm, 0, 1) * (rng.random() < _RIM_CHANCE)
    solid = np.zeros(brain.shape, bool)
    if has_solid:
        beside = _outwards(centre - low + aside / spacing, high - low, solid_radii / spacing, rng)
        solid[box] = (beside < 0) & brain[box] & ~cyst[box]
    parts = _Parts(
        _softened(cyst[box], _EDGE_MM / spacing),
        rim,
        _softened((solid | cyst)[box] * has_solid, _SOLID_EDGE_MM / spacing),
    )
    volumes: Dict[str, np.ndarray] = dict(case.volumes)
    for name in (T2, CET1, FLAIR):
        if name in volumes:
            changed = volumes[name].astype(np.float32)
            filled = np.maximum(_filled(changed[box], name, case, parts, rng), _DARKEST * case.white_matter[name])
            changed[box] = np.where(changed[box] > 0, filled, 0)
            volumes[name] = changed
    return dataclasses.replace(case, volumes=volumes, label=_labelled(case.label, cyst, solid)), cyst


@dataclasses.dataclass(frozen=True)
class _Parts:
    """Fractions 0..1 in the box: fluid, the cyst's wall, and solid tumour with the cyst in it."""

    fluid: np.ndarray
    rim: np.ndarray
    solid: np.ndarray


def _shows_lesions(case: Case) -> bool:
    """Return whether ultrasound simulated over the case can know of a solid tumour: by its label or by FLAIR."""
    return FLAIR in case.volumes or (case.label is not None and bool(case.label.any()))


def _direction(rng: np.random.Generator) -> np.ndarray:
    vector = rng.normal(size=3)
    return vector / np.linalg.norm(vector)


def _softened(mask: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(mask.astype(np.float32), sigma)


def _labelled(label: Optional[np.ndarray], cyst: np.ndarray, solid: np.ndarray) -> Optional[np.ndarray]:
    """Return a lesion's label without the cyst and with the solid part; None where there was none."""
    if label is None:
        return None
    # The innermost label is tumour in lesions without an enhancing part, and necrosis in others.
    tumour = ENHANCING[-1] if np.isin(label, ENHANCING).any() else NECROSIS
    found = np.where(solid, tumour, label) if label.any() else label
    return np.where(cyst, 0, found).astype(label.dtype)


def _outwards(centre: np.ndarray, shape: np.ndarray, radii: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return about how far each voxel lies outside the cyst's surface, voxels, float32; below 0 inside."""
    axes = np.ogrid[tuple(slice(0, int(count)) for count in shape)]
    squares = [((axis - place) / radius).astype(np.float32) ** 2 for axis, place, radius in zip(axes, centre, radii)]
    bulges = _BULGE * smooth_noise(tuple(int(count) for count in shape), [float(radii.mean()) / 2] * 3, rng)
    distance = np.sqrt(squares[0] + squares[1] + squares[2])
    return (distance - 1 - np.clip(bulges, -2.5 * _BULGE, 2.5 * _BULGE)) * np.float32(radii.mean())


def _filled(image: np.ndarray, name: str, case: Case, parts: _Parts, rng: np.random.Generator) -> np.ndarray:
    """Return one contrast's box with solid tumour, wall and fluid."""
    if name == T2:
        fluid = contrast_levels(case.volumes[name]).high * rng.uniform(*_FLUID_T2)
        tumour = fluid * rng.uniform(*_SOLID[name])
    else:
        fluid = case.white_matter[name] * rng.uniform(*_FLUID[name])
        tumour = case.white_matter[name] * rng.uniform(*_SOLID[name])
    share = parts.solid * np.float32(rng.uniform(*_SOLID_SHARE))
    wall = 1 + parts.rim * np.float32(rng.uniform(*_RIM[name]) - 1)
    brain = image * (1 - share) + _textured(tumour, 0.1, image.shape, rng) * share
    return brain * wall * (1 - parts.fluid) + _textured(fluid, 0.05, image.shape, rng) * parts.fluid


def _textured(level: float, share: float, shape: Tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return a level with smooth variation of 3 voxels' scale, float32."""
    return np.float32(level) * (1 + share * smooth_noise(shape, [3.0] * 3, rng)).astype(np.float32)
