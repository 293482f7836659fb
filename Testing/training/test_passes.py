from collections import Counter

import numpy as np
import pytest

from MMHVAESynthesisLib.training.passes import mr_subsets, plan

ALL = ("us", "t2", "cet1", "flair")


def test_uniform_draws_every_subset_of_the_mr_equally_often():
    rng = np.random.default_rng(0)
    drawn = Counter(plan(ALL, "uniform", rng)[0][2][1] for _ in range(7000))
    assert set(drawn) == set(mr_subsets(ALL)) and len(drawn) == 7
    assert all(880 < count < 1120 for count in drawn.values())


def test_all_takes_every_subset_in_turn_with_the_other_two_passes_anew():
    steps = plan(ALL, "all", np.random.default_rng(0))
    assert [step[2][1] for step in steps] == mr_subsets(ALL)
    assert all(step[0][1] == ALL and step[1][1] == ("us",) for step in steps)


@pytest.mark.parametrize(
    "observed, passes",
    [
        (("us",), [("us",), ("us",)]),
        (("us", "t2"), [("us", "t2"), ("us",), ("t2",)]),
        (("flair",), [("flair",), ("flair",)]),
    ],
)
def test_incomplete_cases_make_the_passes_that_they_can(observed, passes):
    (step,) = plan(observed, "uniform", np.random.default_rng(0))
    assert [inputs for _, inputs in step] == passes


def test_a_case_without_ultrasound_makes_the_first_and_third_pass():
    (step,) = plan(("t2", "flair"), "uniform", np.random.default_rng(0))
    assert [name for name, _ in step] == ["observed", "mr"]
