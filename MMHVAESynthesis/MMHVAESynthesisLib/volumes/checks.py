"""What a volume must be before it can serve as an input."""

from typing import Any, Iterable, Set

import numpy as np
import SimpleITK as sitk

from ..errors import InputError

_SLAB = 32

_LARGEST = 1e30
"""Beyond any intensity; differences of larger numbers may not fit single precision, in which slices are computed."""

_LONGEST_SIDE = (0.5, 2000.0)
"""Millimetres, of any volume of a brain, were it one slice of few voxels; a head in metres is shorter."""


_NO_MEMORY = ("failed to allocate memory", "unable to allocate", "bad_alloc", "bad allocation")
"""What ITK says, in lower case, where memory ran out: of an image, of an output; of C++, and of it under Windows."""


def is_no_memory(error: BaseException) -> bool:
    """Return whether an error of SimpleITK or numpy says that this machine's memory ran out."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in _NO_MEMORY)
    )


def array_view(image: sitk.Image) -> np.ndarray:
    """Return the voxels as a read-only array [k, j, i], without a copy. The image must outlive it."""
    return sitk.GetArrayViewFromImage(image)


def slabs(array: np.ndarray):
    """Yield views of a few planes at a time, so that what is computed of them stays small."""
    for start in range(0, len(array), _SLAB):
        yield array[start : start + _SLAB]


def grey_levels(planes: Iterable[np.ndarray], most: int) -> int:
    """Return how many different values above 0 the planes of a volume hold together; no more than ``most`` are counted.

    >>> grey_levels(np.array([[[0, 1], [1, 2]], [[2, 3], [-4, 5]]]), 16)
    4
    """
    found: Set[float] = set()
    for plane in planes:
        found.update(np.unique(plane[plane > 0]).tolist())
        if len(found) >= most:
            return most
    return len(found)


def scalar(image: sitk.Image) -> sitk.Image:
    """Return a volume of vectors of one component as one of numbers; any other as it is."""
    is_vector = "vector" in image.GetPixelIDTypeAsString() and image.GetNumberOfComponentsPerPixel() == 1
    return sitk.VectorIndexSelectionCast(image, 0) if is_vector else image


def _check_kind(image: Any, what: str) -> None:
    """Raise :class:`InputError` where something is no image, or one whose voxels are no numbers."""
    if not isinstance(image, sitk.Image):
        raise InputError(
            f"{what} is of the type {type(image).__name__}: give a file's name or a SimpleITK.Image (of an array: "
            "SimpleITK.GetImageFromArray, then its spacing, origin and direction)."
        )
    kind = image.GetPixelIDTypeAsString()
    if kind.startswith("label"):
        raise InputError(f"{what} is a map of labels: choose a grey volume.")
    if "complex" in kind:
        raise InputError(f"{what} holds complex numbers: choose a magnitude image.")


def check_layout(dimension: int, components: int, what: str) -> None:
    """Raise :class:`InputError` unless an image of this layout is a grey 3D volume. ``what`` names it for the user."""
    if components != 1:
        raise InputError(
            f"{what} has {components} values a voxel (a colour, vector or diffusion image): choose a grey volume."
        )
    if dimension != 3:
        kind = "a single 2D picture" if dimension == 2 else f"a sequence in {dimension} dimensions"
        raise InputError(f"{what} is {kind}: choose a 3D volume.")


def check_extent(image: sitk.Image, what: str) -> None:
    """Refuse a spacing in other units, such as metres or micrometres, before slices or a grid are made of it.

    :raises InputError: when the volume's longest side, which ``what`` names for the user, is impossibly short or long.
    """
    long, mm = max((count * mm, mm) for count, mm in zip(image.GetSize(), image.GetSpacing()))
    if not _LONGEST_SIDE[0] <= long <= _LONGEST_SIDE[1]:
        raise InputError(
            f"{what} is {long:.{0 if long >= 1 else 3}f} mm wide, at {mm:g} mm a voxel: that cannot be right. "
            "Correct the volume's spacing, which is in millimetres."
        )


def checked(image: sitk.Image, what: str, ultrasound: bool = False) -> sitk.Image:
    """Return ``image`` if it can serve as an input, as numbers where its voxels are vectors of one component.

    :param what: How the user knows the volume; stands in the message.
    :param ultrasound: An ultrasound is empty without a voxel above 0, an MR (whose minimum is taken off) when constant.
    :raises InputError: when it is no grey 3D volume, has voxels that are no numbers or no intensities, or is empty.
    """
    _check_kind(image, what)
    check_layout(image.GetDimension(), image.GetNumberOfComponentsPerPixel(), what)
    image = scalar(image)
    if min(image.GetSize()) == 0:
        raise InputError(f"{what} has no voxels: choose another volume.")
    array = array_view(image)
    if array.dtype.kind == "f" and not all(np.isfinite(slab).all() for slab in slabs(array)):
        raise InputError(
            f"{what} contains voxels that are not numbers (NaN or infinite): repair the volume first, "
            "for example by setting them to 0."
        )
    low, high = array.min(), array.max()
    largest = max(float(low), float(high), key=abs)
    if abs(largest) > _LARGEST:
        raise InputError(
            f"{what} contains voxels of {largest:g}, which is no intensity: repair the volume first, for example by "
            "setting them to 0."
        )
    if ultrasound and low < high <= 0:
        raise InputError(
            f"{what} is empty: no voxel is above 0 (they are {low:g} to {high:g}), where the background is 0 and what "
            "the ultrasound shows above it. Choose another volume, or shift its values first."
        )
    if high <= 0 if ultrasound else low == high:
        raise InputError(f"{what} is empty: all its voxels are {high:g}. Choose another volume.")
    return image


def checked_label(image: sitk.Image, what: str) -> sitk.Image:
    """Return a segmentation of a tumour as uint8.

    :param what: Its name in messages.
    :raises InputError: where its values are others than 0, 1 (necrosis), 2 (oedema), 3 and 4 (enhancing tumour).
    """
    found = np.unique(array_view(image))
    others = [value for value in found if value not in (0, 1, 2, 3, 4)]
    if others:
        named = ", ".join(f"{value:g}" for value in others[:3]) + (", ..." if others[3:] else "")
        raise InputError(
            f"{what} is no segmentation of a tumour as it is needed here: its values must be 0, 1 (necrosis), 2 "
            f"(oedema), 3 or 4 (enhancing tumour), and it has {named}. Give those values, or leave it out."
        )
    return sitk.Cast(image, sitk.sitkUInt8)
