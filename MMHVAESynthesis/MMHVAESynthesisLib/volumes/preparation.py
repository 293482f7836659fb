"""The way there: from volumes to the slices that the network takes."""

from dataclasses import dataclass
from typing import Dict, List, Mapping, Sequence, Tuple

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..modalities import US, label
from .checks import array_view, check_extent, grey_levels, slabs
from .cover import filled
from .files import same_geometry
from .grid import SliceGrid, reoriented
from .intensity import BACKGROUND, IntensityRange, RangeFinder, is_zero_filled, shifted

_TRACE = 1e-5
"""Of a volume's range. What rounding alone brings of a neighbour into a resampled pixel is less: it is nothing."""


class _Source:
    """One input volume: its planes on the reference's grid, as intensities above 0 with 0 for background."""

    def __init__(self, image: sitk.Image, modality: str):
        self.image = image
        self.array = array_view(image)
        # MR may hold negative numbers; an ultrasound's zero means what it says, and what is below it is background too.
        self._is_us = modality == US
        self._offset = 0.0 if self._is_us else float(self.array.min())
        self._zero_filled = is_zero_filled(self.array, self._offset)

    def _intensities(self, values: np.ndarray) -> np.ndarray:
        """Return values of the volume as intensities of 0 and more, 0 for background."""
        moved = shifted(values, self._offset, self._zero_filled)
        return np.maximum(moved, 0) if self._is_us else moved

    def native_plane(self, k: int) -> np.ndarray:
        """Return the plane ``k`` of the volume itself, [i, j]."""
        return self._intensities(self.array[k].T)

    def grey_levels(self, most: int) -> int:
        """Return how many different intensities above 0 there are; no more than ``most`` are counted."""
        return grey_levels(map(self.native_plane, range(len(self.array))), most)

    def coarse(self) -> np.ndarray:
        """Return the intensities of every second voxel along each axis."""
        return self._intensities(self.array[::2, ::2, ::2])

    def box(self) -> List[Tuple[int, int]]:
        """Return first and last index of the voxels above 0 along I, J and K."""
        found = [np.zeros(length, bool) for length in self.array.shape]
        position = 0
        for slab in slabs(self.array):
            inside = self._intensities(slab) > 0
            found[0][position : position + len(slab)] = inside.any((1, 2))
            found[1] |= inside.any((0, 2))
            found[2] |= inside.any((0, 1))
            position += len(slab)
        ends = [(int(hits.argmax()), len(hits) - 1 - int(hits[::-1].argmax())) for hits in found]
        return ends[::-1]


class _LatticeSource(_Source):
    """A source on the reference's own voxels: interpolated axis by axis, exact where nothing needs interpolation."""

    def __init__(self, image: sitk.Image, modality: str, grid: SliceGrid):
        super().__init__(image, modality)
        self._rows, self._columns, self._planes = grid.rows.there(), grid.columns.there(), grid.planes.there()

    def plane(self, plane: int) -> np.ndarray:
        """Return the intensities of a plane of the grid, [i, j]."""
        if not self._planes.valid[plane]:
            return np.zeros((self._rows.below.size, self._columns.below.size), np.float32)
        weight = self._planes.weight[plane]
        native = self.native_plane(self._planes.below[plane])
        if weight:
            native = (1 - weight) * native + weight * self.native_plane(self._planes.above[plane])
        return self._columns.apply(self._rows.apply(native, 0), 1)


class _ResampledSource(_Source):
    """A source on a grid of its own: resampled linearly, plane by plane, through world space."""

    def __init__(self, image: sitk.Image, modality: str, grid: SliceGrid):
        super().__init__(image, modality)
        self._grid = grid
        # Not of the brightest voxel, which may be a spike.
        self._trace = _TRACE * max(float(np.percentile(self.array[::2, ::2, ::2], 99.9)) - self._offset, 0.0)
        self._resampled, self._background = image, self._offset
        if self._zero_filled:
            self._resampled, self._background = sitk.GetImageFromArray(self._intensities(self.array)), 0.0
            self._resampled.CopyInformation(image)

    def plane(self, plane: int) -> np.ndarray:
        """Return the intensities of a plane of the grid, [i, j]; 0 outside the volume."""
        size, origin, spacing, direction = self._grid.plane_geometry(plane)
        resample = sitk.ResampleImageFilter()
        resample.SetNumberOfThreads(1)
        resample.SetInterpolator(sitk.sitkLinear)
        resample.SetOutputPixelType(sitk.sitkFloat64)
        resample.SetDefaultPixelValue(self._background)
        resample.SetSize(size)
        resample.SetOutputOrigin(origin)
        resample.SetOutputSpacing(spacing)
        resample.SetOutputDirection(direction)
        plane_image = resample.Execute(self._resampled)
        intensities = array_view(plane_image)[0].T - self._background
        return np.where(intensities > self._trace, intensities, 0).astype(np.float32)


@dataclass(frozen=True)
class Coverage:
    """How much of the reference an input covers, found while its range was.

    :param of_reference: Its voxels above 0 on the model's grid, as a part of the reference's.
    :param fullest_plane: The largest part of the network's size that its voxels above 0 take up in a plane; with
        several tiles it may be above 1.
    """

    of_reference: float
    fullest_plane: float


class PreparedCase:
    """A case's volumes as slices of the network. Planes can be asked for in any order and from any thread.

    :param images: ``{modality: volume}``, checked, in world coordinates.
    :param order: The model's modalities, iUS before all others; the first that is given is the reference.
    :param spacing: The model's, in mm.
    :param size: The model's rows and columns.
    ``extent`` is what the reference's voxels above 0 measure along I, J and K, mm.

    :raises InputError: when an input has no overlap with the reference, or is impossibly wide or narrow, or the
        reference holds next to nothing.
    """

    def __init__(self, images: Mapping[str, sitk.Image], order: Sequence[str], spacing: float, size: int):
        self.modalities = tuple(modality for modality in order if modality in images)
        self.reference = self.modalities[0]
        self.image = images[self.reference]
        for modality in self.modalities:
            check_extent(images[modality], label(modality))
        box = _Source(self.image, self.reference).box()
        self.extent = tuple((high - low + 1) * mm for (low, high), mm in zip(box, self.image.GetSpacing()))
        self.grid = SliceGrid.covering(self.image, box, spacing, size)
        self._sources = {modality: self._source(images[modality], modality) for modality in self.modalities}
        self.ranges, self.coverage, self.planes = self._look()

    def _source(self, image: sitk.Image, modality: str):
        image = reoriented(image, self.image)
        kind = _LatticeSource if same_geometry(self.image, image) else _ResampledSource
        return kind(image, modality, self.grid)

    def _look(self) -> Tuple[Dict[str, IntensityRange], Dict[str, Coverage], List[int]]:
        """Go through all planes once: each input's range and coverage, and the planes that are not empty."""
        rows, columns, planes = (axis.count for axis in (self.grid.rows, self.grid.columns, self.grid.planes))
        finders = {modality: RangeFinder(rows * columns * planes) for modality in self.modalities}
        fullest = dict.fromkeys(self.modalities, 0.0)
        not_empty = []
        for plane in range(planes):
            intensities = self._intensities(plane)
            if not (intensities[self.reference] > 0).any():
                continue
            not_empty.append(plane)
            for modality, values in intensities.items():
                finders[modality].add(values)
                fullest[modality] = max(fullest[modality], np.count_nonzero(values > 0) / self.grid.size**2)
        if not not_empty:
            raise InputError(
                f"{label(self.reference)} holds less than a pixel of the model's slices: is it the right volume?"
            )
        total = finders[self.reference].count
        for modality, finder in finders.items():
            if not finder.count:
                raise InputError(
                    f"{label(modality)} and {label(self.reference)} do not overlap: check that both volumes belong to "
                    "this patient and lie in one place (transforms applied?)."
                )
        coverage = {m: Coverage(f.count / total, fullest[m]) for m, f in finders.items()}
        return {m: f.range() for m, f in finders.items()}, coverage, not_empty

    def _intensities(self, plane: int) -> Dict[str, np.ndarray]:
        """Return the intensities of a plane, MR within the ultrasound's field of view."""
        values = {modality: source.plane(plane) for modality, source in self._sources.items()}
        if self.reference == US and len(values) > 1:
            outside = ~filled(values[US] > 0)
            for modality in self.modalities:
                if modality != US:
                    values[modality][outside] = 0
        return values

    def plane(self, plane: int) -> Dict[str, np.ndarray]:
        """Return a plane of the grid as the network takes it.

        :return: ``{modality: (rows, columns) float32}`` in [-255/256, 1], background exactly -1. An input that is all
            background in this plane is left out: there it is missing, which the network knows how to handle.
        """
        values = {m: self.ranges[m].to_network(v) for m, v in self._intensities(plane).items()}
        return {m: v for m, v in values.items() if m == self.reference or (v != BACKGROUND).any()}

    def native_mask(self, k: int) -> np.ndarray:
        """Return where the reference's own plane ``k`` is not background, [i, j]."""
        return self._sources[self.reference].native_plane(k) > 0

    def grey_levels(self, modality: str, most: int) -> int:
        """Return how many different intensities above 0 an input's own volume has, of ``most`` that are counted."""
        return self._sources[modality].grey_levels(most)

    def coarse(self, modality: str) -> np.ndarray:
        """Return an input's own volume as intensities of 0 and more, every second voxel along each axis."""
        return self._sources[modality].coarse()
