"""Which inputs the passes of an optimiser step see: the mixture of eq. 17."""

from itertools import combinations
from typing import List, Sequence, Tuple

import numpy as np

from ..modalities import US

Subset = Tuple[str, ...]

ALL_SEEN, US_SEEN, MR_SEEN, MIXED_SEEN = "observed", "us", "mr", "mixed"
"""The names of the passes: all that the case has, iUS alone, a subset R of its MR; and iUS with some of the MR."""


def mr_subsets(observed: Sequence[str]) -> List[Subset]:
    """Return every non-empty subset R of the MR in ``observed``, singles first.

    >>> mr_subsets(["us", "t2", "flair"])
    [('t2',), ('flair',), ('t2', 'flair')]
    """
    mr = [name for name in observed if name != US]
    return [subset for count in range(1, len(mr) + 1) for subset in combinations(mr, count)]


def plan(
    observed: Sequence[str], subsets: str, rng: np.random.Generator, us_alone: float = 0.0, whole: bool = True
) -> List[List[Tuple[str, Subset]]]:
    """Return the optimiser steps for one batch, each the list of its passes: ``(name, inputs)``.

    :param observed: O, the modalities of the case.
    :param subsets: ``uniform``: one step with one R drawn uniformly; ``all``: a step for each R; ``one``: one step of
        one pass, see :func:`one_subset`.
    :param us_alone: With ``one``, the share of steps that see iUS alone where the case has it.
    :param whole: With ``one``, whether a step may see all of O where that are several.
    :return: A case without MR makes the first two passes, one without iUS the first and the third.
    """
    if subsets == "one":
        seen = one_subset(observed, rng, us_alone, whole)
        return [[(_name(seen, observed), seen)]]
    fixed: List[Tuple[str, Subset]] = [(ALL_SEEN, tuple(observed))]
    if US in observed:
        fixed.append((US_SEEN, (US,)))
    choices = mr_subsets(observed)
    if not choices:
        return [fixed]
    if subsets == "uniform":
        choices = [choices[int(rng.integers(len(choices)))]]
    return [fixed + [(MR_SEEN, choice)] for choice in choices]


def one_subset(observed: Sequence[str], rng: np.random.Generator, us_alone: float, whole: bool = True) -> Subset:
    """Draw one non-empty subset of O, in its order: a third of the cost of three passes, so three times the steps.

    A share of the draws is iUS alone where it is there: what users have, and what is hardest to learn. In the others k
    modalities come up as 1/sqrt(k), all sets of a size alike. Unlike the published mixture this one also holds iUS with
    some of the MR.

    :param whole: Whether all of O may be drawn where that are several.
    """
    if US in observed and rng.random() < us_alone:
        return (US,)
    largest = len(observed) if whole or len(observed) == 1 else len(observed) - 1
    chances = np.arange(1, largest + 1) ** -0.5
    count = 1 + int(rng.choice(largest, p=chances / chances.sum()))
    chosen = set(rng.choice(len(observed), count, replace=False).tolist())
    return tuple(name for place, name in enumerate(observed) if place in chosen)


def _name(seen: Subset, observed: Sequence[str]) -> str:
    # All of a single modality is that modality alone: in the published plan such a case makes both passes.
    if len(seen) == len(observed) > 1:
        return ALL_SEEN
    if US not in seen:
        return MR_SEEN
    return US_SEEN if len(seen) == 1 else MIXED_SEEN
