"""Fixed and moving volumes on common millimetre grids, coarse to fine."""

from dataclasses import dataclass
from typing import Dict, Sequence, Tuple

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from .frame import Frame

REACH = 44.0
"""Millimetres around the field of view in which the moving volume is looked at."""

MOST_VOXELS = 1.5e6
"""Of the field of view's box at the finest level: larger fields get coarser grids, so that time stays bounded."""

BLUR = {1: (0.0, 0.8), 2: (0.5, 0.8), 4: (0.5, 0.5), 8: (0.5, 0.5)}
"""By stride: standard deviations of the fixed and of the moving volume's blur before sampling, in voxels of the level.

Fine levels blur the moving volume more, or a pose without rotation would gain by a shift of half a voxel: linear
interpolation between voxels then blurs it, which makes it more like a synthesis.
"""

_FLAT = 1e-5
"""Standard deviation, as a part of the mean, below which single precision leaves nothing but rounding."""


@dataclass(frozen=True)
class Level:
    """One resolution. Arrays are indexed [pair, x, y, z] along the frame's axes.

    :param spacing: mm, the same along each axis.
    :param fixed: (P, X, Y, Z) float32, mean 0 and standard deviation 1 inside its mask.
    :param mask: (P, X, Y, Z) bool, where the fixed image counts.
    :param moving: (P, U, V, W) float32, scaled likewise.
    :param valid: (P, U, V, W) bool, where the moving image has data.
    :param fixed_origin: (3,) mm, the local position of fixed[:, 0, 0, 0]; ``moving_origin`` likewise.
    """

    spacing: float
    fixed: np.ndarray
    mask: np.ndarray
    moving: np.ndarray
    valid: np.ndarray
    fixed_origin: np.ndarray
    moving_origin: np.ndarray

    def fixed_points(self) -> np.ndarray:
        """Return the local positions of the fixed voxels, (X * Y * Z, 3) mm."""
        axes = [start + self.spacing * np.arange(n) for start, n in zip(self.fixed_origin, self.fixed.shape[1:])]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)

    def moving_indices(self, points: np.ndarray) -> np.ndarray:
        """Return where local points (N, 3) lie in the moving arrays, (N, 3) in voxels."""
        return (points - self.moving_origin) / self.spacing

    def valid_at(self, pair: int, indices: np.ndarray) -> np.ndarray:
        """Return whether the moving volume of a pair has data at indices (N, 3): (N,) bool."""
        nearest = np.rint(indices).astype(np.intp)
        size = np.array(self.valid.shape[1:])
        inside = ((nearest >= 0) & (nearest < size)).all(axis=1)
        if self.valid[pair].all():
            return inside
        x, y, z = np.clip(nearest, 0, size - 1).T
        return inside & self.valid[pair][x, y, z]


@dataclass(frozen=True)
class Box:
    """A grid in local coordinates: the first voxel's position (3,) mm, and how many voxels (3,)."""

    origin: np.ndarray
    size: Tuple[int, int, int]

    def reference(self, frame: Frame, spacing: float) -> sitk.Image:
        """Return an image of no particular content whose voxels are this grid's, in world coordinates."""
        image = sitk.Image([int(n) for n in self.size], sitk.sitkUInt8)
        image.SetSpacing([spacing] * 3)
        image.SetDirection(frame.axes.ravel().tolist())
        image.SetOrigin((frame.axes @ self.origin + frame.centre).tolist())
        return image


def sampled(image: sitk.Image, grid: sitk.Image, transform: sitk.Transform) -> Tuple[np.ndarray, np.ndarray]:
    """Sample ``image`` linearly at a grid's points under ``transform``: (X, Y, Z) float32, and where it has any."""
    values = sitk.Resample(image, grid, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    ones = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    ones.CopyInformation(image)
    inside = sitk.Resample(ones, grid, transform, sitk.sitkNearestNeighbor, 0.0, sitk.sitkUInt8)
    return _array(values), _array(inside).astype(bool)


def _array(image: sitk.Image) -> np.ndarray:
    return np.ascontiguousarray(sitk.GetArrayViewFromImage(image).transpose(2, 1, 0))


def _reduced(values: np.ndarray, where: np.ndarray, sigma: float, step: int) -> np.ndarray:
    """Blur by a Gaussian of ``sigma`` voxels, with the voxels of ``where`` alone, and take every ``step``-th."""
    kept = where[(slice(None, None, step),) * 3]
    if where.all():
        return _blurred(values, sigma, step, "nearest")
    weight = _blurred(where.astype(np.float32), sigma, step, "constant")
    total = _blurred(values * where, sigma, step, "constant")
    return np.where(kept, total / np.maximum(weight, 1e-3), 0).astype(np.float32)


def _blurred(values: np.ndarray, sigma: float, step: int, mode: str) -> np.ndarray:
    for axis in range(3):
        if sigma:
            values = ndimage.gaussian_filter1d(values, sigma, axis, mode=mode, truncate=3)
        # What an axis drops, the next ones need not blur.
        values = values[(slice(None),) * axis + (slice(None, None, step),)]
    return np.ascontiguousarray(values)


def _standardised(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return values of mean 0 and standard deviation 1 inside ``where``, 0 outside; 0 everywhere if constant."""
    inside = values[where]
    if inside.size == 0 or inside.std() <= _FLAT * max(abs(float(inside.mean())), 1e-30):
        return np.zeros_like(values)
    return ((values - inside.mean()) / inside.std() * where).astype(np.float32)


def local_image(values: np.ndarray, origin: np.ndarray, spacing: float) -> sitk.Image:
    """Return an array (X, Y, Z) of a level as an image in local coordinates; bool becomes 0 and 1."""
    stored = values.astype(np.uint8) if values.dtype == bool else values
    image = sitk.GetImageFromArray(np.ascontiguousarray(stored.transpose(2, 1, 0)))
    image.SetOrigin(np.asarray(origin).tolist())
    image.SetSpacing([spacing] * 3)
    return image


class Pyramid:
    """The volumes of one registration at every resolution that is asked for, each made once."""

    def __init__(self, frame: Frame, spacing: float, box: Box, mask: np.ndarray):
        """Start with the field of view: ``mask`` (X, Y, Z) bool on the grid ``box`` of ``spacing`` mm."""
        self.frame, self.spacing, self._box, self._mask = frame, spacing, box, mask
        self._reach = int(np.ceil(REACH / spacing))
        self._fixed, self._moving = [], []
        self._levels: Dict[int, Level] = {}

    def add(self, fixed: sitk.Image, moving: sitk.Image, initial: sitk.Transform) -> None:
        """Add a pair; ``initial`` maps fixed to moving world points, and is undone in what the levels hold."""
        values, inside = sampled(
            fixed, self._box.reference(self.frame, self.spacing), sitk.Transform(3, sitk.sitkIdentity)
        )
        self._fixed.append((values, inside & self._mask))
        wide = Box(self._box.origin - self._reach * self.spacing, tuple(n + 2 * self._reach for n in self._box.size))
        self._moving.append(sampled(moving, wide.reference(self.frame, self.spacing), initial))

    def only(self, pairs: Sequence[int]) -> "Pyramid":
        """Return the same of some pairs, by their numbers."""
        some = Pyramid(self.frame, self.spacing, self._box, self._mask)
        some._fixed = [self._fixed[pair] for pair in pairs]
        some._moving = [self._moving[pair] for pair in pairs]
        return some

    def level(self, stride: int) -> Level:
        """Return the volumes at ``stride`` (1, 2, 4 or 8) times the finest spacing."""
        if stride not in self._levels:
            self._levels[stride] = self._make(stride)
        return self._levels[stride]

    def _make(self, stride: int) -> Level:
        if stride <= 2:
            pairs, step, blurred = (self._fixed, self._moving), stride, (0.0, 0.0)
        else:
            # From the level before, in which an eighth of the voxels hold all that is to be left of them.
            finer, step = self.level(stride // 2), 2
            pairs = list(zip(finer.fixed, finer.mask)), list(zip(finer.moving, finer.valid))
            blurred = tuple(0.5 * sigma for sigma in BLUR[stride // 2])
        sigmas = [step * np.sqrt(sigma**2 - before**2) for sigma, before in zip(BLUR[stride], blurred)]
        (fixed, mask), (moving, valid) = (self._coarser(*given, step) for given in zip(pairs, sigmas))
        return Level(
            spacing=stride * self.spacing,
            fixed=fixed,
            mask=mask,
            moving=moving,
            valid=valid,
            fixed_origin=self._box.origin,
            moving_origin=self._box.origin - self._reach * self.spacing,
        )

    @staticmethod
    def _coarser(pairs, sigma: float, step: int) -> Tuple[np.ndarray, np.ndarray]:
        masks = [np.ascontiguousarray(where[(slice(None, None, step),) * 3]) for _, where in pairs]
        images = [_reduced(values, where, sigma, step) for values, where in pairs]
        return np.stack([_standardised(*pair) for pair in zip(images, masks)]), np.stack(masks)
