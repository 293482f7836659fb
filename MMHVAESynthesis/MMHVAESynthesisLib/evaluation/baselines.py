"""What a network must beat: a polynomial of the inputs, and the best image that depends on depth alone."""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import List, Sequence, Tuple

import numpy as np

from ..training.batches import Batch
from ..volumes.intensity import BACKGROUND

DEGREE = 3
_PIXELS = 400000


def _monomials(values: np.ndarray) -> np.ndarray:
    """Return all monomials up to the third degree of (n, inputs), the constant first: (n, terms)."""
    terms = [np.ones(len(values))]
    for degree in range(1, DEGREE + 1):
        for chosen in combinations_with_replacement(range(values.shape[1]), degree):
            terms.append(np.prod(values[:, list(chosen)], axis=1))
    return np.stack(terms, axis=1)


def _inside(batch: Batch, inputs: Sequence[str]) -> np.ndarray:
    """Return the mask of a run: where its first input is not background, (B, 1, S, S)."""
    return batch.inputs[inputs[0]] > BACKGROUND


@dataclass(frozen=True)
class Polynomial:
    """A polynomial of degree 3 from the intensities of the inputs to those of a target, pixel by pixel."""

    inputs: Tuple[str, ...]
    coefficients: np.ndarray

    @classmethod
    def fit(cls, batches: Sequence[Batch], inputs: Sequence[str], target: str) -> "Polynomial":
        """Fit by least squares over pixels inside the masks of the batches: all up to 800,000, of more every n-th.

        n is as many times as they hold 400,000, so that fewer than 800,000 remain.
        """
        values, wanted = [], []
        for batch in batches:
            mask = _inside(batch, inputs)
            values.append(np.stack([batch.inputs[name][mask] for name in inputs], axis=1))
            wanted.append(batch.targets[target][mask])
        every = max(1, sum(map(len, wanted)) // _PIXELS)
        known = _monomials(np.concatenate(values)[::every].astype(np.float64))
        coefficients, *_ = np.linalg.lstsq(known, np.concatenate(wanted)[::every].astype(np.float64), rcond=None)
        return cls(tuple(inputs), coefficients)

    def __call__(self, batch: Batch) -> np.ndarray:
        """Return the images of a batch, (B, 1, S, S), in the network's range, background outside the mask."""
        mask = _inside(batch, self.inputs)
        values = np.stack([batch.inputs[name][mask] for name in self.inputs], axis=1).astype(np.float64)
        image = np.full(mask.shape, BACKGROUND, np.float32)
        image[mask] = np.clip(_monomials(values) @ self.coefficients, -1, 1)
        return image


@dataclass(frozen=True)
class DepthProfile:
    """The image that depends on depth alone: one value for each millimetre of distance from the probe's face.

    Fitted on the very slices that it is judged on, nothing that depends on depth alone has a smaller squared error.
    """

    first: str
    depths: np.ndarray
    values: np.ndarray

    @classmethod
    def fit(cls, samples: Sequence[Tuple[Batch, np.ndarray]], first: str, target: str) -> "DepthProfile":
        """Take the mean of the target in each millimetre of depth, over all pixels inside the masks.

        :param samples: ``(batch, depth)``, depth in mm, (B, 1, S, S).
        :param first: The input whose mask the images have.
        """
        masks = [_inside(batch, (first,)) for batch, _ in samples]
        bins = np.concatenate([np.floor(depth[mask]) for (_, depth), mask in zip(samples, masks)])
        wanted = np.concatenate([batch.targets[target][mask] for (batch, _), mask in zip(samples, masks)])
        depths, place, counts = np.unique(bins, return_inverse=True, return_counts=True)
        return cls(first, depths, np.bincount(place.ravel(), weights=wanted.ravel()) / counts)

    def __call__(self, batch: Batch, depth: np.ndarray) -> np.ndarray:
        """Return the images of a batch, (B, 1, S, S); depths that were not fitted have the value of the nearest."""
        mask = _inside(batch, (self.first,))
        image = np.full(mask.shape, BACKGROUND, np.float32)
        image[mask] = np.interp(np.floor(depth[mask]), self.depths, self.values)
        return image


def pairs(modalities: Sequence[str]) -> List[Tuple[str, str]]:
    """Return every ordered pair of two different modalities."""
    return [(source, target) for source in modalities for target in modalities if source != target]
