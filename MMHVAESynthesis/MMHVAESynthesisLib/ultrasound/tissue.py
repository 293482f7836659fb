"""What the ultrasound meets: echo strengths of brain, fluid, sulci and tumour estimated from MR contrasts.

A rule-based stand-in for a segmentation: CSF is what is bright in T2 and dark in FLAIR and ceT1; thin CSF is a sulcus or
a fissure (bright in ultrasound, for its pia and vessels), thick CSF is a ventricle (black with bright walls).
"""

from dataclasses import dataclass
from typing import Dict, Mapping, Optional

import numpy as np
from scipy import ndimage

from ..modalities import CET1, FLAIR, T2

NECROSIS, OEDEMA, ENHANCING = 1, 2, (3, 4)


@dataclass(frozen=True)
class Levels:
    """Intensities of one contrast that make cases alike: low, that of brain tissue, high."""

    low: float
    tissue: float
    high: float


def contrast_levels(image: np.ndarray) -> Levels:
    """Return the levels of one contrast (background 0): percentiles 1, 40 and 99 of what is not background.

    Measured once on the whole volume and handed to the simulation of crops, they keep a crop that holds only tumour
    from being taken for one that holds only brain. An empty image has levels 0, 0.5 and 1.
    """
    values = image[image > 0]
    if values.size == 0:
        return Levels(0.0, 0.5, 1.0)
    low, tissue, high = np.percentile(values[:: max(1, values.size // 200000)], [1, 40, 99])
    return Levels(float(low), float(max(tissue, low + 1e-3)), float(max(high, tissue + 1e-3)))


@dataclass(frozen=True)
class Tissue:
    """Fractions 0..1, float32, one shape, except ``grey``: 0 white matter, 1 grey matter, beyond that lesion."""

    inside: np.ndarray
    fluid: np.ndarray
    sulcus: np.ndarray
    grey: np.ndarray
    tumour: np.ndarray
    oedema: np.ndarray
    necrosis: np.ndarray
    enhancing: np.ndarray
    choroid: np.ndarray


def _step(values: np.ndarray, at: float, width: float) -> np.ndarray:
    """Return a smooth step from 0 to 1 at ``at``, linear over ``4 * width`` (a cheap sigmoid)."""
    return np.clip((values - at) / (4 * width) + 0.5, 0, 1)


def _relative(image: np.ndarray, levels: Levels) -> np.ndarray:
    """Return intensities with 0 for brain tissue, 1 for the high level and -1 for the low one."""
    centred = image.astype(np.float32) - levels.tissue
    return np.where(centred > 0, centred / (levels.high - levels.tissue), centred / (levels.tissue - levels.low))


def _blur(values: np.ndarray, sigma_mm: float, spacing: float) -> np.ndarray:
    return ndimage.gaussian_filter(values, sigma_mm / spacing, truncate=2.5, mode="nearest")


def _csf(relative: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the fraction of CSF: the weighted geometric mean of what each contrast says."""
    evidence, weights = [], []
    if T2 in relative:
        evidence.append(_step(relative[T2], 0.40, 0.10))
        weights.append(0.55)
    if FLAIR in relative:
        evidence.append(_step(-relative[FLAIR], 0.40, 0.12))
        weights.append(0.45)
    elif CET1 in relative:
        evidence.append(_step(-relative[CET1], 0.45, 0.12))
        weights.append(0.45)
    product = np.ones_like(evidence[0])
    for values, weight in zip(evidence, weights):
        product *= values ** (weight / sum(weights))
    return product


def tissue_from_mr(
    contrasts: Mapping[str, np.ndarray],
    label: Optional[np.ndarray],
    spacing: float,
    levels: Optional[Mapping[str, Levels]] = None,
) -> Tissue:
    """Estimate the tissue from at least one MR contrast.

    :param contrasts: ``{modality: (k, j, i)}``, background 0, isotropic voxels.
    :param label: 1 necrosis, 2 oedema, 3 or 4 enhancing tumour, or None: then the lesion is what FLAIR and ceT1 show.
    :param spacing: Of the voxels, mm.
    :param levels: From :func:`contrast_levels`, by modality; missing ones are measured here.
    """
    known: Dict[str, Levels] = dict(levels or {})
    relative = {m: _relative(image, known.get(m) or contrast_levels(image)) for m, image in contrasts.items()}
    shape = next(iter(contrasts.values())).shape
    inside = np.zeros(shape, dtype=bool)
    for image in contrasts.values():
        inside |= image > 0
    csf = np.where(inside, _csf(relative), 0).astype(np.float32)
    zero = np.zeros(shape, dtype=np.float32)
    enhancing = np.where(inside, _step(relative[CET1], 0.55, 0.12), 0) if CET1 in relative else zero
    if label is not None and np.any(label):
        csf = csf * (label == 0)
        tumour, oedema, necrosis = _lesion_of_label(label, spacing)
    else:
        bright = np.where(inside, _step(relative[FLAIR], 0.45, 0.10), 0) if FLAIR in relative else zero
        oedema = _blur((bright * (1 - csf)).astype(np.float32), 0.7, spacing)
        tumour = _blur((enhancing * _blur(oedema, 4.0, spacing)).astype(np.float32), 1.0, spacing)
        necrosis = zero
    surroundings = _blur(csf, 2.2, spacing)
    fluid = csf * _step(surroundings, 0.66, 0.06)
    thin = np.maximum(csf - fluid, 0)
    sulcus = np.clip(2.0 * (thin - 0.9 * _blur(thin, 1.4, spacing)), 0, 1)
    choroid = np.clip(2.5 * enhancing * _blur(fluid, 2.5, spacing), 0, 1)
    first = next(m for m in (T2, FLAIR, CET1) if m in relative)
    sign = -1.0 if first == CET1 else 1.0
    grey = np.clip(sign * relative[first] / 0.25, -0.5, 1.5) * (1 - csf)
    return Tissue(
        inside.astype(np.float32), fluid, sulcus, grey, tumour, oedema, necrosis, enhancing.astype(np.float32), choroid
    )


def _lesion_of_label(label: np.ndarray, spacing: float):
    """Return soft tumour, oedema and necrosis.

    Label 1 is necrosis only as far as enhancing tumour surrounds it; in low-grade lesions it marks the tumour itself. A
    lesion without a core is tumour as a whole.
    """
    inner, enhancing, around = label == NECROSIS, np.isin(label, ENHANCING), label == OEDEMA
    core = inner | enhancing
    if core.sum() < 0.02 * max(int(around.sum()), 1):
        core, around = core | around, np.zeros_like(core)
    dead = min(1.0, 2.0 * float(enhancing.sum()) / max(int(inner.sum()), 1))
    tumour, oedema, necrosis = (_blur(part.astype(np.float32), 0.8, spacing) for part in (core, around, inner))
    return tumour, oedema, necrosis * dead
