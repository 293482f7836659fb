"""The cases of a data folder: which modalities each has, their voxels and what harmonises them."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Set, Tuple, Union

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..errors import InputError
from ..modalities import MODALITIES, US
from ..paths import expanded
from ..volumes.checks import checked, checked_label
from ..volumes.files import read, same_geometry
from ..volumes.intensity import IntensityRange, image_from_zero
from ..volumes.naming import stem, suffix
from .config import HELD_OUT, DataConfig

log = logging.getLogger(__name__)

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
LABEL = "seg"
_SPACING_TOLERANCE = 1e-3
_GRID_TOLERANCE = 0.1
"""Voxels."""
_PERCENTILE = 99.95


_SKULL_ON = 0.9
"""Where more than this share of a volume is not 0, what lies around the head may be noise instead of background."""
_AIR = 0.15
"""How bright air is at most, in parts of what is not air."""


def white_matter_level(volume: np.ndarray) -> float:
    """Return the intensity of white matter in a volume (background 0): a stand-in for SynthSeg's label.

    Meant for skull-stripped volumes; where there is hardly any background, what is as dark as air counts as such. White
    matter is the largest homogeneous tissue away from the surface. So: every second voxel; those 5 steps (10 mm
    at 1 mm) or more inside the mask; of these the half with the smaller gradient (Gaussian, sigma one step); the mode
    of their histogram (128 bins from their minimum to their 99.5th percentile, smoothed by 2 bins). Where too little
    lies deep, the whole mask is used; where none of every second voxel is above 0, every voxel.

    :param volume: (k, j, i), at least one voxel above 0.
    """
    coarse = volume[::2, ::2, ::2].astype(np.float32)
    if not (coarse > 0).any():
        coarse = volume.astype(np.float32)
    mask = coarse > 0
    if mask.mean() > _SKULL_ON:
        mask = _without_air(coarse)
    deep = ndimage.binary_erosion(mask, iterations=5)
    if deep.sum() < 1000:
        deep = mask
    gradient = ndimage.gaussian_gradient_magnitude(coarse, 1.0)
    flat = coarse[deep & (gradient <= np.median(gradient[deep]))]
    counts, edges = np.histogram(flat, bins=128, range=(flat.min(), max(np.percentile(flat, 99.5), flat.min() + 1e-3)))
    peak = int(ndimage.gaussian_filter1d(counts.astype(np.float64), 2).argmax())
    return float((edges[peak] + edges[peak + 1]) / 2)


def _without_air(volume: np.ndarray) -> np.ndarray:
    """Return the mask of a head in air (Otsu's threshold, holes filled); of everything where nothing looks like air."""
    dark = sitk.GetArrayFromImage(sitk.OtsuThreshold(sitk.GetImageFromArray(volume), 1, 0)) > 0
    if dark.all() or volume[dark].mean() > _AIR * volume[~dark].mean():
        return volume > 0
    return ndimage.binary_fill_holes(~dark)


def intensity_range(values: np.ndarray) -> Optional[IntensityRange]:
    """Return the range of the voxels above 0 (network.md: minimum, 99.95th percentile); None where there is none."""
    inside = values[values > 0]
    if not inside.size:
        return None
    return IntensityRange(float(inside.min()), float(np.percentile(inside, _PERCENTILE)))


@dataclass(frozen=True)
class Case:
    """One case in memory.

    :param volumes: ``{modality: (k, j, i)}``, background 0, all of one shape.
    :param ranges: Intensity range of each whole volume.
    :param white_matter: Intensity of white matter in each MR volume.
    :param label: Tumour label map of the same shape, if there is one.
    :param direction: Of the axes (i, j, k) in world coordinates (LPS), as SimpleITK gives it.
    """

    name: str
    folder: Path
    volumes: Dict[str, np.ndarray]
    ranges: Dict[str, IntensityRange]
    white_matter: Dict[str, float]
    label: Optional[np.ndarray] = None
    direction: Tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    @property
    def modalities(self) -> tuple:
        """Its modalities, in the published order."""
        return tuple(modality for modality in MODALITIES if modality in self.volumes)

    @property
    def shape(self) -> tuple:
        """(k, j, i)."""
        return next(iter(self.volumes.values())).shape


def case_files(folder: Path) -> Dict[str, Path]:
    """Return the volumes of a case folder by their names: modalities and the label map.

    :raises InputError: where there are two of a name.
    """
    found: Dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and suffix(path) in VOLUME_SUFFIXES and stem(path) in (*MODALITIES, LABEL):
            if stem(path) in found:
                raise InputError(f"{folder} holds both {found[stem(path)].name} and {path.name}: leave only one there.")
            found[stem(path)] = path
    return found


def data_folder(given: Optional[Union[str, Path]]) -> Path:
    """Return the data folder: the one given, else the environment variable MMHVAE_DATA.

    :raises InputError: when there is none.
    """
    name = given or os.environ.get("MMHVAE_DATA")
    if not name:
        raise InputError("Say where the cases lie: --data DIR, or the environment variable MMHVAE_DATA.")
    folder = expanded(name)
    if not folder.is_dir():
        raise InputError(f"The data folder {name} does not exist.")
    return folder


def find(data: Path, folders: Sequence[str] = ()) -> List[Path]:
    """Return the case folders: ``data/<folder>/<case>/`` with at least one of us, t2, cet1, flair in it.

    :param folders: Which folders are searched; none means all below ``data``.
    :raises InputError: when there is none.
    """
    roots = [data / name for name in folders] if folders else sorted(path for path in data.iterdir() if path.is_dir())
    missing = [root.name for root in roots if not root.is_dir()]
    if missing:
        log.warning("%s has no folder %s", data, ", ".join(missing))
    cases = [
        case
        for root in roots
        if root.is_dir()
        for case in sorted(root.iterdir())
        if case.is_dir() and set(case_files(case)) & set(MODALITIES)
    ]
    if not cases:
        sought = f" in {', '.join(folders)} (data.folders of the configuration)" if folders else ""
        raise InputError(
            f"{data} holds no cases{sought}: put each in a folder of its own, {data}/<folder>/<case>/, "
            "with any of us, t2, cet1, flair as .nii.gz."
        )
    return cases


def split(cases: Sequence[Path], config: DataConfig) -> tuple:
    """Return the case folders to train on and those held out: by name, and of one fold where folds are asked for.

    A name that is held out on purpose and that no case has is warned of: the case that was meant would be trained on.
    """
    held_out = set(config.always_held_out)
    absent = sorted(held_out - set(HELD_OUT) - {case.name for case in cases})
    if absent:
        log.warning(
            "There is no case called %s to hold out: look at data.held_out in the configuration, or what was meant is "
            "trained on",
            ", ".join(absent),
        )
    if config.folds:
        held_out.update(case.name for case in folds(cases, config.folds)[config.fold])
    return (
        [case for case in cases if case.name not in held_out],
        [case for case in cases if case.name in held_out],
    )


def folds(cases: Sequence[Path], count: int) -> List[List[Path]]:
    """Deal case folders into ``count`` folds, stratified: those with the same modalities as evenly as can be.

    By modalities and name, round and round: the same cases always make the same folds. Folders of one name, which is
    what is held out, are in one fold, and count as one case with the modalities of them all.

    :raises InputError: when there are fewer cases than folds, so that one would hold nothing out.
    """
    known: Dict[str, Set[str]] = {}
    for case in cases:
        known.setdefault(case.name, set()).update(set(case_files(case)) & set(MODALITIES))
    strata = sorted(known, key=lambda name: (sorted(known[name]), name))
    if len(strata) < count:
        raise InputError(f"There are {len(strata)} cases for {count} folds: make data.folds smaller, or add cases.")
    return [[case for name in strata[first::count] for case in cases if case.name == name] for first in range(count)]


def _resampled(image: sitk.Image, spacing: float, is_label: bool) -> sitk.Image:
    """Resample to isotropic ``spacing``, linear and in float32 (labels: nearest, in their own type), 0 outside.

    An image that has that spacing is returned as it is.
    """
    if all(abs(edge - spacing) <= _SPACING_TOLERANCE for edge in image.GetSpacing()):
        return image
    size = [max(1, round(count * edge / spacing)) for count, edge in zip(image.GetSize(), image.GetSpacing())]
    resample = sitk.ResampleImageFilter()
    resample.SetOutputSpacing([spacing] * 3)
    resample.SetSize([int(count) for count in size])
    resample.SetOutputOrigin(image.GetOrigin())
    resample.SetOutputDirection(image.GetDirection())
    resample.SetInterpolator(sitk.sitkNearestNeighbor if is_label else sitk.sitkLinear)
    # In whole numbers ITK would cut off what comes after the point.
    resample.SetOutputPixelType(image.GetPixelID() if is_label else sitk.sitkFloat32)
    return resample.Execute(image)


def _box(volumes: Sequence[np.ndarray]) -> tuple:
    """Return the slices of the smallest box around all that is not 0."""
    union = np.zeros(volumes[0].shape, bool)
    for volume in volumes:
        union |= volume > 0
    return ndimage.find_objects(union.astype(np.uint8))[0]


def _read(path: Path, config: DataConfig, name: str) -> sitk.Image:
    image = read(path)
    if name == LABEL:
        image = checked_label(image, str(path))
    else:
        image = checked(image, str(path), ultrasound=name == US)
        # Before resampling, which takes what lies outside for 0: then that is background.
        image = sitk.Clamp(image, lowerBound=0) if name == US else image_from_zero(image)
    image = _resampled(image, config.spacing, name == LABEL)
    if name != LABEL and not (sitk.GetArrayViewFromImage(image) > 0).any():
        raise InputError(f"{path} holds less than a voxel of {config.spacing:g} mm. Choose another volume.")
    return image


def load(folder: Path, config: DataConfig) -> Optional[Case]:
    """Read a case: the minimum of its MR taken off, resampled, and (for crops) cropped to what is not empty.

    :return: None when it has no modality.
    :raises InputError: when its volumes do not lie on one grid, or one is empty or not numbers throughout.
    """
    files = case_files(folder)
    if not set(files) & set(MODALITIES):
        return None
    images = {name: _read(path, config, name) for name, path in files.items()}
    first = next(iter(images.values()))
    if not all(same_geometry(first, image, _GRID_TOLERANCE) for image in images.values()):
        raise InputError(f"The volumes of {folder} do not lie on one grid: resample them onto one.")
    direction = first.GetDirection()
    volumes = {name: sitk.GetArrayFromImage(image) for name, image in images.items()}
    if config.sampling == "crops":
        box = _box([volume for name, volume in volumes.items() if name != LABEL])
        volumes = {name: np.ascontiguousarray(volume[box]) for name, volume in volumes.items()}
    label = volumes.pop(LABEL, None)
    ranges = {name: intensity_range(volume) for name, volume in volumes.items()}
    white = {name: white_matter_level(volume) for name, volume in volumes.items() if name != US}
    return Case(folder.name, folder, volumes, ranges, white, label, direction)


def load_all(folders: Sequence[Path], config: DataConfig) -> List[Case]:
    """Read all cases that have any modality; say what was read."""
    cases = [case for case in (load(folder, config) for folder in folders) if case is not None]
    for case in cases:
        log.info("%s: %s, %s", case.name, ", ".join(case.modalities), "x".join(map(str, case.shape)))
    return cases


def harmonised(values: np.ndarray, white_matter: float, grey_value: float) -> np.ndarray:
    """Return a training target: linear, 0 to 0 and white matter to ``grey_value``, in the network's range.

    :param values: Intensities of any shape, background 0.
    :return: float32, -1 for background, else in [-255/256, 1]; what is brighter than 255 is cut off.
    """
    grey = values.astype(np.float32) * np.float32(grey_value / white_matter)
    return IntensityRange(0.0, 255.0).to_network(grey)
