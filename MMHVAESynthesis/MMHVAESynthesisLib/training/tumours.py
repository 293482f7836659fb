"""A tumour of one case put into the brain of another: the few cases at hand show few places, sizes and neighbours."""

import dataclasses
from typing import Dict, Sequence, Tuple

import numpy as np
from scipy import ndimage

from ..modalities import US
from .cases import Case

_SCALE = (0.75, 1.35)
_EDGE_MM = 1.2
_MARGIN_MM = 5.0
_DARKEST = 1e-3
"""Times white matter: what is brain stays brighter than background."""


def donors(case: Case, cases: Sequence[Case]) -> Tuple[Case, ...]:
    """Return the cases whose tumour can be put into ``case``: labelled, with all its MR; none where it has no label.

    Where nothing tells what a case's own lesion is, a label of the new tumour alone would make healthy tissue of it.
    """
    if case.label is None:
        return ()
    wanted = set(case.modalities) - {US}
    return tuple(
        other for other in cases if other is not case and wanted <= set(other.modalities) and _is_labelled(other)
    )


def _is_labelled(case: Case) -> bool:
    return case.label is not None and bool(case.label.any())


def with_tumour(case: Case, donor: Case, spacing: float, rng: np.random.Generator) -> Tuple[Case, np.ndarray]:
    """Return the case with another one's tumour in its MR; and where that is.

    Turned at will, mirrored half of the time, 0.75 to 1.35 times as large; in intensities relative to white matter;
    about a random voxel of the brain; with soft borders; only where both show brain. Nothing is displaced by it.

    :param case: With MR and a label; iUS that it has stays as it is.
    :param donor: One of :func:`donors`.
    :param spacing: Of the voxels of both, mm.
    :return: The case, and a mask, bool, of its shape.
    """
    names = [name for name in case.modalities if name != US]
    brain = np.logical_or.reduce([case.volumes[name] > 0 for name in names])
    candidates = np.flatnonzero(brain)
    centre = np.array(np.unravel_index(candidates[int(rng.integers(candidates.size))], brain.shape))
    found = ndimage.find_objects((donor.label > 0).astype(np.uint8))[0]
    middle = np.array([(part.start + part.stop - 1) / 2 for part in found])
    half = np.array([(part.stop - part.start) / 2 for part in found])
    to_donor = _turn(rng) / rng.uniform(*_SCALE)
    reach = np.ceil(np.abs(np.linalg.inv(to_donor)) @ half + _MARGIN_MM / spacing).astype(int)
    low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, brain.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high))
    offset = middle - to_donor @ (centre - low)

    def carried(volume: np.ndarray, order: int) -> np.ndarray:
        return ndimage.affine_transform(volume, to_donor, offset, tuple(high - low), volume.dtype, order)

    images = {name: carried(donor.volumes[name].astype(np.float32), 1) for name in names}
    label = carried(donor.label, 0)
    shown = np.logical_and.reduce([image > 0 for image in images.values()]) & brain[box]
    inside = (label > 0) & shown
    share = ndimage.gaussian_filter(inside.astype(np.float32), _EDGE_MM / spacing) * shown
    volumes: Dict[str, np.ndarray] = dict(case.volumes)
    for name, image in images.items():
        changed = volumes[name].astype(np.float32)
        own, white = changed[box], np.float32(case.white_matter[name])
        mixed = own * (1 - share) + image * np.float32(white / donor.white_matter[name]) * share
        changed[box] = np.where(own > 0, np.maximum(mixed, _DARKEST * white), 0)
        volumes[name] = changed
    labels = case.label.copy()
    labels[box] = np.where(inside, label, labels[box])
    tumour = np.zeros(brain.shape, bool)
    tumour[box] = inside
    return dataclasses.replace(case, volumes=volumes, label=labels), tumour


def _turn(rng: np.random.Generator) -> np.ndarray:
    """Return a random orthogonal matrix (3, 3), half of the time a mirroring one (Stewart 1980)."""
    matrix, upper = np.linalg.qr(rng.normal(size=(3, 3)))
    return matrix * np.sign(np.diag(upper)) * np.array([1, 1, -1 if rng.random() < 0.5 else 1])
