"""Corresponding landmarks: reading them, and the target registration error (TRE) of a transform at them."""

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Tuple, Union

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..paths import expanded

_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])

_FCSV_STATUS, _FCSV_PLACED = 14, ("", "2")
"""The column of a point's placement, which only newer versions of Slicer write, and what it holds for a placed one. The
others (0 not placed yet, 3 missing) keep former coordinates.
"""

_FCSV_LABEL = 11
"""The column of a point's label."""

_FCSV_SYSTEMS = {"0": "RAS", "1": "LPS", "RAS": "RAS", "LPS": "LPS"}


_UNIT = "mm"

_Read = Tuple[List[Optional[List[float]]], List[str], str, str]
"""Of a file: points, None for one that was not placed; labels; coordinate system; unit."""

BY_LABEL = "The two lists of landmarks have the same labels in another order: they were paired by label."


@dataclass(frozen=True)
class PointList:
    """A list of points, in its order.

    :param points: (N, 3) LPS mm, NaN where not placed.
    :param labels: N, as the user gave them; not always distinct.
    """

    points: np.ndarray
    labels: List[str]


@dataclass(frozen=True)
class TargetRegistrationError:
    """Distances in mm, one a landmark (N,), and what sums them up."""

    distances: np.ndarray

    @property
    def mean(self) -> float:
        """Mean distance in mm."""
        return float(self.distances.mean())

    @property
    def median(self) -> float:
        """Median distance in mm."""
        return float(np.median(self.distances))

    @property
    def largest(self) -> float:
        """Largest distance in mm."""
        return float(self.distances.max())


def target_registration_error(
    fixed_to_moving: sitk.Transform, fixed: np.ndarray, moving: np.ndarray
) -> TargetRegistrationError:
    """Return how far a transform leaves each fixed landmark from its moving one, measured where the moving one lies.

    :param fixed: (N, 3) LPS mm, landmarks in the fixed volume (the ultrasound); ``moving`` likewise, in the same order.
        A row of NaN is a landmark that was not placed: its pair does not count.
    :raises InputError: when the lists differ in length or no pair is placed.
    """
    fixed, moving = (np.asarray(points, dtype=float) for points in (fixed, moving))
    if len(fixed) != len(moving):
        fixed, moving = (points[: _up_to_last_placed(points)] for points in (fixed, moving))
    if len(fixed) != len(moving):
        raise InputError(
            f"There are {len(fixed)} landmarks in the ultrasound and {len(moving)} in the MR: they must be the same "
            "ones, in the same order."
        )
    placed = ~np.isnan(fixed).any(axis=1) & ~np.isnan(moving).any(axis=1)
    if not placed.any():
        raise InputError("There are no landmarks: place at least one pair.")
    mapped = np.array([fixed_to_moving.TransformPoint(point) for point in fixed[placed].tolist()])
    return TargetRegistrationError(np.linalg.norm(mapped - moving[placed], axis=1))


def paired(fixed: PointList, moving: PointList) -> Tuple[np.ndarray, np.ndarray, str]:
    """Return the points of two lists as pairs, and a warning where their labels say another thing than their order.

    Where both have the same labels, each of them once, in another order, the labels count: by their order the pairs
    would be false, and so would their error. Where they share some labels only, it is the order that counts, and the
    warning says that this may be what happened.

    :return: Fixed and moving points, as they are where they go by their order; the warning is empty where none is due.
    """
    points, labels = [], []
    for each in (fixed, moving):
        count = _up_to_last_placed(each.points) if len(fixed.points) != len(moving.points) else len(each.points)
        points.append(each.points[:count])
        labels.append([label.strip() for label in each.labels[:count]])
    names, others = labels
    if names == others or len(set(names)) < len(names) or sorted(names) != sorted(others):
        return fixed.points, moving.points, _in_part(points, labels)
    return points[0], points[1][[others.index(name) for name in names]], BY_LABEL


def _in_part(points: List[np.ndarray], labels: List[List[str]]) -> str:
    """Return a warning where lists paired by their order share labels, each distinct, and not all; "" elsewhere.

    :param points: (N, 3) of each list, NaN where not placed: such a pair counts for nothing.
    """
    if len(labels[0]) != len(labels[1]):
        return ""
    placed = ~np.isnan(np.hstack(points)).any(axis=1)
    names, others = ([label for label, counts in zip(each, placed) if counts] for each in labels)
    distinct = len(names) == len(set(names)) == len(set(others))
    if not distinct or names == others or not set(names) & set(others) - {""}:
        return ""
    own, other = next(pair for pair in zip(names, others) if pair[0] != pair[1])
    return (
        f"The two lists of landmarks share some of their labels only ('{own}' in the ultrasound was paired with "
        f"'{other}' in the MR, by their order): are these the same points? If not, their error means nothing."
    )


def _up_to_last_placed(points: np.ndarray) -> int:
    """Return how many points there are up to the last placed one: a list in placement ends with one not there yet."""
    placed = np.flatnonzero(~np.isnan(points).any(axis=1))
    return int(placed[-1]) + 1 if placed.size else 0


def read_points(source: Union[str, Path]) -> PointList:
    """Read one list of points from Slicer's .fcsv or .mrk.json, in their order.

    :raises InputError: when the file is absent, damaged, in other units than mm, or says nothing of its coordinates.
    """
    path, text = _text(source)
    name = path.name.lower()
    try:
        if name.endswith(".fcsv"):
            points, labels, system, unit = _fcsv(text)
        elif name.endswith(".json"):
            points, labels, system, unit = _markups(text)
        else:
            raise InputError(f"{path} is no list of points that can be read: give a .fcsv or .mrk.json file.")
        array = _placed(path, points)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, csv.Error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged or no list of points: save it anew from Slicer.") from error
    if system not in ("RAS", "LPS"):
        raise InputError(f"{path} gives its points in {system} coordinates: save it in LPS or RAS.")
    if unit != _UNIT:
        raise InputError(f"{path} gives its points in {unit}: save it in {_UNIT}.")
    return PointList(array * _RAS_TO_LPS if system == "RAS" else array, labels)


def read_tag(source: Union[str, Path]) -> Tuple[np.ndarray, np.ndarray]:
    """Read pairs of points from an MNI tag file, as RESECT has them (mm, RAS).

    A point ends with its label, or where it has none with its line. All points are read, or none.

    :return: The first volume's points (in RESECT the MR's) and the second's (the ultrasound's), (N, 3) LPS mm each.
    :raises InputError: when the file is absent, damaged, or has not two volumes.
    """
    path, text = _text(source)
    text = re.sub(r"^[ \t]*[%#].*$", "", text, flags=re.MULTILINE)
    volumes = re.search(r"Volumes\s*=\s*(\d+)\s*;", text)
    points = re.search(r"Points\s*=((?:[^\";]|\"[^\"\n]*\")*);(.*)", text, flags=re.DOTALL)
    if not text.lstrip().startswith("MNI Tag Point File") or not volumes or not points:
        raise InputError(f"{path} is no MNI tag file, or is cut off: give a whole .tag file.")
    if volumes.group(1) != "2":
        raise InputError(f"{path} holds points of {volumes.group(1)} volume: give a .tag file of two volumes.")
    if points.group(2).strip():
        raise InputError(f"{path} is damaged: more stands behind the semicolon that ends its points.")
    try:
        array = _rows([_pair(row.split()) for line in points.group(1).splitlines() for row in _unlabelled(line)], 6)
    except ValueError as error:
        raise InputError(
            f"{path} is damaged: a point does not hold six numbers, or has no line and no label of its own."
        ) from error
    _finite(path, array)
    return array[:, :3] * _RAS_TO_LPS, array[:, 3:] * _RAS_TO_LPS


def _unlabelled(line: str) -> List[str]:
    """Return the points of a line without their labels in quotes, each of which ends one."""
    *labelled, last = re.split(r'"[^"]*"', line)
    return [*labelled, last] if last.strip() else labelled


def _pair(words: List[str]) -> List[float]:
    """Return the six coordinates of a point; weight, structure and patient may follow, and a label of one word."""
    if len(words[6:]) not in (0, 1, 3, 4):
        raise ValueError("not one point")
    for number in words[6:9] if len(words) > 7 else ():
        float(number)
    return [float(number) for number in words[:6]]


def _rows(points: List[List[float]], width: int) -> np.ndarray:
    """Return (N, ``width``) of as many rows; ValueError where one of them is not that long."""
    if any(len(point) != width for point in points):
        raise ValueError(f"not {width} numbers a row")
    return np.array(points, dtype=float).reshape(-1, width)


def _placed(path: Path, points: List[Optional[List[float]]]) -> np.ndarray:
    """Return (N, 3), NaN for None: a point of the list that was not placed."""
    array = np.full((len(points), 3), np.nan)
    chosen = [place for place, point in enumerate(points) if point is not None]
    array[chosen] = _finite(path, _rows([points[place] for place in chosen], 3))
    return array


def _text(source: Union[str, Path]) -> Tuple[Path, str]:
    path = expanded(source)
    try:
        return path, path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no list of points, or is not in UTF-8: save it anew in that encoding.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: check the name of the file.") from error


def _finite(path: Path, points: np.ndarray) -> np.ndarray:
    if not np.isfinite(points).all():
        raise InputError(f"{path} holds points that are not numbers: place them again.")
    return points


def _fcsv(text: str) -> _Read:
    system = re.search(r"^#\s*CoordinateSystem\s*=\s*(\w+)", text, flags=re.MULTILINE)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rows = list(csv.reader(lines))
    points = [
        [float(number) for number in row[1:4]] if (row[_FCSV_STATUS:] or [""])[0].strip() in _FCSV_PLACED else None
        for row in rows
    ]
    name = system.group(1).upper() if system else "unknown"
    labels = [(row[_FCSV_LABEL:] or [""])[0] for row in rows]
    return points, labels, _FCSV_SYSTEMS.get(name, name), _UNIT


def _markups(text: str) -> _Read:
    markups = json.loads(text)["markups"]
    if len(markups) != 1:
        raise ValueError("not one list")
    points = markups[0]["controlPoints"]
    placed = [point["position"] if point.get("positionStatus", "defined") == "defined" else None for point in points]
    labels = [str(point.get("label", "")) for point in points]
    unit = markups[0].get("coordinateUnits", _UNIT)
    # A code of DICOM has its scheme and its meaning behind it.
    unit = unit[0] if isinstance(unit, list) else unit
    return placed, labels, markups[0].get("coordinateSystem", "LPS").upper(), str(unit).strip()
