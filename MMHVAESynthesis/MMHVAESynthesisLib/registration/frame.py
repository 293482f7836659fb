"""Millimetre axes at the middle of the ultrasound's field of view, and poses in them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frame:
    """World (LPS, mm) = axes @ local (mm) + centre.

    ``axes`` (3, 3) is orthonormal and may be left-handed; ``centre`` (3,) is the middle of the field of view. A pose
    is a (4, 4) matrix in local coordinates that maps fixed points to moving points, so its rotation turns about the
    centre.
    """

    centre: np.ndarray
    axes: np.ndarray

    @property
    def matrix(self) -> np.ndarray:
        """(4, 4), local to world."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.axes
        matrix[:3, 3] = self.centre
        return matrix

    def pose_in_world(self, pose: np.ndarray) -> np.ndarray:
        """Return a local pose as a (4, 4) matrix between world points."""
        return self.matrix @ pose @ np.linalg.inv(self.matrix)


def nearest_orthonormal(matrix: np.ndarray) -> np.ndarray:
    """Return the orthonormal matrix nearest to a (3, 3) one, of the same handedness (polar decomposition)."""
    left, _, right = np.linalg.svd(matrix)
    return left @ right


def rotation(vector: np.ndarray) -> np.ndarray:
    """Return the (3, 3) rotation about ``vector`` (3,) by its length in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle == 0:
        return np.eye(3)
    x, y, z = np.asarray(vector) / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def pose_of(turn: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return the (4, 4) pose that turns by ``turn`` (3, 3), then shifts by ``shift`` (3,) mm."""
    pose = np.eye(4)
    pose[:3, :3] = turn
    pose[:3, 3] = shift
    return pose


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map (N, 3) points by a (4, 4) matrix."""
    return np.asarray(points) @ matrix[:3, :3].T + matrix[:3, 3]


def distances(first: np.ndarray, second: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return how far apart, in mm, two (4, 4) matrices put each of (N, 3) points: (N,)."""
    return np.linalg.norm(apply(first, points) - apply(second, points), axis=1)


def gap(first: np.ndarray, second: np.ndarray, points: np.ndarray) -> float:
    """Return how far apart two (4, 4) matrices put (N, 3) points, root mean square, in mm."""
    return float(np.sqrt((distances(first, second, points) ** 2).mean()))
