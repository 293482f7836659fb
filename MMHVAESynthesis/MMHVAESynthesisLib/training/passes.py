"""Which inputs the passes of an optimiser step see: the mixture of eq. 17."""

from itertools import combinations
from typing import List, Sequence, Tuple

import numpy as np

from ..modalities import US

Subset = Tuple[str, ...]

ALL_SEEN, US_SEEN, MR_SEEN = "observed", "us", "mr"
"""The names of the three passes: all that the case has, iUS alone, a subset R of its MR."""


def mr_subsets(observed: Sequence[str]) -> List[Subset]:
    """Return every non-empty subset R of the MR in ``observed``, singles first.

    >>> mr_subsets(["us", "t2", "flair"])
    [('t2',), ('flair',), ('t2', 'flair')]
    """
    mr = [name for name in observed if name != US]
    return [subset for count in range(1, len(mr) + 1) for subset in combinations(mr, count)]


def plan(observed: Sequence[str], subsets: str, rng: np.random.Generator) -> List[List[Tuple[str, Subset]]]:
    """Return the optimiser steps for one batch, each the list of its passes: ``(name, inputs)``.

    :param observed: O, the modalities of the case.
    :param subsets: ``uniform``: one step with one R drawn uniformly; ``all``: a step for each R.
    :return: A case without MR makes the first two passes, one without iUS the first and the third.
    """
    fixed: List[Tuple[str, Subset]] = [(ALL_SEEN, tuple(observed))]
    if US in observed:
        fixed.append((US_SEEN, (US,)))
    choices = mr_subsets(observed)
    if not choices:
        return [fixed]
    if subsets == "uniform":
        choices = [choices[int(rng.integers(len(choices)))]]
    return [fixed + [(MR_SEEN, choice)] for choice in choices]
