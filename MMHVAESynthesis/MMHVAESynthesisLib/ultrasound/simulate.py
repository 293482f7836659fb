"""Simulated intra-operative ultrasound from MR: whole tracked sweeps.

Echoes come from tissue and its borders as the MR shows them, speckle from noise convolved with the beam's point spread.
Every result repeats exactly with its seed.
"""

from dataclasses import dataclass
from typing import Mapping, Optional, Sequence, Tuple

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..modalities import CET1, FLAIR, T2, labels
from ..volumes.checks import check_extent
from ..volumes.intensity import image_from_zero
from .appearance import Appearance, draw_appearance
from .probe import SweepSettings
from .render import render
from .sweep import SweepPose, draw_grid, draw_pose, index_to_world
from .tissue import contrast_levels, tissue_from_mr, unseen_parts

CONTRASTS = (T2, CET1, FLAIR)
WORKING_SPACING = 1.0
MARGIN_MM = 4.0


@dataclass(frozen=True)
class SimulatedSweep:
    """A simulated iUS volume.

    :param us: uint8, 1..255 in the field of view, 0 outside, on its own oblique grid in world coordinates.
    :param mask: uint8, 1 in the field of view.
    :param pose: The probe and where it stood.
    :param appearance: How the sweep looks.
    """

    us: sitk.Image
    mask: sitk.Image
    pose: SweepPose
    appearance: Appearance


def simulate_sweep(
    contrasts: Mapping[str, sitk.Image],
    seed: int,
    label: Optional[sitk.Image] = None,
    spacing: float = 1.0,
    settings: Optional[SweepSettings] = None,
    target: Optional[sitk.Image] = None,
) -> SimulatedSweep:
    """Simulate a tracked sweep before opening of the dura and its reconstructed volume.

    :param contrasts: ``{modality: image}``, one or more of t2, cet1, flair; skull-stripped, background 0, on any grids.
    :param seed: 0 or more; the same seed gives the same sweep.
    :param label: 1 necrosis, 2 oedema, 3 or 4 enhancing tumour; the probe looks at it unless there is a target.
    :param spacing: Of the result, mm.
    :param settings: Ranges of the geometry.
    :param target: What the probe looks at: where it is not 0.
    :raises InputError: when there is no contrast, the MR is empty, a label or target shows nothing where the MR lies,
        or a contrast where the others do, or the spacing (the MR's too) or the seed cannot be used.
    """
    settings = settings or SweepSettings()
    if not 0.1 <= spacing <= 5:
        raise InputError(f"The spacing of a simulated sweep must lie between 0.1 and 5 mm, not {spacing!r}.")
    if int(seed) != seed or seed < 0:
        raise InputError(f"The seed must be a whole number of 0 or more, not {seed!r}.")
    arrays, (segmentation, aim), to_world = _on_one_grid(contrasts, [label, target])
    rng = np.random.default_rng(seed)
    inside = np.any([array > 0 for array in arrays.values()], axis=0)
    pose = draw_pose(inside, to_world, rng, segmentation if aim is None else aim, settings)
    out_to_world, shape = draw_grid(pose, spacing, rng, settings.obliqueness)
    levels = {m: contrast_levels(array) for m, array in arrays.items()}
    unseen = unseen_parts(arrays)
    box, to_world = _box(out_to_world, shape, to_world, inside.shape)
    tissue = tissue_from_mr(
        {m: array[box] for m, array in arrays.items()},
        None if segmentation is None else segmentation[box],
        WORKING_SPACING,
        levels,
        {m: array[box] for m, array in unseen.items()},
    )
    appearance = draw_appearance(rng)
    probe_to_world = np.asarray(pose.matrix)
    image, mask = render(
        tissue,
        np.linalg.inv(to_world) @ probe_to_world,
        pose.probe,
        appearance,
        np.linalg.inv(probe_to_world) @ out_to_world,
        shape,
        rng,
    )
    return SimulatedSweep(_image(image, out_to_world), _image(mask, out_to_world), pose, appearance)


def _image(array: np.ndarray, to_world: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array.view(np.uint8))
    spacing = np.linalg.norm(to_world[:3, :3], axis=0)
    image.SetSpacing([float(s) for s in spacing])
    image.SetDirection([float(d) for d in (to_world[:3, :3] / spacing).ravel()])
    image.SetOrigin([float(o) for o in to_world[:3, 3]])
    return image


def _on_one_grid(contrasts: Mapping[str, sitk.Image], labels_given: Sequence[Optional[sitk.Image]]):
    """Return the contrasts and labels as arrays on one isotropic grid, and its matrix to world coordinates."""
    given = {m: contrasts[m] for m in CONTRASTS if contrasts.get(m) is not None}
    if not given:
        raise InputError(f"A sweep is simulated from MR: give at least one of {labels(CONTRASTS)}.")
    for modality, image in given.items():
        if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
            raise InputError(f"The {labels([modality])} volume must be 3D with one component.")
        check_extent(image, f"The {labels([modality])} volume")
    widest = _widest(list(given.values()))
    grid = _grid_over(widest)
    arrays = {}
    for modality, image in given.items():
        own = _intensities(image, modality)
        arrays[modality] = sitk.GetArrayFromImage(_resampled(own, grid, sitk.sitkLinear))
        if not arrays[modality].any() and sitk.GetArrayViewFromImage(own).any():
            others = labels(m for m, other in given.items() if other is widest)
            raise InputError(
                f"The {labels([modality])} volume shows nothing where {others} lies: check that both belong to one "
                "patient and lie in one place (transforms applied?)."
            )
    if not any((array > 0).any() for array in arrays.values()):
        raise InputError(f"The {labels(given)} volume is empty: a sweep needs a brain with a background of 0.")
    return arrays, [_on_grid(label, grid) for label in labels_given], index_to_world(grid)


def _intensities(image: sitk.Image, modality: str) -> sitk.Image:
    """Return an MR in float32 with a background of 0: the minimum is taken off."""
    image = sitk.Cast(image, sitk.sitkFloat32)
    if not np.isfinite(sitk.GetArrayViewFromImage(image)).all():
        raise InputError(f"The {labels([modality])} volume holds values that are not finite numbers.")
    return image_from_zero(image)


def _widest(images: Sequence[sitk.Image]) -> sitk.Image:
    """Return the image with the largest field, the first of those that are as large to a thousandth."""
    fields = [np.prod(np.multiply(image.GetSize(), image.GetSpacing())) for image in images]
    return next(image for image, field in zip(images, fields) if field >= 0.999 * max(fields))


def _grid_over(image: sitk.Image) -> sitk.Image:
    """Return the working grid of an image's field, isotropic along its axes."""
    size = [max(1, int(round(n * s / WORKING_SPACING))) for n, s in zip(image.GetSize(), image.GetSpacing())]
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing([WORKING_SPACING] * 3)
    grid.SetDirection(image.GetDirection())
    grid.SetOrigin(image.GetOrigin())
    return grid


def _on_grid(label: Optional[sitk.Image], grid: sitk.Image) -> Optional[np.ndarray]:
    if label is None:
        return None
    array = sitk.GetArrayFromImage(_resampled(label, grid, sitk.sitkNearestNeighbor))
    if not array.any() and sitk.GetArrayViewFromImage(label).any():
        raise InputError(
            "The label shows nothing where the MR lies: check that both belong to one patient and lie in one place "
            "(transforms applied?)."
        )
    return array


def _resampled(image: sitk.Image, grid: sitk.Image, interpolator: int) -> sitk.Image:
    same = np.allclose(index_to_world(image), index_to_world(grid)) and image.GetSize() == grid.GetSize()
    return image if same else sitk.Resample(image, grid, sitk.Transform(), interpolator, 0)


def _box(out_to_world: np.ndarray, shape, to_world: np.ndarray, limits) -> Tuple[Tuple[slice, ...], np.ndarray]:
    """Return the part of the MR that a grid covers, with a margin, as slices (k, j, i), and its matrix to world."""
    corners = np.array([[i, j, k, 1] for i in (0, shape[2]) for j in (0, shape[1]) for k in (0, shape[0])])
    index = (np.linalg.inv(to_world) @ out_to_world @ corners.T)[:3]
    margin = MARGIN_MM / WORKING_SPACING
    sizes = np.asarray(limits[::-1])
    low = np.clip(np.floor(index.min(axis=1) - margin), 0, sizes - 1).astype(int)
    high = np.clip(np.ceil(index.max(axis=1) + margin), low + 1, sizes).astype(int)
    moved = to_world.copy()
    moved[:3, 3] = to_world[:3, :3] @ low + to_world[:3, 3]
    return tuple(slice(int(a), int(b)) for a, b in zip(low[::-1], high[::-1])), moved
