"""Where the network's slices lie in a reference volume: axes, planes and tiles."""

from dataclasses import dataclass
from typing import List, Sequence, Tuple

import numpy as np
import SimpleITK as sitk

SPACING_TOLERANCE = 1e-3
"""Millimetres within which a volume has the model's spacing."""

_LEAST_OVERLAP = 1 / 4
"""Of neighbouring tiles, as a part of the tile."""

_ROUNDING = 1e-6
"""Of a sample: positions closer to one than that, or to the end of a volume, lie there but for rounding."""


def reoriented(image: sitk.Image, reference: sitk.Image) -> sitk.Image:
    """Return a volume with its axes in the order and the sense of a reference's; each voxel stays where it is.

    The volume itself where its axes are those already, or its voxels cannot be the reference's in another order.
    """
    ours, theirs = (np.reshape(each.GetDirection(), (3, 3)) for each in (reference, image))
    along = ours.T @ theirs
    order = np.abs(along).argmax(axis=1).tolist()
    flipped = [bool(along[axis, other] < 0) for axis, other in enumerate(order)]
    size = tuple(image.GetSize()[axis] for axis in order)
    if sorted(order) != [0, 1, 2] or size != reference.GetSize() or (order == [0, 1, 2] and not any(flipped)):
        return image
    return sitk.Flip(sitk.PermuteAxes(image, order), flipped)


@dataclass(frozen=True)
class Interpolation:
    """Linear interpolation along one axis: (1 - weight) * at[below] + weight * at[above], 0 where not valid.

    As ITK has it, a sample is known up to half a sample beyond the outermost ones.
    """

    below: np.ndarray
    above: np.ndarray
    weight: np.ndarray
    valid: np.ndarray

    @classmethod
    def at(cls, positions: np.ndarray, count: int) -> "Interpolation":
        """Interpolate between ``count`` samples at positions given in samples."""
        valid = (positions >= -0.5 - _ROUNDING) & (positions <= count - 0.5 + _ROUNDING)
        inside = np.clip(positions, 0, count - 1)
        # A trace of a neighbour would be more than nothing, where nothing is.
        nearest = np.round(inside)
        inside = np.where(np.abs(inside - nearest) < _ROUNDING, nearest, inside)
        below = np.floor(inside).astype(np.intp)
        return cls(below, np.minimum(below + 1, count - 1), (inside - below).astype(np.float32), valid)

    def apply(self, array: np.ndarray, axis: int) -> np.ndarray:
        """Interpolate a 2D array along ``axis``."""
        shape = (-1, 1) if axis == 0 else (1, -1)
        weight = self.weight.reshape(shape)
        mixed = (1 - weight) * array.take(self.below, axis) + weight * array.take(self.above, axis)
        return np.where(self.valid.reshape(shape), mixed, np.float32(0))


@dataclass(frozen=True)
class Axis:
    """One axis of the model's grid in a reference volume.

    Model sample ``p`` lies at the reference's continuous index ``start + p * step``.

    :param length: Samples of the reference along this axis.
    :param count: Samples of the model's grid.
    """

    length: int
    start: float
    step: float
    count: int

    def there(self) -> Interpolation:
        """Return the interpolation from the reference's samples to the model's."""
        return Interpolation.at(self.start + self.step * np.arange(self.count), self.length)

    def back(self) -> Interpolation:
        """Return the interpolation from the model's samples to the reference's."""
        return Interpolation.at((np.arange(self.length) - self.start) / self.step, self.count)


def _step(native: float, spacing: float) -> float:
    return 1.0 if abs(native - spacing) <= SPACING_TOLERANCE else spacing / native


def _centred(length: int, low: int, high: int, step: float, least: int) -> Axis:
    """Return an axis of at least ``least`` samples centred on the samples ``low`` to ``high`` of the reference.

    With a step of 1 it falls on the reference's own samples, so that nothing is interpolated. A volume narrower than a
    step would lie between two samples: then one of them falls on its centre.
    """
    count = max(least, int(np.ceil((high - low + 1) / step - 1e-6)))
    before = count // 2 if length < step else (count - 1) / 2
    start = (low + high) / 2 - before * step
    return Axis(length, float(np.floor(start)) if step == 1 else start, step, count)


@dataclass(frozen=True)
class Tile:
    """A square of the model's size within a plane: its first row (along I) and column (along J)."""

    row: int
    column: int
    size: int

    def cut(self, plane: np.ndarray) -> np.ndarray:
        """Return the tile's part of a plane, [i, j], as a view."""
        return plane[self.row : self.row + self.size, self.column : self.column + self.size]


def _tile_starts(count: int, size: int) -> List[int]:
    if count == size:
        return [0]
    overlap = int(size * _LEAST_OVERLAP)
    tiles = int(np.ceil((count - overlap) / (size - overlap)))
    return [int(start) for start in np.round(np.linspace(0, count - size, tiles))]


def _tile_weights(starts: Sequence[int], size: int, count: int) -> np.ndarray:
    """Return each tile's weights along one axis, (tiles, size): raised cosines over the overlaps that sum to 1."""
    weights = np.ones((len(starts), size))
    for left, right in zip(range(len(starts)), range(1, len(starts))):
        overlap = starts[left] + size - starts[right]
        ramp = np.sin(np.pi / 2 * (np.arange(overlap) + 0.5) / overlap) ** 2
        weights[right, :overlap] *= ramp
        weights[left, size - overlap :] *= ramp[::-1]
    total = np.zeros(count)
    for start, weight in zip(starts, weights):
        total[start : start + size] += weight
    return np.stack([weight / total[start : start + size] for start, weight in zip(starts, weights)])


@dataclass(frozen=True)
class SliceGrid:
    """The model's grid in a reference volume: planes of K, each cut into tiles of the network's size.

    Its axes run along those of the reference, whatever its orientation. Arrays of a plane are [i, j]: rows along I,
    columns along J, as the network has them.
    """

    reference: sitk.Image
    rows: Axis
    columns: Axis
    planes: Axis
    size: int

    @classmethod
    def covering(cls, reference: sitk.Image, box: Sequence[Tuple[int, int]], spacing: float, size: int) -> "SliceGrid":
        """Lay the grid over what a reference volume holds.

        A volume of the model's spacing and size in-plane keeps its grid; any other is centred on its box. Planes
        that lie further apart than the model's spacing are kept as they are.

        :param box: First and last index of the non-zero voxels along I, J and K.
        :param spacing: The model's, in mm.
        :param size: The model's rows and columns.
        """
        lengths, native = reference.GetSize(), reference.GetSpacing()
        steps = [_step(mm, spacing) for mm in native]
        keeps = steps[:2] == [1.0, 1.0] and tuple(lengths[:2]) == (size, size)
        in_plane = [
            Axis(lengths[axis], 0.0, 1.0, size)
            if keeps
            else _centred(lengths[axis], *box[axis], steps[axis], least=size)
            for axis in (0, 1)
        ]
        if native[2] >= spacing - SPACING_TOLERANCE:
            planes = Axis(lengths[2], 0.0, 1.0, lengths[2])
        else:
            planes = _centred(lengths[2], *box[2], steps[2], least=1)
        return cls(reference, in_plane[0], in_plane[1], planes, size)

    def tiles(self) -> List[Tuple[Tile, np.ndarray]]:
        """Return the tiles of a plane and their weights, (S, S); the weights of all tiles sum to 1 at each pixel."""
        starts = [_tile_starts(axis.count, self.size) for axis in (self.rows, self.columns)]
        weights = [_tile_weights(at, self.size, axis.count) for at, axis in zip(starts, (self.rows, self.columns))]
        return [
            (Tile(row, column, self.size), np.outer(down, along).astype(np.float32))
            for row, down in zip(starts[0], weights[0])
            for column, along in zip(starts[1], weights[1])
        ]

    def model_index(self, native: int) -> int:
        """Return the plane of the grid nearest to plane ``native`` of the reference."""
        return int(round((native - self.planes.start) / self.planes.step))

    def native_index(self, plane: int) -> int:
        """Return the plane of the reference nearest to ``plane`` of the grid."""
        nearest = round(self.planes.start + plane * self.planes.step)
        return int(min(max(nearest, 0), self.planes.length - 1))

    def plane_geometry(self, plane: int) -> Tuple[Tuple[int, int, int], Tuple, Tuple, Tuple]:
        """Return size, origin, spacing and direction of one plane in world space (LPS), for resampling onto it."""
        axes = (self.rows, self.columns, self.planes)
        index = (self.rows.start, self.columns.start, self.planes.start + plane * self.planes.step)
        origin = self.reference.TransformContinuousIndexToPhysicalPoint([float(i) for i in index])
        spacing = tuple(mm * axis.step for mm, axis in zip(self.reference.GetSpacing(), axes))
        return (self.rows.count, self.columns.count, 1), origin, spacing, self.reference.GetDirection()
