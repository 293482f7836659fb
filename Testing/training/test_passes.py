from collections import Counter

import numpy as np
import pytest

from MMHVAESynthesisLib.training.passes import ALL_SEEN, MIXED_SEEN, MR_SEEN, US_SEEN, mr_subsets, plan

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


def test_one_makes_one_pass_and_draws_every_subset_small_ones_more_often():
    rng = np.random.default_rng(0)
    steps = [plan(ALL, "one", rng, 0.55) for _ in range(6000)]
    assert all(len(passes) == 1 and len(passes[0]) == 1 for passes in steps)
    seen = Counter(passes[0][0][1] for passes in steps)
    assert len(seen) == 15
    # iUS alone: 55 %, and a quarter of the single sets of the other draws (sizes k come as 1/sqrt(k)).
    chances = np.arange(1, 5) ** -0.5 / np.sum(np.arange(1, 5) ** -0.5)
    share = 0.45 * chances[0]
    assert seen["us",] / 6000 == pytest.approx(0.55 + share / 4, abs=0.03)
    assert seen["t2",] / 6000 == pytest.approx(share / 4, abs=0.02)
    assert seen[ALL] / 6000 == pytest.approx(0.45 * chances[3], abs=0.02)
    names = {inputs: name for passes in steps for name, inputs in passes[0]}
    assert (names[ALL], names["us",]) == (ALL_SEEN, US_SEEN)
    assert (names["us", "t2"], names["t2", "flair"]) == (MIXED_SEEN, MR_SEEN)


def test_one_sees_all_that_a_case_with_one_modality_has():
    rng = np.random.default_rng(0)
    # Named after what they see: the adversarial term is for passes that do not see everything.
    for only, name in (("us", US_SEEN), ("flair", MR_SEEN)):
        assert all(plan((only,), "one", rng) == [[(name, (only,))]] for _ in range(20))


def test_one_can_leave_out_all_that_a_case_has():
    rng = np.random.default_rng(0)
    seen = Counter(plan(ALL, "one", rng, 0.55, whole=False)[0][0][1] for _ in range(3000))
    assert len(seen) == 14 and ALL not in seen
    assert plan(("us",), "one", rng, 0.55, whole=False) == [[(US_SEEN, ("us",))]]
