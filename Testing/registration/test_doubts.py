"""What is said of a placement that is not to be relied on."""

from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.progress import Reporter
from MMHVAESynthesisLib.registration import engine
from MMHVAESynthesisLib.registration.frame import gap, pose_of
from MMHVAESynthesisLib.registration.problem import prepare
from MMHVAESynthesisLib.registration.search import Peak
from MMHVAESynthesisLib.registration.solution import Solution
from MMHVAESynthesisLib.request import RegistrationRequest

from . import phantom

TRUTH = pose_of(np.eye(3), np.array([5.0, 0, 0]))
MOTION = phantom.motion((0, 0, 0), (5, 0, 0))


class Finding:
    """An engine that finds the truth, and again ``apart`` mm from it, and the same."""

    name, device, apart = "finding", "cpu", 0.5

    def steps(self, request, starts):
        return 0

    def solve(self, problem, request, starts, report):
        return Solution(TRUTH, [pose_of(np.eye(3), np.array([5.0, self.apart, 0])), TRUTH])


@pytest.fixture
def registered(field, monkeypatch):
    monkeypatch.setattr(engine, "choose_engine", lambda *_: Finding())

    def run(moving, **settings):
        return engine.register(RegistrationRequest({"t2": field}, {"t2": moving}, completion=False, **settings))

    return run


@pytest.mark.parametrize(
    ("above", "apart", "said", "is_kept"),
    [
        (1.1, 3.5, "no more than by chance", True),
        (1.1, 2.0, "resemble each other little", False),
        (1.3, 3.5, "resemble each other little", False),
        (1.3, 6.0, "Repeats of the registration end 4 mm apart", True),
        (1.6, 3.0, None, False),
        (1.6, 6.0, "Repeats of the registration end 4 mm apart", True),
    ],
)
def test_how_far_a_placement_stands_out_from_chance_and_repeats_itself_is_told(
    head, registered, monkeypatch, above, apart, said, is_kept
):
    monkeypatch.setattr(Finding, "apart", apart)
    found = SimpleNamespace(peaks=[Peak(TRUTH, 0.5)], above_chance=lambda pose: above)
    monkeypatch.setattr(engine.search, "search", lambda *_: found)
    result = registered(phantom.carried(head, MOTION), starts=2)
    assert result.kept_start is is_kept and result.provenance["above_chance"] == above
    assert len(result.warnings) == (said is not None)
    assert said is None or said in result.warnings[0]


def test_a_search_that_finds_nothing_is_told(head, registered, monkeypatch):
    monkeypatch.setattr(engine.search, "search", lambda *_: SimpleNamespace(peaks=[]))
    result = registered(phantom.carried(head, MOTION), starts=2)
    assert result.warnings == ["The search found no likely placement: only the initial one was refined."]
    assert result.provenance["above_chance"] is None and not result.kept_start


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
    apart = [gap(other, away, problem.points) for other in solution.repeats]
    assert (min(apart) < 1) is is_rival
    assert any("Another placement fits almost as well" in doubt for doubt in solution.doubts) is is_rival
