"""Pictures of a case for its report: every volume in the same three planes, radiological, PNG."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

import numpy as np
import SimpleITK as sitk

from ..modalities import US, label
from ..registration.figures import write_picture
from ..synthesis.result import SynthesisResult
from ..volumes.checks import array_view

CHECKERBOARD = "checkerboard.png"

EDGE = 160
"""Pixels of a plane's longest edge."""

UNCERTAINTY_WHITE = 64.0
"""The standard deviation shown white, of 255: the same in all pictures, so that cases can be compared."""


@dataclass(frozen=True)
class Frame:
    """The box of a field of view along the axes of the patient: corners in LPS mm, and the pixels' size."""

    low: np.ndarray
    high: np.ndarray
    pixel: float


def frame_of(image: sitk.Image) -> Frame:
    """Return the frame around the voxels of an image that are not 0, or around all where all are."""
    ends = _ends_of_rows(image)
    if not len(ends):
        ends = np.array([at[::-1] for at in np.ndindex(2, 2, 2)]) * (np.array(image.GetSize()) - 1)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    points = np.array(image.GetOrigin()) + (ends * image.GetSpacing()) @ direction.T
    low, high = points.min(axis=0), points.max(axis=0)
    return Frame(low, high, max(float((high - low).max()), 1.0) / (EDGE - 1))


def _ends_of_rows(image: sitk.Image) -> np.ndarray:
    """Return the indices (n, 3), i j k, of the first and last voxel of each row that is not 0.

    However the image lies, what is not 0 is widest at one of them.
    """
    ends = []
    for k, plane in enumerate(array_view(image)):
        seen = plane != 0
        rows = np.flatnonzero(seen.any(axis=1))
        for i in (seen[rows].argmax(axis=1), seen.shape[1] - 1 - seen[rows, ::-1].argmax(axis=1)):
            ends.append(np.stack([i, rows, np.full_like(rows, k)], axis=1))
    return np.concatenate(ends)


def planes(image: sitk.Image, frame: Frame, black: float, white: float) -> sitk.Image:
    """Return the axial, coronal and sagittal plane through a frame's middle, one below the other, grey 8-bit.

    The patient's right is on the left, front or head above.
    """
    shown = [_plane(image, frame, normal) for normal in (2, 1, 0)]
    width = max(plane.shape[1] for plane in shown)
    padded = [np.pad(plane, ((0, 2), (0, width - plane.shape[1]))) for plane in shown]
    grey = np.clip(255 * (np.concatenate(padded) - black) / max(white - black, 1e-6), 0, 255)
    return sitk.GetImageFromArray(grey.astype(np.uint8))


def _plane(image: sitk.Image, frame: Frame, normal: int) -> np.ndarray:
    start, size = (frame.low + frame.high) / 2, [1, 1, 1]
    for axis in range(3):
        if axis != normal:
            start[axis] = frame.low[axis]
            size[axis] = int(np.ceil((frame.high[axis] - frame.low[axis]) / frame.pixel)) + 1
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing([frame.pixel] * 3)
    grid.SetOrigin(start.tolist())
    plane = sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32))
    # z runs upwards in the patient, rows run downwards in a picture.
    return plane[0] if normal == 2 else plane.squeeze(axis=2 if normal == 0 else 1)[::-1]


def write(
    inputs: Mapping[str, sitk.Image],
    result: SynthesisResult,
    real: Mapping[str, sitk.Image],
    registered: Optional[str],
    folder: Path,
) -> List[Dict[str, Any]]:
    """Write one picture a volume into ``folder``.

    :param registered: The modality that the checkerboard shows, where the real MR was registered.
    :return: ``[{"file", "title"}]`` in the order in which they are to be shown.
    """
    frame = frame_of(result.images[next(iter(result.images))])
    written = [
        _write(f"input {label(m)}", planes(image, frame, *_window(m, image)), folder) for m, image in inputs.items()
    ]
    for m, image in result.images.items():
        written.append(_write(f"synthetic {label(m)}", planes(image, frame, 0, 255), folder))
        if m in result.uncertainty:
            picture = planes(result.uncertainty[m], frame, 0, UNCERTAINTY_WHITE)
            written.append(_write(f"uncertainty {label(m)}", picture, folder))
        if m in real:
            title = f"{'registered' if registered else 'pre-operative'} {label(m)}"
            written.append(_write(title, planes(real[m], frame, *_window(m, real[m])), folder))
    if registered:
        written.append({"file": CHECKERBOARD, "title": f"checkerboard {label(registered)}"})
    return written


def _write(title: str, picture: sitk.Image, folder: Path) -> Dict[str, str]:
    name = title.replace(" ", "-") + ".png"
    write_picture(picture, folder / name)
    return {"file": name, "title": title}


def _window(modality: str, image: sitk.Image):
    """Return black and white of a real volume: from the 0.5th to the 99.5th percentile of what is not 0.

    Of an ultrasound to the 97th: a few very bright echoes would leave the rest black.
    """
    sample = array_view(image)[::2, ::2, ::2]
    values = sample[sample != 0]
    return tuple(np.percentile(values, (0.5, 97 if modality == US else 99.5))) if values.size else (0.0, 1.0)
