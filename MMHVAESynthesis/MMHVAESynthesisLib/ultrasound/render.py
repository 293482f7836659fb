"""From tissue on a grid of voxels, through the beams of a probe, to grey values on another grid of voxels."""

from typing import List, Tuple

import numpy as np
from scipy import ndimage

from .appearance import Appearance
from .beam import BeamGrid, form_image
from .probe import Probe
from .tissue import Tissue

_SLAB_VOXELS = 1 << 22


def coordinates(affine: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> Tuple[np.ndarray, ...]:
    """Apply a 4 x 4 matrix to points given as three arrays that broadcast."""
    affine = affine.astype(np.float32)
    return tuple(affine[r, 0] * x + affine[r, 1] * y + affine[r, 2] * z + affine[r, 3] for r in range(3))


def index_arrays(shape: Tuple[int, int, int]) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return i, j and k of the voxels of an array (k, j, i), as arrays that broadcast to its shape."""
    k, j, i = (np.arange(n, dtype=np.float32) for n in shape)
    return i[None, None, :], j[None, :, None], k[:, None, None]


def echo_maps(tissue: Tissue, appearance: Appearance):
    """Return the echoes that :func:`form_image` reads, on the grid of ``tissue``."""
    decibels = (
        appearance.grey_db * np.clip(tissue.grey, -0.5, 1)
        + appearance.tumour_db * tissue.tumour
        + appearance.oedema_db * tissue.oedema
        + appearance.necrosis_db * tissue.necrosis
        + appearance.enhancing_db * tissue.enhancing
        + appearance.choroid_db * tissue.choroid
        + appearance.fluid_db * tissue.fluid * (1 - tissue.choroid)
    )
    return {
        "scatter": 10 ** (decibels / 20) * tissue.inside,
        "sheets": np.maximum(tissue.sulcus, 0.7 * tissue.enhancing * (1 - np.clip(2 * tissue.tumour, 0, 1)))
        * tissue.inside,
        "fluid": tissue.fluid,
        "grey": np.clip(tissue.grey, 0, 1),
        "inside": tissue.inside,
        "lesion": np.maximum(tissue.tumour, 0.4 * tissue.oedema),
    }


def render(
    tissue: Tissue,
    probe_to_index: np.ndarray,
    probe: Probe,
    appearance: Appearance,
    out_to_probe: np.ndarray,
    shape: Tuple[int, int, int],
    rng: np.random.Generator,
) -> Tuple[np.ndarray, np.ndarray]:
    """Simulate what the probe sees.

    :param tissue: Arrays (k, j, i).
    :param probe_to_index: 4 x 4, probe coordinates (mm) to the fractional (i, j, k) of ``tissue``.
    :param out_to_probe: 4 x 4, (i, j, k) of the result to probe coordinates.
    :param shape: (k, j, i) of the result.
    :return: Grey values uint8, 1..255 in the field of view and 0 outside, and the field of view, bool.
    """
    mask, beams = _seen(probe, out_to_probe, shape)
    image = np.zeros(shape, dtype=np.uint8)
    if not mask.any():
        return image, mask
    limits = [[end(beam[axis]) for beam in beams if beam[0].size for end in (np.min, np.max)] for axis in range(3)]
    grid = BeamGrid.around(*map(np.array, limits))
    samples = probe.from_beam(*grid.axes())
    index = np.stack(np.broadcast_arrays(*coordinates(probe_to_index, *samples)[::-1])).astype(np.float32)
    echoes = {
        name: ndimage.map_coordinates(np.asarray(values, np.float32), index, order=1, mode="constant")
        for name, values in echo_maps(tissue, appearance).items()
    }
    grey = form_image(echoes, grid, probe, appearance, rng)
    for slab, beam in zip(_slabs(shape), beams):
        values = ndimage.map_coordinates(grey, grid.index(*beam), order=1, mode="nearest")
        values *= 1 + appearance.grain * rng.standard_normal(values.shape, dtype=np.float32)
        image[slab][mask[slab]] = np.clip(np.rint(values), 1, 255)
    _dim_the_edge(image, mask, rng)
    return image, mask


def _dim_the_edge(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator):
    """Darken the outermost voxels, which frames fill in part: most a little, few down to 1, as in real volumes."""
    edge = mask & ~ndimage.binary_erosion(mask)
    image[edge] = np.maximum(np.rint(image[edge] * rng.random(int(edge.sum())) ** 0.3), 1)


def _seen(probe: Probe, out_to_probe: np.ndarray, shape: Tuple[int, int, int]):
    """Return which voxels of the result lie in the field of view, and for each slab their beam coordinates."""
    mask, beams = np.zeros(shape, dtype=bool), []
    i, j, k = index_arrays(shape)
    for slab in _slabs(shape):
        points = np.broadcast_arrays(*coordinates(out_to_probe, i, j, k[slab]))
        beam = probe.to_beam(*points)
        mask[slab] = probe.inside(*beam)
        beams.append(tuple(values[mask[slab]] for values in beam))
    return mask, beams


def _slabs(shape: Tuple[int, int, int]) -> List[slice]:
    """Return the planes of an array (k, j, i) in parts, so that coordinates of a fine grid stay small."""
    planes = max(1, _SLAB_VOXELS // (shape[1] * shape[2]))
    return [slice(start, start + planes) for start in range(0, shape[0], planes)]
