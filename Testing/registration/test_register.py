import dataclasses
import importlib.util
import json
import sys
import threading

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib import dependencies
from MMHVAESynthesisLib.errors import Cancelled, DependencyError, InputError
from MMHVAESynthesisLib.registration import engine, together, transforms
from MMHVAESynthesisLib.registration.frame import pose_of
from MMHVAESynthesisLib.registration.solution import MOST_STRETCH, Solution
from MMHVAESynthesisLib.registration.stepwise import StepwiseEngine
from MMHVAESynthesisLib.request import RegistrationRequest

from . import phantom

HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: the LNCC engine cannot run")
BOTH = [pytest.param("lncc", marks=needs_torch), "mattes"]

NEAR = phantom.motion((3, -2, 4), (3, -2, 2))
FAR = phantom.motion((6, -5, 7), (14, -10, 9))


@pytest.fixture(scope="module")
def head():
    return phantom.head()


@pytest.fixture(scope="module")
def field(head):
    return phantom.noisy(phantom.field(head))


def registered(fixed, moving, **settings):
    return engine.register(RegistrationRequest({"t2": fixed}, {"t2": moving}, **settings))


@pytest.mark.parametrize("name", BOTH)
def test_recovers_a_far_displacement(head, field, name):
    result = registered(field, phantom.carried(head, FAR), engine=name)
    assert phantom.error(result.fixed_to_moving, FAR) < 0.5
    assert result.metric_after > result.metric_before + 0.2
    assert not result.kept_start and result.overlap > 0.99
    assert result.provenance["above_chance"] > engine.STANDS_OUT and not result.warnings


@pytest.mark.parametrize("name", BOTH)
def test_recovers_a_near_displacement_without_a_search(head, field, name):
    result = registered(field, phantom.carried(head, NEAR), engine=name, starts=1)
    assert phantom.error(result.fixed_to_moving, NEAR) < 0.5


@needs_torch
def test_the_search_is_what_reaches_a_far_displacement(head, field):
    without = registered(field, phantom.carried(head, FAR), starts=1)
    assert phantom.error(without.fixed_to_moving, FAR) > 2
    assert any("mm apart" in warning for warning in without.warnings)


@needs_torch
@pytest.mark.parametrize(
    "grid",
    [
        {"left_handed": True},
        {"degrees": (25, -40, 65)},
        {"degrees": (10, 170, 5), "left_handed": True, "spacing": (0.8, 1.3, 2.0), "size": (60, 36, 22)},
    ],
    ids=["left-handed", "oblique", "all at once"],
)
def test_any_grid(head, grid):
    result = registered(phantom.field(head, **grid), phantom.carried(head, NEAR), starts=1)
    assert phantom.error(result.fixed_to_moving, NEAR) < 0.5


@needs_torch
def test_thick_left_handed_moving_slices(head, field):
    thick = sitk.Image([112, 112, 37], sitk.sitkUInt8)
    thick.SetSpacing((1.0, 1.0, 3.0))
    thick.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
    thick.SetOrigin((phantom.CENTRE + [-55.5, -55.5, 54.0]).tolist())
    moving = sitk.Resample(head, thick, sitk.Transform(), sitk.sitkLinear)
    result = registered(field, phantom.carried(moving, NEAR), starts=1)
    assert phantom.error(result.fixed_to_moving, NEAR) < 0.7


@needs_torch
def test_contrasts_are_used_together(head, field):
    other = phantom.head(seed=5)
    moving = {"t2": phantom.carried(head, NEAR), "cet1": phantom.carried(other, NEAR), "flair": sitk.Image(head)}
    fixed = {"t2": phantom.noisy(field, 2.0), "cet1": phantom.field(other)}
    result = engine.register(RegistrationRequest(fixed, moving, starts=1))
    assert phantom.error(result.fixed_to_moving, NEAR) < 0.5
    assert [contrast.modality for contrast in result.contrasts] == ["t2", "cet1"]
    assert result.contrasts[1].after > result.contrasts[0].after > result.contrasts[0].before
    assert any("FLAIR" in warning for warning in result.warnings)


@needs_torch
def test_an_initial_transform_is_part_of_the_result(head, field):
    away = phantom.motion((20, 50, -30), (150, -90, 60))
    initial = transforms.transform_of(phantom.motion((20, 50, -30), (152, -91, 61)), phantom.CENTRE)
    result = registered(field, phantom.carried(head, away), initial=initial, starts=1)
    assert phantom.error(result.fixed_to_moving, away) < 0.5
    assert result.moved == pytest.approx(np.sqrt(6), abs=0.6)


@needs_torch
def test_both_directions_are_inverse(head, field):
    result = registered(field, phantom.carried(head, NEAR), starts=1)
    both = transforms.matrix_of(result.fixed_to_moving) @ transforms.matrix_of(result.moving_to_fixed)
    assert np.allclose(both, np.eye(4), atol=1e-9)
    assert isinstance(result.fixed_to_moving, sitk.VersorRigid3DTransform)


@pytest.mark.parametrize("name", BOTH)
def test_affine_recovers_a_scale_within_its_bounds(head, field, name):
    scaled = NEAR.copy()
    scaled[:3, :3] = scaled[:3, :3] @ np.diag([1.03, 0.98, 1.0])
    scaled[:3, 3] = NEAR[:3, :3] @ phantom.CENTRE + NEAR[:3, 3] - scaled[:3, :3] @ phantom.CENTRE
    grid = sitk.Image(head)
    back = transforms.transform_of(np.linalg.inv(scaled), phantom.CENTRE)
    moving = sitk.Resample(head, grid, back, sitk.sitkLinear)
    rigid = registered(field, moving, engine=name, starts=1)
    affine = registered(field, moving, engine=name, starts=1, kind="affine")
    assert phantom.error(affine.fixed_to_moving, scaled) < 0.5 < phantom.error(rigid.fixed_to_moving, scaled)
    assert affine.confidence < 0.5, "a stretch that was found is no doubt"


def stretch_along(direction, share):
    axis = np.array(direction) / np.linalg.norm(direction)
    return np.eye(3) + share * np.outer(axis, axis)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("stretch", [1.15 * np.eye(3), stretch_along((1, 1, 1), 0.12), stretch_along((1, 0, 0), 0.12)])
def test_affine_never_stretches_beyond_its_bounds_in_any_direction(head, field, name, stretch):
    pose = np.eye(4)
    pose[:3, :3] = stretch
    pose[:3, 3] = phantom.CENTRE - stretch @ phantom.CENTRE
    back = transforms.transform_of(np.linalg.inv(pose), phantom.CENTRE)
    moving = sitk.Resample(head, sitk.Image(head), back, sitk.sitkLinear)
    result = registered(field, moving, engine=name, starts=1, kind="affine")
    scales = np.linalg.svd(transforms.matrix_of(result.fixed_to_moving)[:3, :3])[1]
    assert 0.02 < np.abs(scales - 1).max() <= MOST_STRETCH + 1e-9 and result.metric_after > result.metric_before


class WorseEngine:
    name, device = "worse", "cpu"
    informed = StepwiseEngine.informed

    def steps(self, request, starts):
        return 0

    away, repeats = 9.0, 1

    def solve(self, problem, request, starts, report):
        away = pose_of(np.eye(3), np.array([self.away, 0, 0]))
        return Solution(away, [away] * self.repeats)


@pytest.mark.parametrize("away", [2.8, 9.0])
def test_never_returns_less_than_the_start(head, field, monkeypatch, away):
    monkeypatch.setattr(engine, "choose_engine", lambda *_: WorseEngine())
    monkeypatch.setattr(WorseEngine, "away", away)
    result = registered(field, phantom.carried(head, np.eye(4)), starts=1)
    assert result.kept_start and result.metric_after == result.metric_before
    assert phantom.error(result.fixed_to_moving, np.eye(4)) < 1e-9
    assert result.confidence == pytest.approx(away)
    assert any("start is returned" in warning for warning in result.warnings)


@pytest.mark.parametrize(("noise", "is_kept"), [(0.0, True), (0.15, False), (1.5, False)])
def test_a_placement_that_fits_no_better_than_the_start_is_not_taken(head, monkeypatch, noise, is_kept):
    """A texture that repeats itself every 28 mm: where the noise does not tell them apart, the MR stays where it is."""
    period = sitk.GetArrayFromImage(phantom.head(size=28))
    values = np.tile(period, (4, 4, 4))
    values[..., 56:] += noise * (sitk.GetArrayFromImage(phantom.head(seed=3))[..., 56:] - 1000)
    texture = sitk.GetImageFromArray(values.astype(np.float32))
    texture.CopyInformation(head)
    fixed = phantom.field(texture, size=(26, 44, 40))
    away = phantom.motion((0, 0, 0), (28, 0, 0))
    monkeypatch.setattr(engine, "choose_engine", lambda *_: WorseEngine())
    monkeypatch.setattr(WorseEngine, "away", 28.0)
    monkeypatch.setattr(WorseEngine, "repeats", 30)
    result = registered(fixed, phantom.carried(texture, away), starts=1)
    assert result.kept_start is is_kept
    if is_kept:
        assert "fits no better than the start" in " ".join(result.warnings) and result.confidence > 15
    elif noise < 1:
        assert result.confidence == pytest.approx(28 / np.sqrt(31)), "the start is one of its repeats"
    else:
        assert phantom.error(result.fixed_to_moving, away) < 1e-6
        assert not any("fits almost as well" in w for w in result.warnings)


class Stretching:
    """A descent that stays where it is and, asked for an affine pose, ends larger."""

    name = "mattes"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def run(self, level, pair, start, step, mask, affine, report):
        return pose_of(np.eye(3) * (1.02 if affine else 1.0), start[:3, 3])


def test_a_stretch_that_makes_it_worse_than_the_rigid_pose_is_not_taken(head, field, monkeypatch):
    motion = np.eye(4)
    motion[:3, 3] = (3, 0, 0)
    near = pose_of(np.eye(3), np.array([2.5, 0, 0]))
    moving = phantom.carried(head, motion)

    class From(StepwiseEngine):
        def solve(self, problem, request, starts, report):
            return super().solve(problem, request, [near], report)

    monkeypatch.setattr(engine, "choose_engine", lambda *_: From(Stretching()))
    result = registered(field, moving, starts=1, kind="affine")
    assert not result.kept_start
    np.testing.assert_allclose(transforms.matrix_of(result.fixed_to_moving)[:3, :3], np.eye(3), atol=1e-6)


class ScatteredEngine(WorseEngine):
    """Finds the truth, but its repeats lie ``apart`` mm from it and on it."""

    def __init__(self, apart):
        self.apart = apart

    def solve(self, problem, request, starts, report):
        truth = pose_of(np.eye(3), np.array([5.0, 0, 0]))
        return Solution(truth, [pose_of(np.eye(3), np.array([5.0, self.apart, 0])), truth])


@pytest.mark.parametrize(("apart", "is_taken"), [(4.0, True), (30.0, False)])
def test_a_result_that_its_repeats_do_not_find_again_is_not_taken(head, field, monkeypatch, apart, is_taken):
    monkeypatch.setattr(engine, "choose_engine", lambda *_: ScatteredEngine(apart))
    motion = np.eye(4)
    motion[:3, 3] = (5, 0, 0)
    result = registered(field, phantom.carried(head, motion), starts=1)
    assert result.kept_start is not is_taken
    assert any("no placement is to be relied on" in warning for warning in result.warnings) is not is_taken
    if not is_taken:
        assert len(result.warnings) == 1, "one sentence with one distance"
        assert result.moved == 0 and result.metric_after == result.metric_before and result.confidence > 15


@needs_torch
def test_volumes_that_do_not_belong_together_leave_the_start_as_it_is(field):
    other = phantom.carried(phantom.head(seed=17), NEAR)
    result = registered(field, other)
    assert result.kept_start and result.moved == 0 and result.confidence > 5
    assert len(result.warnings) == 1 and "no more than by chance" in result.warnings[0]
    assert result.provenance["above_chance"] < engine.BY_CHANCE
    refined = registered(field, other, starts=1)
    assert not refined.kept_start and refined.provenance["above_chance"] < engine.STANDS_OUT
    assert any("resemble each other little" in warning for warning in refined.warnings)


@needs_torch
@pytest.mark.parametrize("size", [12, 14, 16])
def test_in_a_tiny_field_a_false_placement_is_doubted_and_no_way_without_guard_advised(head, size):
    fixed = phantom.noisy(phantom.field(head, size=(size,) * 3), 1.5)
    moving = phantom.carried(head, FAR)
    refined = registered(fixed, moving, starts=1)
    assert phantom.error(refined.fixed_to_moving, FAR, radius=size / 2) > 5 and refined.confidence > engine.UNSURE
    searched = registered(fixed, moving)
    assert searched.kept_start and engine.LARGER in searched.warnings[0]
    assert "starts" not in searched.warnings[0]


@needs_torch
def test_a_perfect_start_is_kept_within_the_confidence(head, field):
    result = registered(field, phantom.carried(head, np.eye(4)))
    assert phantom.error(result.fixed_to_moving, np.eye(4)) < max(0.3, 3 * result.confidence)


@pytest.mark.parametrize("name", BOTH)
def test_repeats_bit_for_bit_on_any_number_of_threads(head, field, name, monkeypatch):
    moving, results = phantom.carried(head, NEAR), []
    for threads in (1, 3):
        monkeypatch.setattr(together, "THREADS", threads)
        results.append(registered(field, moving, engine=name, starts=2))
    first, second = results
    assert first.fixed_to_moving.GetParameters() == second.fixed_to_moving.GetParameters()
    assert first.confidence == second.confidence


@needs_torch
def test_confidence_grows_with_the_error_of_the_synthesis(head):
    clean, dirty = (
        registered(phantom.noisy(phantom.field(head), amount), phantom.carried(head, NEAR), starts=1).confidence
        for amount in (0.1, 4.0)
    )
    assert dirty > 2 * clean


@needs_torch
def test_number_of_threads_is_left_as_it_was(head, field):
    import torch

    before = torch.get_num_threads()
    registered(field, phantom.carried(head, NEAR), starts=1)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("name", BOTH)
def test_progress_ends_at_its_total_where_the_search_finds_nothing(head, field, name, monkeypatch):
    def empty(pyramid, points, count, report):
        report.step(engine.search.steps())
        return []

    monkeypatch.setattr(engine.search, "search", empty)
    reports = []
    request = RegistrationRequest({"t2": field}, {"t2": phantom.carried(head, NEAR)}, engine=name)
    engine.register(request, progress=reports.append)
    assert reports[-1].done == reports[-1].total


@pytest.mark.parametrize("name", BOTH)
def test_progress_ends_at_its_total(head, field, name):
    reports = []
    request = RegistrationRequest({"t2": field}, {"t2": phantom.carried(head, NEAR)}, engine=name, starts=2)
    result = engine.register(request, progress=reports.append)
    assert [report.done for report in reports] == sorted(report.done for report in reports)
    assert reports[-1].done == reports[-1].total
    json.dumps(result.provenance)
    assert (result.provenance["us"], result.provenance["initial"]) == (None, None)
    assert result.provenance["engine"] == name and result.seconds > 0


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("after", [0, 30, 84])
def test_cancel(head, field, name, after):
    cancel, seen = threading.Event(), []

    def watch(report):
        seen.append(report.done)
        if len(seen) > after:
            cancel.set()

    request = RegistrationRequest({"t2": field}, {"t2": phantom.carried(head, NEAR)}, engine=name)
    with pytest.raises(Cancelled):
        engine.register(request, watch, cancel)
    assert len(seen) <= after + 1


def request(name):
    return RegistrationRequest({"t2": "a"}, {"t2": "b"}, engine=name)


def test_without_torch_mattes_is_chosen_and_lncc_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert engine.choose_engine(request("auto")).name == "mattes"
    with pytest.raises(DependencyError, match="PyTorch.*'mattes'"):
        engine.choose_engine(request("lncc"))


@needs_torch
@pytest.mark.parametrize(("torch", "numpy"), [("2.0.1", "1.26.4"), ("2.2.2", "2.0.2"), ("", "2.0.2")])
def test_with_a_torch_that_cannot_be_used_mattes_is_chosen(monkeypatch, torch, numpy):
    monkeypatch.setattr(dependencies, "installed", {"torch": torch, "numpy": numpy}.get)
    assert engine.choose_engine(request("auto")).name == "mattes"


class NoNumpy:
    """A PyTorch that was built for another numpy."""

    __version__ = "2.2.2"
    __spec__ = importlib.util.find_spec("json")

    @staticmethod
    def from_numpy(array):
        raise RuntimeError("Numpy is not available")


def test_a_torch_that_does_not_go_with_numpy_is_told_before_any_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", NoNumpy)
    with pytest.raises(DependencyError, match="(?s)numpy.*'mattes'"):
        engine.choose_engine(request("lncc"))


@needs_torch
def test_a_device_without_memory_is_told(head, field, monkeypatch):
    import torch

    from MMHVAESynthesisLib.errors import DeviceError
    from MMHVAESynthesisLib.registration import lncc_engine

    def full(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(lncc_engine, "descend", full)
    with pytest.raises(DeviceError, match="memory of cpu ran out.*choose the device"):
        registered(field, phantom.carried(head, NEAR), starts=1, device="cpu")


@pytest.mark.parametrize("name", BOTH)
def test_any_seed(head, field, name):
    result = registered(field, phantom.carried(head, NEAR), engine=name, starts=1, seed=2**32)
    assert phantom.error(result.fixed_to_moving, NEAR) < 0.5


def test_unknown_engine():
    with pytest.raises(InputError, match="Unknown engine"):
        engine.choose_engine(request("elastix"))


@needs_torch
def test_a_device_that_is_absent_is_told_before_any_work(head, field, monkeypatch):
    import torch

    from MMHVAESynthesisLib.errors import DeviceError

    for work in ("prepare", "complete", "_result"):
        monkeypatch.setattr(engine, work, lambda *_: pytest.fail("work was started"))
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(DeviceError, match=absent):
        registered(field, phantom.carried(head, NEAR), device=absent)


@needs_torch
@pytest.mark.parametrize("asked", ["auto", "cpu", "mps"])
def test_the_device_that_was_used_is_noted(asked):
    import torch

    used = engine.choose_engine(RegistrationRequest({"t2": "a"}, {"t2": "b"}, engine="lncc", device=asked)).device
    assert used == ("cuda" if asked == "auto" and torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", BOTH)
def test_provenance_names_the_device_that_was_used(head, field, name):
    result = registered(field, phantom.carried(head, NEAR), engine=name, starts=1, device="mps")
    assert result.provenance["device"] == "cpu"
    assert any("ran on the CPU" in warning for warning in result.warnings) is (name == "lncc")


def test_request_is_not_changed_by_the_run():
    request = RegistrationRequest({"t2": "a"}, {"t2": "b"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.kind = "affine"
