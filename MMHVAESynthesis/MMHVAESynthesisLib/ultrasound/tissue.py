"""What the ultrasound meets: echo strengths of brain, fluid, sulci and tumour estimated from MR contrasts.

A rule-based stand-in for a segmentation: CSF is what is bright in T2 and dark in FLAIR and ceT1; thin CSF is a sulcus
or a fissure (bright in ultrasound, for its pia and vessels), thick CSF is a ventricle (black with bright walls), a thin
sheet that is bright in ceT1 is dura.
"""

from dataclasses import dataclass
from typing import Callable, Dict, Mapping, Optional

import numpy as np
from scipy import ndimage

from ..modalities import CET1, FLAIR, T2

NECROSIS, OEDEMA, ENHANCING = 1, 2, (3, 4)
_PIA_MM = 0.6
_APART = 1e-5
"""Of the high level: how far levels of one contrast lie apart at least."""


@dataclass(frozen=True)
class Levels:
    """Intensities of one contrast that make cases alike: low, that of brain tissue, upper quarter, high."""

    low: float
    tissue: float
    upper: float
    high: float


def contrast_levels(image: np.ndarray) -> Levels:
    """Return the levels of one contrast (background 0): percentiles 1, 40, 75 and 99 of what is not background.

    Measured once on the whole volume and handed to the simulation of crops, they keep a crop that holds only tumour
    from being taken for one that holds only brain. In whichever unit an image is given, its levels are alike; low,
    tissue and high differ even where all voxels are the same. An empty image has levels 0, 0.5, 0.75 and 1.
    """
    values = image[image > 0]
    if values.size == 0:
        return Levels(0.0, 0.5, 0.75, 1.0)
    low, tissue, upper, high = np.percentile(values[:: max(1, values.size // 200000)], [1, 40, 75, 99])
    least = _APART * high
    tissue = max(tissue, low + least)
    return Levels(float(low), float(tissue), float(upper), float(max(high, tissue + least)))


def unseen_parts(contrasts: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """Return where a contrast shows nothing though another shows brain: its field ends, or its mask is tighter.

    A hole that a contrast encloses is no such part: dark fluid may be exactly 0.

    :param contrasts: ``{modality: (k, j, i)}``, background 0: whole volumes, as a crop may cut a hole open.
    :return: ``{modality: bool}`` of those contrasts that have such parts.
    """
    shown = {m: image > 0 for m, image in contrasts.items()}
    anywhere = np.any(list(shown.values()), axis=0)
    found = {}
    for modality, own in shown.items():
        lacking = anywhere & ~own
        if lacking.any():
            lacking &= _around(own)
            if lacking.any():
                found[modality] = lacking
    return found


def _around(mask: np.ndarray) -> np.ndarray:
    """Return what a mask does not enclose: all that hangs together with a face of the volume."""
    parts, count = ndimage.label(~mask)
    reaches = np.zeros(count + 1, dtype=bool)
    for axis, length in enumerate(mask.shape):
        for end in (0, -1) if length > 1 else ():
            reaches[np.take(parts, end, axis)] = True
    reaches[0] = False
    return reaches[parts]


@dataclass(frozen=True)
class Tissue:
    """Fractions 0..1, float32, one shape, but for ``grey`` (0 white matter, 1 grey matter, beyond that lesion),
    ``tumour`` and ``oedema``, which go up to 1.2 and 1.3 where FLAIR is bright.
    """

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


def _by_what_is_seen(
    rule: Callable[[Mapping[str, np.ndarray]], np.ndarray],
    relative: Mapping[str, np.ndarray],
    unseen: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Return what a rule makes of the contrasts at each voxel, as if those that are unseen there were not given.

    :param rule: Works voxel by voxel, on arrays of any shape.
    """
    result = rule(relative)
    lacking = sum((mask.astype(np.uint8) << bit for bit, mask in enumerate(unseen.values())), np.uint8(0))
    for some in np.unique(lacking[lacking > 0]) if unseen else ():
        here = lacking == some
        left_out = {m for bit, m in enumerate(unseen) if some >> bit & 1}
        result[here] = rule({m: values[here] for m, values in relative.items() if m not in left_out})
    return result


def _csf(relative: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the fraction of CSF: the weighted geometric mean of what each contrast says."""
    evidence, weights = [], []
    if T2 in relative:
        evidence.append(_step(relative[T2], 0.35, 0.08))
        weights.append(0.65)
    if FLAIR in relative:
        evidence.append(_step(-relative[FLAIR], 0.28, 0.08))
        weights.append(0.35)
    elif CET1 in relative:
        evidence.append(_step(-relative[CET1], 0.35, 0.10))
        weights.append(0.35)
    product = np.ones_like(evidence[0])
    for values, weight in zip(evidence, weights):
        product *= values ** (weight / sum(weights))
    return product


def _like_fluid(relative: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return how much something looks like fluid: bright in T2, dark in FLAIR and ceT1. Tissue is about 0."""
    weights = {m: w for m, w in ((T2, 0.6), (FLAIR, -0.4), (CET1, -0.25)) if m in relative}
    # Fluid is brighter than tissue in T2: how much darker than tissue something is says nothing of it.
    values = {m: np.maximum(relative[m], 0) if m == T2 else relative[m] for m in weights}
    return sum(weight * values[m] for m, weight in weights.items()) / sum(abs(w) for w in weights.values())


def _sulci(mixed: np.ndarray, inside: np.ndarray, spacing: float) -> np.ndarray:
    """Return the fraction of thin fluid: brighter in T2, darker in FLAIR and ceT1 than around it.

    By contrast with the surroundings, as partial volume leaves narrow sulci far from the intensity of fluid. What is
    clear counts up to 0.4 whatever its shape; beyond that, and what is faint, only in the middle of a sheet.

    :param mixed: From :func:`_like_fluid`.
    """
    mixed = np.where(inside, mixed, 0.4).astype(np.float32)
    contrast = np.where(inside, mixed - _blur(mixed, 1.6, spacing), 0)
    clear = np.clip((contrast - 0.06) / 0.13, 0, 1)
    faint = np.clip((contrast - 0.025) / 0.08, 0, 1)
    return np.maximum(0.4 * clear, faint * _sheetness(mixed, contrast > 0.025, spacing))


def _grey(relative: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return how grey matter, 1, differs from white, 0, in the first of T2, FLAIR and ceT1."""
    first = next(m for m in (T2, FLAIR, CET1) if m in relative)
    sign = -1.0 if first == CET1 else 1.0
    return sign * relative[first] / 0.25


def _sheetness(image: np.ndarray, where: np.ndarray, spacing: float) -> np.ndarray:
    """Return how much what is bright is a sheet's middle, 0..1, at the voxels asked for: 1 curved along one axis only.

    From the eigenvalues of the Hessian at a scale of 1 mm (after Sato et al. 1998): 1 - |second| / |first|, doubled;
    times a Gaussian of the distance to where the slope along the first is zero (Steger 1998): ultrasound shows a sulcus
    as a line however wide it is.
    A volume of one voxel along an axis has no sheets that could be told.
    """
    if min(image.shape) < 2:
        return np.zeros(image.shape, np.float32)
    smooth = _blur(image, 1.0, spacing)
    first = np.gradient(smooth)
    second = np.empty((int(where.sum()), 3, 3), np.float32)
    for row in range(3):
        for column, along in enumerate(np.gradient(first[row])):
            second[:, row, column] = along[where]
    values, axes = np.linalg.eigh(second)
    across, along = np.maximum(-values[:, 0], 1e-6), np.abs(values[:, 1])
    slope = sum(first[axis][where] * axes[:, axis, 0] for axis in range(3))
    middle = np.exp(-0.5 * (slope / across * spacing / _PIA_MM) ** 2)
    found = np.zeros(image.shape, np.float32)
    found[where] = np.where(values[:, 0] < -1e-6, np.clip(2 * (1 - along / across), 0, 1) * middle, 0)
    return found


def _dura(image: np.ndarray, levels: Levels, inside: np.ndarray, spacing: float) -> np.ndarray:
    """Return the fraction of thin sheets clearly brighter in ceT1 than around them: falx, tentorium, larger vessels."""
    bright = image.astype(np.float32) / levels.upper
    thin = np.clip((bright - _blur(bright, 2.0, spacing) - 0.10) / 0.20, 0, 1)
    return np.where(ndimage.binary_erosion(inside, iterations=2), thin, 0)


def _enhancing(image: np.ndarray, levels: Levels) -> np.ndarray:
    """Return the fraction of what is clearly brighter than white matter in ceT1, which lies in its upper quarter."""
    return _step(image.astype(np.float32) / levels.upper, 1.30, 0.06)


def tissue_from_mr(
    contrasts: Mapping[str, np.ndarray],
    label: Optional[np.ndarray],
    spacing: float,
    levels: Optional[Mapping[str, Levels]] = None,
    unseen: Optional[Mapping[str, np.ndarray]] = None,
) -> Tissue:
    """Estimate the tissue from at least one MR contrast. Where one shows nothing the others decide.

    :param contrasts: ``{modality: (k, j, i)}``, background 0, isotropic voxels.
    :param label: 1 necrosis, 2 oedema, 3 or 4 enhancing tumour, or None: then the lesion is what FLAIR and ceT1 show.
        What the contrasts show to be fluid inside a lesion is a cyst, whatever its label.
    :param spacing: Of the voxels, mm.
    :param levels: From :func:`contrast_levels`, by modality; missing ones are measured here.
    :param unseen: From :func:`unseen_parts`; None: found here.
    """
    known: Dict[str, Levels] = dict(levels or {})
    known.update({m: contrast_levels(image) for m, image in contrasts.items() if m not in known})
    relative = {m: _relative(image, known[m]) for m, image in contrasts.items()}
    unseen = unseen_parts(contrasts) if unseen is None else {m: mask for m, mask in unseen.items() if mask.any()}
    shape = next(iter(contrasts.values())).shape
    inside = np.zeros(shape, dtype=bool)
    for image in contrasts.values():
        inside |= image > 0
    csf = np.where(inside, _by_what_is_seen(_csf, relative, unseen), 0).astype(np.float32)
    zero = np.zeros(shape, dtype=np.float32)
    has_label = label is not None and bool(np.any(label))
    enhancing = _enhancing(contrasts[CET1], known[CET1]) if CET1 in contrasts else zero
    if has_label:
        core, oedema, necrosis = _lesion_of_label(label, spacing)
        # Without FLAIR, tumour and oedema look like fluid: the label knows better.
        inside_lesion = csf * np.clip((csf - 0.4) / 0.3, 0, 1) if FLAIR in relative else 0
        if FLAIR in unseen:
            inside_lesion = np.where(unseen[FLAIR], 0, inside_lesion)
        csf = np.where(label > 0, inside_lesion, csf)
    else:
        bright = np.where(inside, _step(relative[FLAIR], 0.45, 0.10), 0) if FLAIR in relative else zero
        core, oedema = _lesion_of_mr(bright * (1 - csf), enhancing, spacing)
        necrosis = zero
    surroundings = _blur(csf, 2.2, spacing)
    wide = ndimage.maximum_filter(_step(surroundings, 0.56, 0.05), size=2 * max(1, int(round(2.0 / spacing))) + 1)
    fluid = csf * wide
    tumour = core
    if has_label:
        # A label has one value throughout; what MR shows inside is seen: cysts, and an echo that fades with the water.
        solid = 1 - _blur(np.where(label > 0, fluid, 0), 0.8, spacing)
        of_tumour, of_oedema = _echoes_of_water(relative, unseen)
        tumour, oedema, necrosis = core * solid * of_tumour, oedema * solid * of_oedema, necrosis * solid
    thin = _sulci(_by_what_is_seen(_like_fluid, relative, unseen), inside, spacing)
    if CET1 in relative:
        shown = inside & ~unseen[CET1] if CET1 in unseen else inside
        thin = np.maximum(thin, _dura(contrasts[CET1], known[CET1], shown, spacing))
    sulcus = thin * (1 - wide) * (1 - np.clip(2 * core, 0, 1))
    choroid = np.clip(2.5 * enhancing * _blur(fluid, 2.5, spacing), 0, 1) * (1 - np.clip(2 * core, 0, 1))
    grey = np.clip(_by_what_is_seen(_grey, relative, unseen), -0.5, 1.5) * (1 - csf)
    return Tissue(
        inside.astype(np.float32), fluid, sulcus, grey, tumour, oedema, necrosis, enhancing.astype(np.float32), choroid
    )


def _lesion_of_mr(bright: np.ndarray, enhancing: np.ndarray, spacing: float):
    """Return soft tumour and oedema where there is no label: what is bright in FLAIR, and what enhances within it.

    :param bright: Fraction of what is bright in FLAIR and no fluid.
    :param enhancing: From :func:`_enhancing`.
    """
    oedema = _blur(bright.astype(np.float32), 0.7, spacing)
    return _blur((enhancing * _blur(oedema, 4.0, spacing)).astype(np.float32), 1.0, spacing), oedema


def _echoes_of_water(relative: Mapping[str, np.ndarray], unseen: Mapping[str, np.ndarray]):
    """Return factors of tumour and of oedema, which grow with the water that FLAIR shows; 1 where it shows nothing."""
    if FLAIR not in relative:
        return np.float32(1), np.float32(1)
    flair = relative[FLAIR]
    factors = np.clip(0.5 + 0.6 * flair, 0.4, 1.2), np.clip(0.3 + flair / 0.6, 0.3, 1.3)
    if FLAIR not in unseen:
        return factors
    of_tumour, of_oedema = (np.where(unseen[FLAIR], 1, factor) for factor in factors)
    return of_tumour, of_oedema


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
