"""What slices across several axes say of one volume, put together voxel by voxel."""

from typing import Dict

import numpy as np


class Fusion:
    """Mean and standard deviation over all images drawn, every sample across every axis.

    Statistics of parts are merged as Chan, Golub and LeVeque do (The American Statistician, 1983), so that neither
    samples nor directions have to be kept.

    :param samples: Images drawn a direction.
    """

    def __init__(self, samples: int):
        self._samples = samples
        self._means: Dict[str, np.ndarray] = {}
        self._squares: Dict[str, np.ndarray] = {}
        self._seen: Dict[str, np.ndarray] = {}

    def add(self, target: str, mean: np.ndarray, deviation: np.ndarray, covered: np.ndarray) -> None:
        """Take one direction's volume of a target, arrays [k, j, i] of the reference.

        :param deviation: Standard deviation over its samples (n - 1); 0 for a single one.
        :param covered: Where it says anything.
        """
        if target not in self._means:
            self._means[target] = np.zeros(mean.shape, np.float32)
            self._squares[target] = np.zeros(mean.shape, np.float32)
            self._seen[target] = np.zeros(mean.shape, np.uint8)
        # Plane by plane: temporaries of a whole volume would cost more memory than the volumes themselves.
        for k in range(len(mean)):
            self._add_plane(target, k, mean[k], deviation[k], covered[k])

    def _add_plane(self, target: str, k: int, mean: np.ndarray, deviation: np.ndarray, covered: np.ndarray) -> None:
        seen = self._seen[target][k].astype(np.float32)
        apart = np.where(covered, mean - self._means[target][k], 0)
        self._means[target][k] += apart / (seen + 1)
        within = np.where(covered, (self._samples - 1) * deviation**2, 0)
        self._squares[target][k] += within + apart**2 * self._samples * seen / (seen + 1)
        self._seen[target][k] += covered

    def mean(self, target: str) -> np.ndarray:
        """Return the mean, [k, j, i] float32, 0 where no direction says anything."""
        return self._means[target]

    def deviation(self, target: str) -> np.ndarray:
        """Return the standard deviation (n - 1), [k, j, i] float32."""
        drawn = self._samples * self._seen[target].astype(np.float32)
        return np.sqrt(self._squares[target] / np.maximum(drawn - 1, 1))
