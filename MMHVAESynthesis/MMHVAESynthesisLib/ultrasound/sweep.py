"""Where the probe is put: entry on the surface of the brain, direction, and the grid of the reconstructed volume."""

from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..errors import InputError
from .probe import Probe, SweepSettings, draw_probe


@dataclass(frozen=True)
class SweepPose:
    """A probe, its movement and where it stands.

    :param probe: Geometry of the field and the movement.
    :param matrix: 4 x 4 as nested tuples, probe coordinates to world coordinates (LPS, mm); right-handed and rigid.
    """

    probe: Probe
    matrix: Tuple[Tuple[float, ...], ...]

    @property
    def entry(self) -> np.ndarray:
        """Middle of the probe's face in world coordinates, mm."""
        return np.asarray(self.matrix)[:3, 3]

    @property
    def direction(self) -> np.ndarray:
        """Unit vector of the central beam in world coordinates."""
        return np.asarray(self.matrix)[:3, 1]


def index_to_world(image: sitk.Image) -> np.ndarray:
    """Return the 4 x 4 matrix from (i, j, k) to world coordinates of an image."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return matrix


def draw_pose(
    inside: np.ndarray,
    to_world: np.ndarray,
    rng: np.random.Generator,
    label: Optional[np.ndarray] = None,
    settings: SweepSettings = SweepSettings(),  # noqa: B008 (frozen)
) -> SweepPose:
    """Draw a probe on the surface of the brain that looks inward, towards the tumour where a label shows one.

    :param inside: Brain, bool (k, j, i).
    :param to_world: From :func:`index_to_world`.
    :param label: Segmentation on the same grid; any value above 0 is the target.
    :raises InputError: when the brain is empty.
    """
    if not inside.any():
        raise InputError("The MR volume is empty: a sweep needs a brain with a background of 0.")
    filled = ndimage.binary_fill_holes(inside)
    surface = np.argwhere(filled & ~ndimage.binary_erosion(filled, iterations=2))[:, ::-1]
    soft = ndimage.gaussian_filter(filled.astype(np.float32), 4.0, mode="constant")
    gradient = np.stack(
        [ndimage.sobel(soft, axis=axis, mode="constant")[tuple(surface[:, ::-1].T)] for axis in (2, 1, 0)], axis=1
    )
    outward = -gradient @ np.linalg.inv(to_world[:3, :3])
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    points = surface @ to_world[:3, :3].T + to_world[:3, 3]
    target = _draw_target(label, to_world, rng)
    chosen = _draw_entry(points, outward, target, rng)
    entry, inward = points[chosen], -outward[chosen]
    centre = np.argwhere(filled).mean(axis=0)[::-1] @ to_world[:3, :3].T + to_world[:3, 3]
    towards = (centre if target is None else target) - entry
    towards /= max(float(np.linalg.norm(towards)), 1e-6)
    share = rng.uniform(0.2, 0.6) if target is None else rng.uniform(0.6, 1.0)
    direction = (1 - share) * inward + share * towards + 0.08 * rng.normal(size=3)
    axial = direction / np.linalg.norm(direction)
    lateral = np.cross(rng.normal(size=3), axial)
    lateral /= np.linalg.norm(lateral)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([lateral, axial, np.cross(lateral, axial)], axis=1)
    matrix[:3, 3] = entry - axial * rng.uniform(0.5, 3.0)
    return SweepPose(draw_probe(rng, settings), tuple(tuple(float(v) for v in row) for row in matrix))


def _draw_target(label: Optional[np.ndarray], to_world: np.ndarray, rng: np.random.Generator) -> Optional[np.ndarray]:
    if label is None or not np.any(label):
        return None
    parts, count = ndimage.label(label > 0)
    sizes = ndimage.sum_labels(np.ones_like(parts), parts, np.arange(1, count + 1))
    part = 1 + rng.choice(count, p=sizes / sizes.sum())
    middle = np.argwhere(parts == part).mean(axis=0)[::-1]
    return middle @ to_world[:3, :3].T + to_world[:3, 3]


def _draw_entry(points: np.ndarray, outward: np.ndarray, target, rng: np.random.Generator) -> int:
    """Draw a point of the surface: from above (world +z is superior), near the target where there is one."""
    weights = (outward[:, 2] > (0.3 if target is None else -0.1)).astype(np.float64)
    if target is not None:
        distance = np.linalg.norm(points - target, axis=1)
        weights = np.maximum(weights, 1e-9) * np.exp(-(distance - distance.min()) / 4.0)
    if weights.sum() == 0:
        weights += 1
    return int(rng.choice(len(points), p=weights / weights.sum()))


def draw_grid(
    pose: SweepPose, spacing: float, rng: np.random.Generator, obliqueness: float
) -> Tuple[np.ndarray, Tuple[int, int, int]]:
    """Draw the oblique grid of the reconstructed volume: the smallest that holds the field along rotated axes.

    :return: 4 x 4 matrix from (i, j, k) to world coordinates, and the shape (k, j, i).
    """
    probe = pose.probe
    reach = probe.half_angle
    beam = np.meshgrid(
        np.linspace(-probe.length / 2, probe.length / 2, 25),
        np.linspace(-reach, reach, 15),
        np.linspace(0, probe.depth, 9),
        indexing="ij",
    )
    corners = np.stack([v.ravel() for v in probe.from_beam(*beam)], axis=1)
    world = corners @ np.asarray(pose.matrix)[:3, :3].T + pose.entry
    axes = np.asarray(pose.matrix)[:3, :3] @ rotation(rng.uniform(-obliqueness, obliqueness, size=3))
    along = world @ axes
    low, high = along.min(axis=0), along.max(axis=0)
    size = np.ceil((high - low) / spacing).astype(int) + 1
    matrix = np.eye(4)
    matrix[:3, :3] = axes * spacing
    matrix[:3, 3] = axes @ low
    return matrix, tuple(int(n) for n in size[::-1])


def rotation(degrees) -> np.ndarray:
    """Return the 3 x 3 matrix that turns about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        turn = np.eye(3)
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[second, first], turn[first, second] = np.sin(angle), -np.sin(angle)
        matrix = turn @ matrix
    return matrix
