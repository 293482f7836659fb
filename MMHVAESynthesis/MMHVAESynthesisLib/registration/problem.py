"""From a request to volumes that an engine can work on, with every check of the inputs."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Optional, Tuple

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..errors import InputError
from ..modalities import US, is_synthetic_name, label, labels, of_synthetic_input, other_modality
from ..request import ImageSource, RegistrationRequest
from ..volumes import checks, files
from . import transforms
from .diagnosis import covered, diagnose
from .frame import Frame, apply, nearest_orthonormal
from .pyramid import MOST_VOXELS, Box, Pyramid, sampled
from .similarity import overlap

FINEST_SPACING = 1.0
"""mm. The synthetic MR holds no finer detail than that."""

LEAST_EXTENT = 10.0
"""mm that the field of view must measure along each axis."""

LEAST_OVERLAP, GOOD_OVERLAP = 0.05, 0.5
"""Parts of the field of view with data in the moving volume: below the first a search makes no sense."""

_SAME_VOXELS = 0.99
"""Part of the voxels that either shows which both show, from which on one volume seems to be made from the other."""

_POINTS = 2000

_MIRRORED = "The initial transform mirrors the MR, and so does the result: left may show as right. Is it the right one?"


@dataclass(frozen=True)
class Problem:
    """What an engine gets.

    :param modalities: The pairs, in the order in which the levels hold them.
    :param frame: Axes in which poses are expressed; see :class:`Frame`.
    :param pyramid: The volumes, fixed and moving, the initial transform undone: the start is the identity.
    :param points: (N, 3) local points, mm, spread evenly over the field of view.
    :param initial: (4, 4) the initial transform between world points.
    """

    modalities: Tuple[str, ...]
    frame: Frame
    pyramid: Pyramid
    points: np.ndarray
    initial: np.ndarray
    warnings: List[str]

    def world_matrix(self, pose: np.ndarray) -> np.ndarray:
        """Return the (4, 4) matrix from fixed to moving world points that a local pose stands for."""
        return self.initial @ self.frame.pose_in_world(pose)

    @cached_property
    def views(self) -> List[Pyramid]:
        """What to look at, each on its own, where little is seen: all pairs; with iUS among several also the MR alone.

        At 4 mm little is left of what iUS shows: it may hide the place at which the MR agree, or be the only one to
        show it.
        """
        mr = [pair for pair, modality in enumerate(self.modalities) if modality != US]
        both = 0 < len(mr) < len(self.modalities)
        return [self.pyramid, self.pyramid.only(mr)] if both else [self.pyramid]


def prepare(request: RegistrationRequest) -> Problem:
    """Read, check and sample the volumes of a request.

    :raises InputError: when they cannot be registered; the message says why and what to do.
    """
    _check_not_exchanged(request)
    fixed = {m: _volume(request.fixed[m], _fixed_name(m)) for m in request.pairs}
    moving = {m: _volume(request.moving[m], f"The pre-operative {_name(request, m)}") for m in request.pairs}
    for modality in request.pairs:
        _check_differ(fixed[modality], moving[modality], modality)
    initial = np.eye(4) if request.initial is None else transforms.matrix_of(_transform(request.initial))
    first = fixed[request.pairs[0]]
    frame, spacing, box, mask = _field_of_view(first, _mask(request, fixed))
    start = transforms.affine_of(initial)
    pyramid = Pyramid(frame, spacing, box, mask)
    for modality in request.pairs:
        pyramid.add(fixed[modality], moving[modality], start)
    points = np.argwhere(mask) * spacing + box.origin
    points = _some(points)
    notes = [_own_image(fixed[modality], moving[modality], modality) for modality in request.pairs]
    notes += [_MIRRORED] if np.linalg.det(initial[:3, :3]) < 0 else []
    warnings = [*_unused(request), *_synthetic_files(request), *_called_otherwise(request)]
    warnings += [note for note in notes if note]
    problem = Problem(request.pairs, frame, pyramid, points, initial, warnings)
    _check_fixed(problem)
    _check_overlap(problem, moving.values())
    _check_moving(problem)
    return problem


def _fixed_name(modality: str) -> str:
    return "The iUS" if modality == US else f"The synthetic {label(modality)}"


def _name(request: RegistrationRequest, modality: str) -> str:
    name = request.names.get(modality)
    return f"{label(modality)} ({name})" if name else label(modality)


def _volume(source, what: str) -> sitk.Image:
    image = checks.checked(files.read(source) if isinstance(source, (str, Path)) else source, what)
    checks.check_extent(image, what)
    thinnest = min(image.GetSize())
    if thinnest < 3:
        raise InputError(
            f"{what} is only {thinnest} voxel{'s' * (thinnest > 1)} thick: registration needs a volume, not a slice."
        )
    return image


def _transform(source) -> sitk.Transform:
    return transforms.read(source) if isinstance(source, (str, Path)) else source


def _check_differ(fixed: sitk.Image, moving: sitk.Image, modality: str) -> None:
    if files.same_geometry(fixed, moving) and np.array_equal(checks.array_view(fixed), checks.array_view(moving)):
        raise InputError(
            f"The synthetic and the pre-operative {label(modality)} are the same volume: choose the MR that was "
            "acquired before the operation."
        )


def _own_image(fixed: sitk.Image, moving: sitk.Image, modality: str) -> str:
    """Return a warning where synthetic MR seems to be made from the MR that is to be registered to it, else ""."""
    if not files.same_geometry(fixed, moving):
        return ""
    shown = [checks.array_view(image) != 0 for image in (fixed, moving)]
    both, either = np.count_nonzero(shown[0] & shown[1]), np.count_nonzero(shown[0] | shown[1])
    if either == shown[0].size or both < _SAME_VOXELS * either:
        return ""
    return (
        f"The synthetic {label(modality)} lies on the grid of the pre-operative {label(modality)} and shows the same "
        "voxels: if it was made from that MR itself, every placement looks right, and the confidence means nothing. "
        "Register to what was made from the ultrasound."
    )


def _mask(request: RegistrationRequest, fixed) -> List[sitk.Image]:
    """Return volumes that are above 0 in the field of view, as the synthesis sees an ultrasound."""
    if request.us is None:
        return list(fixed.values())
    source = request.us
    read = files.read(source) if isinstance(source, (str, Path)) else source
    mask = checks.checked(read, "The field of view", ultrasound=True)
    checks.check_extent(mask, "The field of view")
    return [mask]


def _corners(image: sitk.Image) -> Optional[np.ndarray]:
    """Return the world positions (8, 3) of the corners of the box of an image's voxels above 0, None without any."""
    array = checks.array_view(image) > 0
    spans = []
    for axis in (2, 1, 0):
        where = np.flatnonzero(array.any(axis=tuple(other for other in range(3) if other != axis)))
        if len(where) == 0:
            return None
        spans.append((float(where[0]), float(where[-1])))
    corners = np.stack(np.meshgrid(*spans, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.array([image.TransformContinuousIndexToPhysicalPoint(corner.tolist()) for corner in corners])


def _field_of_view(first: sitk.Image, masks: List[sitk.Image]) -> Tuple[Frame, float, Box, np.ndarray]:
    """Return the frame at the field of view's middle, the finest spacing, and the field on a grid of that spacing."""
    found = [corners for corners in map(_corners, masks) if corners is not None]
    if not found:
        raise InputError(
            "The field of view is empty: choose the ultrasound, or a mask that is above 0 where the ultrasound sees."
        )
    axes = nearest_orthonormal(np.array(first.GetDirection()).reshape(3, 3))
    corners = np.concatenate(found)
    local = corners @ axes
    low, high = local.min(axis=0), local.max(axis=0)
    frame = Frame((low + high) / 2 @ axes.T, axes)
    extent = high - low
    spacing = max(FINEST_SPACING, float(np.prod(extent) / MOST_VOXELS) ** (1 / 3))
    size = tuple(int(n) for n in np.ceil(extent / spacing) + 1)
    box = Box(-spacing * (np.array(size) - 1) / 2, size)
    mask = _filled(masks, box.reference(frame, spacing))
    thickness = _extent(mask, spacing)
    if thickness < LEAST_EXTENT:
        raise InputError(
            f"The field of view is only {thickness:.0f} mm thick: registration needs {LEAST_EXTENT:.0f} mm or more "
            "along each axis. Is the mask the ultrasound's, and in the same place as the synthetic MR?"
        )
    return frame, spacing, box, mask


def _filled(masks: List[sitk.Image], grid: sitk.Image) -> np.ndarray:
    here = sitk.Transform(3, sitk.sitkIdentity)
    return ndimage.binary_fill_holes(np.any([sampled(mask > 0, grid, here)[0] >= 0.5 for mask in masks], axis=0))


def _some(points: np.ndarray) -> np.ndarray:
    """Return at most :data:`_POINTS` of (N, 3) points, drawn alike each time: a stride may meet one face of a box."""
    if len(points) <= _POINTS:
        return points
    return points[np.sort(np.random.default_rng(0).permutation(len(points))[:_POINTS])]


def _extent(mask: np.ndarray, spacing: float) -> float:
    others = ((1, 2), (0, 2), (0, 1))
    return spacing * min(int(mask.any(axis=axes).sum()) for axes in others)


def _unused(request: RegistrationRequest) -> List[str]:
    # A synthetic iUS is made with the rest unless told otherwise, and no pre-operative one could go with it.
    missing = [m for m in request.synthetic_only if m != US]
    extra = [m for m in request.moving if m not in request.fixed]
    notes = [f"{labels(missing)}: synthetic only, not used."] if missing else []
    return notes + ([f"{labels(extra)}: pre-operative only, not used for the registration."] if extra else [])


def _synthetic_files(request: RegistrationRequest) -> List[str]:
    return [of_synthetic_input(modality, name) for modality, name in _called_synthetic(request).items()]


def _called_otherwise(request: RegistrationRequest) -> List[str]:
    """Return a warning for every volume whose name says another contrast than it is given as."""
    fixed, moving = _file_names(request.fixed), {**_file_names(request.moving), **request.names}
    given = [(m, fixed[m], _fixed_name(m)) for m in request.pairs if m in fixed]
    given += [(m, moving[m], f"The pre-operative {label(m)}") for m in request.pairs if m in moving]
    return [
        f"{what} ('{name}') looks like {label(other)} by its name: is it the right volume?"
        for modality, name, what in given
        for other in [other_modality(modality, name)]
        if other is not None
    ]


def _called_synthetic(request: RegistrationRequest) -> Dict[str, str]:
    """Return the names of the pre-operative MR that are those of synthetic ones."""
    names = {**_file_names(request.moving), **request.names}
    return {m: names[m] for m in request.pairs if is_synthetic_name(names.get(m, ""))}


def _file_names(images: Mapping[str, ImageSource]) -> Dict[str, str]:
    """Return the names of those images that are files."""
    return {m: Path(image).name for m, image in images.items() if isinstance(image, (str, Path))}


def _check_not_exchanged(request: RegistrationRequest) -> None:
    """Raise where the MR is synthetic by its name, and what it is to be registered to is not."""
    fixed = _file_names(request.fixed)
    for modality, name in _called_synthetic(request).items():
        if modality in fixed and not is_synthetic_name(fixed[modality]):
            what = label(modality)
            raise InputError(
                f"The pre-operative {what} '{name}' is synthetic, and the synthetic {what} '{fixed[modality]}' is not "
                f"called so: were they exchanged? The synthetic {what} (--synthetic-{modality}) is what was made from "
                f"the ultrasound, the pre-operative {what} (--{modality}) the MR from before the operation."
            )


def _check_fixed(problem: Problem) -> None:
    for modality, fixed in zip(problem.modalities, problem.pyramid.level(4).fixed):
        if not fixed.any():
            raise InputError(
                f"{_fixed_name(modality)} is empty inside the field of view: is the mask in the same place?"
            )


def _check_moving(problem: Problem) -> None:
    for modality, moving in zip(problem.modalities, problem.pyramid.level(4).moving):
        if not moving.any():
            raise InputError(
                f"The pre-operative {label(modality)} is empty around the field of view: move it roughly onto the "
                "ultrasound first (in Slicer: module Transforms; on the command line: register --initial FILE)."
            )


def _check_overlap(problem: Problem, moving: Iterable[sitk.Image]) -> None:
    share = overlap(problem.pyramid.level(4), np.eye(4))
    if share >= GOOD_OVERLAP:
        return
    field = apply(problem.frame.matrix, problem.points)
    why = diagnose(field, min(moving, key=lambda image: covered(image, apply(problem.initial, field))), problem.initial)
    if share < LEAST_OVERLAP:
        raise InputError(f"The ultrasound's field of view and the pre-operative MR do not overlap. {why}")
    problem.warnings.append(why)
