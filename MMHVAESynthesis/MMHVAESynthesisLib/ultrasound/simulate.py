"""Simulated intra-operative ultrasound from MR: whole tracked sweeps, and stacks of slices for training.

Echoes come from tissue and its borders as the MR shows them, speckle from noise convolved with the beam's point spread.
Every result repeats exactly with its seed.
"""

from dataclasses import dataclass
from typing import Mapping, Optional, Tuple

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..modalities import CET1, FLAIR, T2, labels
from .appearance import Appearance, draw_appearance
from .probe import Probe, SweepSettings, draw_probe
from .render import render
from .sweep import SweepPose, draw_grid, draw_pose, index_to_world, rotation
from .tissue import Levels, contrast_levels, tissue_from_mr

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
) -> SimulatedSweep:
    """Simulate a tracked sweep before opening of the dura and its reconstructed volume.

    :param contrasts: ``{modality: image}``, one or more of t2, cet1, flair; skull-stripped, background 0, on any grids.
    :param seed: 0 or more; the same seed gives the same sweep.
    :param label: 1 necrosis, 2 oedema, 3 or 4 enhancing tumour; the probe looks at it.
    :param spacing: Of the result, mm.
    :param settings: Ranges of the geometry.
    :raises InputError: when there is no contrast, the MR is empty or the spacing or the seed cannot be used.
    """
    settings = settings or SweepSettings()
    if not 0.1 <= spacing <= 5:
        raise InputError(f"The spacing of a simulated sweep must lie between 0.1 and 5 mm, not {spacing!r}.")
    if int(seed) != seed or seed < 0:
        raise InputError(f"The seed must be a whole number of 0 or more, not {seed!r}.")
    arrays, segmentation, to_world = _on_one_grid(contrasts, label)
    rng = np.random.default_rng(seed)
    inside = np.any([array > 0 for array in arrays.values()], axis=0)
    pose = draw_pose(inside, to_world, rng, segmentation, settings)
    out_to_world, shape = draw_grid(pose, spacing, rng, settings.obliqueness)
    levels = {m: contrast_levels(array) for m, array in arrays.items()}
    box, to_world = _box(out_to_world, shape, to_world, inside.shape)
    tissue = tissue_from_mr(
        {m: array[box] for m, array in arrays.items()},
        None if segmentation is None else segmentation[box],
        WORKING_SPACING,
        levels,
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
    image = sitk.GetImageFromArray(array.astype(np.uint8))
    spacing = np.linalg.norm(to_world[:3, :3], axis=0)
    image.SetSpacing([float(s) for s in spacing])
    image.SetDirection([float(d) for d in (to_world[:3, :3] / spacing).ravel()])
    image.SetOrigin([float(o) for o in to_world[:3, 3]])
    return image


def _on_one_grid(contrasts: Mapping[str, sitk.Image], label: Optional[sitk.Image]):
    """Return the contrasts and the label as arrays on one isotropic grid, and its matrix to world coordinates."""
    given = {m: contrasts[m] for m in CONTRASTS if contrasts.get(m) is not None}
    if not given:
        raise InputError(f"A sweep is simulated from MR: give at least one of {labels(CONTRASTS)}.")
    for modality, image in given.items():
        if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
            raise InputError(f"The {labels([modality])} volume must be 3D with one component.")
    first = next(iter(given.values()))
    size = [max(1, int(round(n * s / WORKING_SPACING))) for n, s in zip(first.GetSize(), first.GetSpacing())]
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing([WORKING_SPACING] * 3)
    grid.SetDirection(first.GetDirection())
    grid.SetOrigin(first.GetOrigin())
    arrays = {}
    for modality, image in given.items():
        moved = _resampled(sitk.Cast(image, sitk.sitkFloat32), grid, sitk.sitkLinear)
        array = sitk.GetArrayFromImage(moved)
        if not np.isfinite(array).all():
            raise InputError(f"The {labels([modality])} volume holds values that are not finite numbers.")
        arrays[modality] = array
    if not any((array > 0).any() for array in arrays.values()):
        raise InputError(f"The {labels(given)} volume is empty: a sweep needs a brain with a background of 0.")
    segmentation = None if label is None else sitk.GetArrayFromImage(_resampled(label, grid, sitk.sitkNearestNeighbor))
    return arrays, segmentation, index_to_world(grid)


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


def simulate_slices(
    contrasts: Mapping[str, np.ndarray],
    label: Optional[np.ndarray],
    spacing_mm: float,
    rng: np.random.Generator,
    probe: Optional[Probe] = None,
    levels: Optional[Mapping[str, Levels]] = None,
) -> Tuple[np.ndarray, np.ndarray]:
    """Simulate iUS on a crop of MR, for training: a new probe, pose and appearance at every call.

    In-plane is the last two axes. The fan lies in plane in half of the calls and is oblique to it in the others, as
    real volumes are to their own slices; its face lies at or beyond an edge of the crop, or so far off that the crop is
    a central part of the field.

    :param contrasts: ``{modality: (k, j, i)}`` with one or more of t2, cet1, flair, background 0, isotropic voxels.
    :param label: Segmentation of the same shape, or None.
    :param spacing_mm: Of the voxels.
    :param rng: Source of everything random.
    :param probe: None draws one.
    :param levels: From :func:`.tissue.contrast_levels` of the whole volumes; None measures them on the crop.
    :return: Grey values float32 0..255 (0 only outside the field of view) and the field of view, bool, both (k, j, i).
    :raises InputError: when there is no contrast, shapes differ, or the crop is empty.
    """
    given = {m: contrasts[m] for m in CONTRASTS if contrasts.get(m) is not None}
    if not given:
        raise InputError(f"Ultrasound is simulated from MR: give at least one of {labels(CONTRASTS)}.")
    shapes = {array.shape for array in given.values()} | ({label.shape} if label is not None else set())
    if len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise InputError(f"The contrasts and the label must be 3D arrays of one shape, not {sorted(shapes)}.")
    if not any((array > 0).any() for array in given.values()):
        raise InputError("The crop is empty: there is nothing to simulate ultrasound from.")
    shape = next(iter(shapes))
    tissue = tissue_from_mr(given, label, spacing_mm, levels)
    probe = probe or draw_probe(rng)
    crop_to_probe = _draw_crop_pose(shape, spacing_mm, probe, rng)
    return render(tissue, np.linalg.inv(crop_to_probe), probe, draw_appearance(rng), crop_to_probe, shape, rng)


def _draw_crop_pose(shape, spacing: float, probe: Probe, rng: np.random.Generator) -> np.ndarray:
    """Return the 4 x 4 matrix from (i, j, k) of a crop to probe coordinates."""
    tilt = rng.uniform(-45, 45, size=2) if rng.uniform() < 0.5 else rng.normal(0, 3, size=2)
    axes = rotation([tilt[0], tilt[1], 0.0]) @ rotation([0.0, 0.0, rng.uniform(0, 360)])
    extent = np.asarray(shape[::-1]) * spacing
    half_plane = min(extent[0], extent[1]) / 2
    if rng.uniform() < 0.25:
        face_to_centre = rng.uniform(0.5, 0.7) * probe.depth
    else:
        face_to_centre = rng.uniform(0.75, 1.1) * half_plane
    centre = np.array([rng.normal(0, 0.12) * half_plane, min(face_to_centre, 0.8 * probe.depth), rng.normal(0, 2.0)])
    matrix = np.eye(4)
    matrix[:3, :3] = axes * spacing
    matrix[:3, 3] = centre - axes @ (extent / 2 - spacing / 2)
    return matrix
