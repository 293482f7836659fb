"""What is said of a placement that is not to be relied on."""

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.progress import Reporter
from MMHVAESynthesisLib.registration import engine
from MMHVAESynthesisLib.registration.frame import gap, pose_of
from MMHVAESynthesisLib.registration.problem import prepare
from MMHVAESynthesisLib.registration.search import Peak
from MMHVAESynthesisLib.registration.solution import Rival, Solution
from MMHVAESynthesisLib.registration.stepwise import StepwiseEngine
from MMHVAESynthesisLib.request import RegistrationRequest

from . import phantom

TRUTH = pose_of(np.eye(3), np.array([5.0, 0, 0]))
MOTION = phantom.motion((0, 0, 0), (5, 0, 0))


class Finding:
    """An engine that finds the truth, and again ``apart`` mm from it, and the same."""

    name, device, apart, rivals = "finding", "cpu", 0.5, None
    informed = StepwiseEngine.informed

    def steps(self, request, starts):
        return 0

    def solve(self, problem, request, starts, report):
        repeats = [pose_of(np.eye(3), np.array([5.0, self.apart, 0])), TRUTH]
        return Solution(TRUTH, repeats, rivals=self.rivals)


@pytest.fixture
def at_chance(monkeypatch):
    """Lets the placement have as many times the information that chance gives, and the search find some peaks."""

    def stand(above, *peaks):
        monkeypatch.setattr(engine, "times_chance", lambda *_: above)
        monkeypatch.setattr(engine.search, "search", lambda *_: list(peaks))

    return stand


@pytest.fixture
def registered(field, monkeypatch):
    monkeypatch.setattr(engine, "choose_engine", lambda *_: Finding())

    def run(moving, contrasts=("t2",), **settings):
        fixed, moved = ({name: image * n for n, name in enumerate(contrasts, 1)} for image in (field, moving))
        return engine.register(RegistrationRequest(fixed, moved, completion=False, **settings))

    return run


@pytest.mark.parametrize(
    ("above", "apart", "said", "is_kept"),
    [
        (3.2, 3.5, "no more than by chance", True),
        (3.2, 3.3, "resemble each other little", False),
        (3.4, 3.5, "resemble each other little", False),
        (3.4, 6.0, "Repeats of the registration end 4 mm apart", True),
        (3.6, 3.0, None, False),
        (3.6, 6.0, "Repeats of the registration end 4 mm apart", True),
    ],
)
def test_how_far_a_placement_stands_out_from_chance_and_repeats_itself_is_told(
    head, registered, at_chance, monkeypatch, above, apart, said, is_kept
):
    monkeypatch.setattr(Finding, "apart", apart)
    at_chance(above, Peak(TRUTH, 0.5))
    result = registered(phantom.carried(head, MOTION), starts=2)
    assert result.kept_start is is_kept and result.provenance["above_chance"] == above
    assert len(result.warnings) == (said is not None)
    assert said is None or said in result.warnings[0]


def test_a_search_that_finds_nothing_is_told(head, registered, at_chance):
    at_chance(3.6)
    result = registered(phantom.carried(head, MOTION), starts=2)
    assert result.warnings == ["The search found no likely placement: only the initial one was refined."]
    assert not result.kept_start


@pytest.mark.parametrize(("above", "is_told"), [(1.0, True), (3.4, True), (3.6, False)])
def test_without_a_search_a_result_that_chance_would_give_is_told_and_taken(
    head, registered, at_chance, above, is_told
):
    at_chance(above)
    result = registered(phantom.carried(head, MOTION), starts=1)
    assert not result.kept_start and result.provenance["above_chance"] == above
    assert any(LITTLE in warning for warning in result.warnings) is is_told


@pytest.mark.parametrize(
    ("starts", "peaks", "first"),
    [
        (1, [], "Register with a search"),
        (2, [], "Move the MR nearer"),
        (2, [Peak(TRUTH, 0.5)], "If the MR lies nearly"),
    ],
)
def test_what_to_do_after_a_failure_depends_on_what_was_done(
    head, registered, at_chance, monkeypatch, starts, peaks, first
):
    monkeypatch.setattr(Finding, "apart", 9.0)
    at_chance(3.6, *peaks)
    result = registered(phantom.carried(head, MOTION), starts=starts)
    (said,) = [warning for warning in result.warnings if "no placement is to be relied on" in warning]
    assert result.kept_start and f"the start is returned. {first}" in said
    if starts == 1:
        for words in ("tick Search", "--starts 4", "starts=4"):
            assert words in said


@pytest.mark.parametrize(("seen", "is_told"), [(0.35, True), (0.65, False)])
def test_that_little_of_the_field_lies_inside_the_mr_is_told(head, registered, seen, is_told):
    last = int(39.5 - 16 + 32 * seen)
    result = registered(phantom.carried(head[: last + 1], MOTION), starts=1)
    assert not result.kept_start and result.overlap == pytest.approx(seen, abs=0.07)
    said = [warning for warning in result.warnings if "after registration" in warning]
    assert said == ([f"Only {100 * result.overlap:.0f} % of the field of view lies inside the pre-operative MR after "
                     "registration."] if is_told else [])  # fmt: skip


@pytest.mark.parametrize(("noise", "is_rival"), [(0.2, True), (3.0, False)])
def test_another_placement_that_fits_almost_as_well_is_told(noise, is_rival):
    """A texture that repeats itself every 28 mm, but for the noise."""
    pytest.importorskip("torch", reason="PyTorch is not installed: the LNCC engine cannot run")
    from MMHVAESynthesisLib.registration.lncc_engine import LnccEngine

    values = np.tile(sitk.GetArrayFromImage(phantom.head(size=28)), (4, 4, 4))
    values[..., 56:] += noise * (sitk.GetArrayFromImage(phantom.head(seed=3))[..., 56:] - 1000)
    texture = sitk.GetImageFromArray(values.astype(np.float32))
    texture.CopyInformation(phantom.head(size=112))
    request = RegistrationRequest({"t2": phantom.field(texture, size=(26, 30, 28))}, {"t2": texture + 1}, starts=2)
    problem = prepare(request)
    away = pose_of(np.eye(3), np.array([-28.0, 0, 0]))
    solution = LnccEngine().solve(problem, request, [np.eye(4), away], Reporter("test", 1000))
    assert gap(solution.pose, np.eye(4), problem.points) < 0.5
    found = [rival for rival in solution.rivals if gap(rival.pose, away, problem.points) < 1]
    assert any(rival.share > engine.RIVAL for rival in found) is is_rival
    assert [rival.apart for rival in found] == pytest.approx([28] * len(found), abs=1)
    assert len(solution.repeats) == 4 and max(gap(other, np.eye(4), problem.points) for other in solution.repeats) < 3


LITTLE, CHANCE = "resemble each other little", "no more than by chance"


@pytest.mark.parametrize(
    ("repeats", "apart", "share", "above", "said", "is_kept"),
    [
        (3.5, 13, 0.86, 3.6, "A placement 13 mm away fits 86 % as well as the best", True),
        (1.0, 13, 0.86, 3.6, None, False),
        (1.0, 13, 0.91, 3.6, "A placement 13 mm away fits 91 % as well as the best", True),
        (3.5, 13, 0.82, 3.6, None, False),
        (3.5, 13, 0.82, 3.2, CHANCE, True),
        (1.0, 13, 0.82, 3.2, LITTLE, False),
        (3.5, 13, 0.69, 3.4, LITTLE, False),
        (3.5, 13, 0.69, 3.2, CHANCE, True),
        (3.5, 11, 0.95, 3.6, "Another placement fits almost as well", False),
        (3.5, 11, 0.89, 3.6, None, False),
        (3.5, 11, 0.89, 3.2, CHANCE, True),
    ],
)
def test_how_a_result_stands_out_from_other_placements_decides(
    head, registered, at_chance, monkeypatch, repeats, apart, share, above, said, is_kept
):
    monkeypatch.setattr(Finding, "apart", repeats)
    monkeypatch.setattr(Finding, "rivals", [Rival(pose_of(np.eye(3), np.array([5.0, 0, apart])), share, apart)])
    at_chance(above, Peak(TRUTH, 0.5))
    result = registered(phantom.carried(head, MOTION), starts=2)
    assert result.kept_start is is_kept
    assert [warning for warning in result.warnings if said and said in warning] == result.warnings[: said is not None]
    is_near = share > engine.RIVAL and apart < engine.ELSEWHERE
    assert is_kept or (result.confidence > 5) is is_near


@pytest.mark.parametrize(("away", "is_kept"), [(13.0, False), (11.0, True)])
def test_a_result_that_descents_from_elsewhere_reach_as_well_stands_alone(
    head, registered, at_chance, monkeypatch, away, is_kept
):
    monkeypatch.setattr(Finding, "apart", 3.5)
    monkeypatch.setattr(Finding, "rivals", [])
    peak = Peak(pose_of(np.eye(3), np.array([5.0, away, 0])), 0.5)
    at_chance(2.3, peak)
    result = registered(phantom.carried(head, MOTION), contrasts=("t2", "cet1"), starts=2)
    assert result.kept_start is is_kept


@pytest.mark.parametrize(
    ("repeats", "share", "above", "is_kept"),
    [(3.5, 0.82, 2.5, False), (3.5, 0.82, 2.3, True), (3.5, 0.69, 2.1, False), (3.5, 0.69, 1.9, True)],
)
def test_several_contrasts_need_less_since_each_could_contradict(
    head, registered, at_chance, monkeypatch, repeats, share, above, is_kept
):
    monkeypatch.setattr(Finding, "apart", repeats)
    monkeypatch.setattr(Finding, "rivals", [Rival(pose_of(np.eye(3), np.array([5.0, 0, 13])), share, 13)])
    at_chance(above, Peak(TRUTH, 0.5))
    moving = phantom.carried(head, MOTION)
    assert registered(moving, contrasts=("t2", "flair"), starts=2).kept_start is is_kept
    assert registered(moving, starts=2).kept_start


def test_a_start_that_a_descent_at_4_mm_would_lead_away_from_the_truth_is_followed_at_2_mm_too():
    """Blobs lie 10 mm off in the MR, and are all that is left at 4 mm; what is finer lies in its place."""
    pytest.importorskip("torch", reason="PyTorch is not installed: the LNCC engine cannot run")
    from MMHVAESynthesisLib.registration.lncc_engine import LnccEngine

    fine, blobs = (sitk.GetArrayFromImage(phantom.head(seed, 96, scale=scale)) for seed, scale in ((1, 2.0), (2, 7.0)))
    fixed, moving = (sitk.GetImageFromArray(fine + 1.6 * there) for there in (blobs, np.roll(blobs, 10, axis=2)))
    for image in (fixed, moving):
        image.CopyInformation(phantom.head(size=96))
    field = phantom.field(fixed, size=(40, 40, 40))
    request = RegistrationRequest({"t2": field}, {"t2": moving}, starts=1)
    problem = prepare(request)
    near = pose_of(np.eye(3), np.array([2.0, 0, 0]))
    solution = LnccEngine().solve(problem, request, [near], Reporter("test", 1000))
    assert gap(solution.pose, np.eye(4), problem.points) < 0.5
    assert max(rival.apart for rival in solution.rivals) == pytest.approx(10, abs=2.5)


def test_a_placement_that_resembles_nothing_has_rivals_as_good_as_it():
    """Else one that fits worse than chance would stand apart from what fits worse still."""
    pytest.importorskip("torch", reason="PyTorch is not installed: the LNCC engine cannot run")
    from MMHVAESynthesisLib.registration.lncc_engine import _share

    assert [_share(*each) for each in ((0.3, 0.6), (-0.1, 0.6), (-0.2, -0.1), (-0.1, 0.0))] == [0.5, 0.0, 1.0, 1.0]
