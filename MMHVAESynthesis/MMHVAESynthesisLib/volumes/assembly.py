"""The way back: from synthetic slices to volumes on the reference's own grid."""

from typing import Dict, Iterable

import numpy as np
import SimpleITK as sitk

from .intensity import BACKGROUND
from .preparation import PreparedCase


class Assembly:
    """Collects planes, in any order, into volumes on the reference's grid, voxel for voxel.

    Interpolation takes only pixels inside the mask into account, so that nothing darkens towards the edge of the field
    of view; outside the reference's own mask every voxel is exactly 0. So is a lone voxel of the reference that falls
    between the pixels of a much coarser model.

    A standard deviation between the model's pixels is the mean of theirs: an upper bound of that of the interpolated
    images, and equal to it only where these vary together.

    :param case: Whose planes come.
    :param names: Of the volumes to collect.
    """

    def __init__(self, case: PreparedCase, names: Iterable[str]):
        self._case = case
        self._rows, self._columns, self._planes = (
            axis.back() for axis in (case.grid.rows, case.grid.columns, case.grid.planes)
        )
        shape = case.image.GetSize()[::-1]
        self._volumes = {name: np.zeros(shape, np.float32) for name in names}
        # What finishing needs beside them: where that lacks, it is to show before any work.
        self._reserve = np.empty(shape if self._volumes else 0, np.float32)
        # Where every plane of the model is one of the reference, nothing has to be shared out between planes.
        self._one_to_one = case.grid.planes.step == 1
        self._weights = None if self._one_to_one or not self._volumes else np.zeros(shape, np.float32)

    def add(self, plane: int, reference: np.ndarray, images: Dict[str, np.ndarray]) -> None:
        """Take one plane of the grid.

        :param reference: The reference's plane as the network takes it, [i, j], whose background says where nothing is.
        :param images: ``{name: [i, j]}``.
        """
        mask = (reference != BACKGROUND).astype(np.float32)
        weight = self._to_native(mask)
        shares = {name: self._to_native(image * mask) for name, image in images.items()}
        for k, part in self._receivers(plane):
            if self._weights is not None:
                self._weights[k] += part * weight.T
            for name, share in shares.items():
                if self._weights is None:
                    self._volumes[name][k] = self._divided(share, weight, k).T
                else:
                    self._volumes[name][k] += part * share.T

    def _to_native(self, plane: np.ndarray) -> np.ndarray:
        return self._columns.apply(self._rows.apply(plane, 0), 1)

    def _receivers(self, plane: int):
        """Yield the reference's planes that this plane of the model lends to, with the part it lends."""
        if self._one_to_one:
            k = plane + int(self._case.grid.planes.start)
            if 0 <= k < self._planes.below.size:
                yield k, 1.0
            return
        back = self._planes
        for k in np.flatnonzero(back.valid & ((back.below == plane) | (back.above == plane))):
            part = (1 - back.weight[k]) * (back.below[k] == plane) + back.weight[k] * (back.above[k] == plane)
            if part > 0:
                yield k, np.float32(part)

    def _divided(self, share: np.ndarray, weight: np.ndarray, k: int) -> np.ndarray:
        inside = self._case.native_mask(k) & (weight > 0)
        return np.divide(share, weight, out=np.zeros_like(share), where=inside)

    @classmethod
    def plane_images(
        cls, case: PreparedCase, k: int, reference: np.ndarray, images: Dict[str, np.ndarray]
    ) -> Dict[str, sitk.Image]:
        """Return one plane of the grid as volumes of the reference's single plane ``k``, placed where that lies.

        :param reference: The reference's plane as the network takes it, [i, j].
        :param images: ``{name: [i, j]}``.
        """
        assembly = cls(case, ())
        mask = (reference != BACKGROUND).astype(np.float32)
        weight = assembly._to_native(mask)
        volumes = {}
        for name, image in images.items():
            plane = assembly._divided(assembly._to_native(image * mask), weight, k)
            volume = sitk.GetImageFromArray(np.ascontiguousarray(plane.T[None]))
            volume.SetOrigin(case.image.TransformIndexToPhysicalPoint((0, 0, k)))
            volume.SetSpacing(case.image.GetSpacing())
            volume.SetDirection(case.image.GetDirection())
            volumes[name] = volume
        return volumes

    def finish(self) -> Dict[str, sitk.Image]:
        """Return ``{name: volume}``, float32, and forget them; the assembly is used up."""
        if self._weights is not None:
            for volume in self._volumes.values():
                for k in range(len(volume)):
                    volume[k] = self._divided(volume[k].T, self._weights[k].T, k).T
        del self._reserve
        images = {}
        for name in list(self._volumes):
            image = sitk.GetImageFromArray(self._volumes.pop(name))
            image.CopyInformation(self._case.image)
            images[name] = image
        return images
