"""What slices across several axes say of one volume, put together voxel by voxel."""

from typing import Dict, Iterable, Optional, Tuple

import numpy as np


class Fusion:
    """Mean and standard deviation over all images drawn, every sample across every axis.

    Statistics of parts are merged as Chan, Golub and LeVeque do (The American Statistician, 1983), so that neither
    samples nor directions have to be kept.

    Every direction is first seen, then adds its volume of each target.

    :param samples: Images drawn a direction.
    :param spread: Whether the standard deviation is wanted; it takes a volume more for each target.
    """

    def __init__(self, samples: int, spread: bool):
        self._samples, self._spread = samples, spread
        self._means: Dict[str, np.ndarray] = {}
        self._squares: Dict[str, np.ndarray] = {}
        self._seen: Optional[np.ndarray] = None
        self._covered: Optional[np.ndarray] = None

    def expect(self, targets: Iterable[str], shape: Tuple[int, ...]) -> None:
        """Take the memory for targets' volumes of this shape, (K, J, I), now: its lack is to show before any work."""
        for target in targets:
            self._means[target] = np.zeros(shape, np.float32)
            if self._spread:
                self._squares[target] = np.zeros(shape, np.float32)

    def see(self, covered: np.ndarray) -> None:
        """Take in where the next direction says anything, (K, J, I) bool of the reference."""
        self._seen = np.zeros(covered.shape, np.uint8) if self._seen is None else self._seen + self._covered
        self._covered = covered

    def add(self, target: str, mean: np.ndarray, deviation: Optional[np.ndarray] = None) -> None:
        """Take that direction's volume of a target, (K, J, I) float32 of the reference, grey values.

        :param deviation: Standard deviation over its samples (n - 1), where the spread is wanted.
        """
        if target not in self._means:
            self.expect([target], mean.shape)
        # Plane by plane: temporaries of a whole volume would cost more memory than the volumes themselves.
        for k in range(len(mean)):
            seen, covered = self._seen[k].astype(np.float32), self._covered[k]
            apart = np.where(covered, mean[k] - self._means[target][k], 0)
            self._means[target][k] += apart / (seen + 1)
            if self._spread:
                within = np.where(covered, (self._samples - 1) * deviation[k] ** 2, 0)
                self._squares[target][k] += within + apart**2 * self._samples * seen / (seen + 1)

    def mean(self, target: str) -> np.ndarray:
        """Return the mean, (K, J, I) float32, 0 where no direction says anything, and forget it."""
        return self._means.pop(target)

    def deviation(self, target: str) -> np.ndarray:
        """Return the standard deviation (n - 1), (K, J, I) float32, and forget it."""
        deviation = self._squares.pop(target)
        for k, plane in enumerate(deviation):
            drawn = self._samples * (self._seen[k] + self._covered[k].astype(np.float32))
            plane[:] = np.sqrt(plane / np.maximum(drawn - 1, 1))
        return deviation
