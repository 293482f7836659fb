"""The noise of a slice: a function of seed, sample and slice alone, the same on every device and system."""

from typing import List, Sequence, Tuple

import numpy as np

from ..request import NOISE_SHARED


def slice_noise(
    shapes: Sequence[Tuple[int, ...]], kind: str, seed: int, sample: int, direction: int, plane: int, tile: int
) -> List[np.ndarray]:
    """Draw standard normal noise for one slice.

    :param shapes: One for each random latent level.
    :param kind: ``independent`` for each slice, or ``shared`` by all planes.
    :param direction: Across which axis the slice lies; 0 for those as stored.
    :param plane: The slice's index across that axis of the model's grid.
    :param tile: Its index within the plane.
    :return: One float32 array for each shape.
    """
    place = [seed, sample, 0 if kind == NOISE_SHARED else 1 + plane, tile]
    generator = np.random.default_rng([*place, direction] if direction else place)
    return [generator.standard_normal(shape, dtype=np.float32) for shape in shapes]
