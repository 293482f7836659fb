"""A procedural, brain-like head: the project's own example for the demo and the tests. No real data is in it.

The anatomy is drawn with smooth functions of space: two hemispheres with a folded cortex (level sets of band-limited
noise), white matter, deep grey nuclei, ventricles, falx, cerebellum, brain stem and one tumour with
necrosis, enhancing rim and oedema. The contrast of each tissue follows the look of T2, ceT1 and FLAIR at 3 T.
"""

from typing import Dict

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..errors import InputError
from ..modalities import CET1, FLAIR, T2
from .noise import smooth_noise

SIZE_MM = (150.0, 184.0, 160.0)
TISSUES = ("csf", "grey", "white", "deep", "necrosis", "enhancing", "oedema", "vessel", "dura")
CONTRAST = {
    T2: (1500, 760, 540, 560, 1250, 900, 1020, 260, 420),
    CET1: (330, 780, 1080, 920, 420, 1900, 820, 1750, 1400),
    FLAIR: (210, 960, 780, 860, 640, 1250, 1420, 420, 620),
}
"""Intensity of each of :data:`TISSUES`, arbitrary MR units."""


def phantom(seed: int = 0, spacing: float = 1.0) -> Dict[str, sitk.Image]:
    """Draw a head: ``t2``, ``cet1``, ``flair`` (int16) and ``label`` (uint8: 1 necrosis, 2 oedema, 4 rim).

    The background is 0: the brain is skull-stripped.

    :param seed: 0 or more; the folds, the ventricles and the tumour's place depend on it.
    :param spacing: Of the isotropic voxels, 0.5 to 4 mm.
    :raises InputError: when the seed or the spacing is out of range.

    Axes are those of the LPS world (i to the left, j to the back, k up); the origin puts the head's middle at 0.
    """
    if not 0.5 <= spacing <= 4:
        raise InputError(f"The spacing of the phantom must lie between 0.5 and 4 mm, not {spacing!r}.")
    if int(seed) != seed or seed < 0:
        raise InputError(f"The seed must be a whole number of 0 or more, not {seed!r}.")
    rng = np.random.default_rng(seed)
    shape = tuple(int(round(size / spacing)) for size in SIZE_MM[::-1])
    k, j, i = (np.arange(n, dtype=np.float32) * spacing - (n - 1) * spacing / 2 for n in shape)
    x, y, z = i[None, None, :], j[None, :, None], k[:, None, None]
    fractions, brain, label = _tissues(x, y, z, shape, spacing, rng)
    images = {}
    for modality in (T2, CET1, FLAIR):
        signal = sum(value * fraction for value, fraction in zip(CONTRAST[modality], fractions))
        signal = signal * _bias(shape, rng) * (1 + 0.035 * _noise(shape, 1.1 / spacing, rng))
        signal = ndimage.gaussian_filter(signal, 0.45 / spacing) + 12 * rng.standard_normal(shape, dtype=np.float32)
        images[modality] = _image(np.where(brain, np.maximum(signal, 1), 0).astype(np.int16), spacing)
    images["label"] = _image(label, spacing)
    return images


def _image(array: np.ndarray, spacing: float) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([spacing] * 3)
    image.SetOrigin([-(n - 1) * spacing / 2 for n in image.GetSize()])
    return image


def _noise(shape, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return smooth_noise(shape, (sigma,) * 3, rng)


def _bias(shape, rng: np.random.Generator) -> np.ndarray:
    return np.exp(0.05 * _noise(shape, max(shape) / 5, rng))


def _soft(distance: np.ndarray, width: float = 0.6) -> np.ndarray:
    """Return 1 where a signed distance (mm) is positive, 0 where negative, with the partial volume of ``width`` mm."""
    return np.clip(distance / (2 * width) + 0.5, 0, 1)


def _ellipsoid(x, y, z, centre, radii) -> np.ndarray:
    """Return about the signed distance (mm, positive inside) to an ellipsoid."""
    squared = sum(((v - c) / r) ** 2 for v, c, r in zip((x, y, z), centre, radii))
    return (1 - np.sqrt(squared)) * float(min(radii))


def _tissues(x, y, z, shape, spacing, rng):
    """Return the fraction of each of :data:`TISSUES`, the brain (bool) and the label map."""
    warp = [2.0 * _noise(shape, 14 / spacing, rng) for _ in range(3)]
    x, y, z = x + warp[0], y + warp[1], z + warp[2]
    cerebrum = _ellipsoid(x, y, z, (0, 0, 8), (65, 81, 60)) - 0.22 * np.maximum(-z - 12, 0) * (y < 30)
    cerebellum = _ellipsoid(x, y, z, (0, 42, -40), (46, 28, 22))
    stem = _ellipsoid(x, y, z, (0, 14, -42), (13, 13, 28))
    surface = np.maximum(np.maximum(cerebrum, cerebellum), stem)
    brain = ndimage.binary_fill_holes(surface > 0)
    depth = np.maximum(surface, 0)
    sulcal, cortex = _folds(x, y, z, depth, cerebellum - cerebrum, shape, spacing, rng)
    fissure = _soft(1.1 - np.abs(x + 1.5 * warp[0] / 2), 0.7) * _soft(_above_callosum(y, z), 1.0)
    dura = _soft(0.45 - np.abs(x), 0.5) * _soft(_above_callosum(y, z) - 2, 1.0)
    ventricles = _ventricles(x, y, z, rng)
    csf = np.maximum.reduce([sulcal, fissure, _soft(ventricles), _soft(1.3 - depth, 0.5)])
    deep = np.zeros(shape, np.float32)
    for side in (-1, 1):
        deep = np.maximum(deep, _soft(_ellipsoid(x, y, z, (14 * side, 8, 4), (8, 14, 9)), 1.2))
        deep = np.maximum(deep, _soft(_ellipsoid(x, y, z, (25 * side, -10, 4), (6, 17, 11)), 1.2))
    vessel = _soft(_noise(shape, 1.0 / spacing, rng) - 3.1, 0.2) * _soft(depth - 2)
    tumour = _tumour(x, y, z, shape, spacing, rng)
    label = np.zeros(shape, np.uint8)
    for value, name in ((2, "oedema"), (4, "enhancing"), (1, "necrosis")):
        label[(tumour[name] > 0.5) & brain] = value
    layers = [
        ("white", np.ones(shape, np.float32)),
        ("grey", cortex),
        ("deep", deep),
        ("oedema", tumour["oedema"] * (1 - 0.7 * cortex)),
        ("vessel", vessel),
        ("csf", csf * (1 - np.maximum(tumour["enhancing"], tumour["necrosis"]))),
        ("dura", dura),
        ("enhancing", tumour["enhancing"]),
        ("necrosis", tumour["necrosis"]),
    ]
    return _painted(layers), brain, label


def _above_callosum(y, z) -> np.ndarray:
    """Return how far (mm) a point of the midline lies above the corpus callosum, where the hemispheres part."""
    return np.sqrt((y / 1.25) ** 2 + (np.maximum(z - 6, -30)) ** 2) - 32 - 6 * (z < -10)


def _painted(layers):
    """Paint tissues over each other in order and return their fractions in the order of :data:`TISSUES`."""
    fractions = {name: np.zeros_like(layers[0][1]) for name in TISSUES}
    for name, cover in layers:
        for other in fractions.values():
            other *= 1 - cover
        fractions[name] += cover
    return [fractions[name] for name in TISSUES]


def _folds(x, y, z, depth, in_cerebellum, shape, spacing, rng):
    """Return sulcal CSF and cortical grey matter: CSF where band-limited noise is near 0, cortex around it.

    The noise is read at points drawn towards the surface, so that the folds run inward as sulci do.
    """
    folds = _drawn_outward(_noise(shape, 4.2 / spacing, rng), depth, x, y, z, spacing)
    slope = np.sqrt(sum(g**2 for g in np.gradient(folds, spacing)))
    distance = np.abs(folds) / np.maximum(slope, 0.05)
    reach = 15 + 4 * _noise(shape, 10 / spacing, rng)
    folia = np.abs(np.sin((z + 0.35 * y) * 1.1)) * 0.8
    leaf = _soft(in_cerebellum, 1.0)
    sulcal = _soft(0.75 - distance, 0.5) * _soft(reach - depth, 2.0) * (1 - leaf)
    sulcal = np.maximum(sulcal, leaf * _soft(0.12 - folia, 0.15) * _soft(7 - depth, 2))
    cortex = _soft(3.2 - distance, 0.6) * _soft(reach + 2.5 - depth, 1.5) * (1 - leaf)
    cortex = np.maximum(cortex, _soft(3.4 - depth, 0.6))
    return sulcal, np.maximum(cortex, leaf * _soft(0.5 - folia, 0.2) * _soft(12 - depth, 2))


def _drawn_outward(noise: np.ndarray, depth: np.ndarray, x, y, z, spacing: float) -> np.ndarray:
    """Return noise read nearer to the surface by two thirds of the depth, on the line from the head's middle."""
    radius = np.sqrt(x**2 + y**2 + (z - 8) ** 2)
    factor = (0.65 * depth / np.maximum(radius, 10)).astype(np.float32)
    grid = np.meshgrid(*[np.arange(n, dtype=np.float32) for n in noise.shape], indexing="ij", sparse=True)
    index = np.stack([g + factor * v / spacing for g, v in zip(grid, (z - 8, y, x))])
    return ndimage.map_coordinates(noise, index, order=1, mode="nearest")


def _ventricles(x, y, z, rng) -> np.ndarray:
    """Return about the signed distance (mm, positive inside) to the lateral and third ventricles."""
    width = rng.uniform(0.9, 1.25)
    parts = [_ellipsoid(x, y, z, (0, 4, 0), (2.2 * width, 13, 9))]
    for side in (-1, 1):
        bend = side * (7 + 0.006 * (y + 5) ** 2)
        parts.append(_ellipsoid(x - bend, y, z + 0.004 * y**2, (0, 2, 17), (5.5 * width, 36, 8)))
        parts.append(_ellipsoid(x, y, z, (25 * side, 34, 6), (5 * width, 11, 12)))
    return np.maximum.reduce(parts)


def _tumour(x, y, z, shape, spacing, rng):
    """Return the fractions of necrosis, enhancing rim and oedema of one glioma under the upper surface."""
    side, angle = rng.choice([-1, 1]), rng.uniform(-0.9, 1.1)
    centre = (side * rng.uniform(30, 38), 42 * np.sin(angle), rng.uniform(22, 32))
    radius = rng.uniform(11, 15)
    distance = np.sqrt((x - centre[0]) ** 2 + ((y - centre[1]) / 1.15) ** 2 + (z - centre[2]) ** 2)
    ragged = radius - distance + 2.0 * _noise(shape, 4 / spacing, rng)
    spread = ragged + 8 + 3.0 * _noise(shape, 5 / spacing, rng)
    core, rim = _soft(ragged), rng.uniform(2.5, 4.5)
    necrosis = _soft(ragged - rim + 0.8 * _noise(shape, 2 / spacing, rng))
    return {"necrosis": necrosis, "enhancing": core * (1 - necrosis), "oedema": _soft(spread, 1.5) * (1 - core)}
