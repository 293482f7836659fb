import dataclasses
import threading

import numpy as np
import pytest
from scipy import ndimage

from MMHVAESynthesisLib.errors import Cancelled
from MMHVAESynthesisLib.progress import Reporter
from MMHVAESynthesisLib.registration import chance, search, similarity
from MMHVAESynthesisLib.registration.chance import times_chance
from MMHVAESynthesisLib.registration.frame import Frame, apply, gap, nearest_orthonormal, pose_of, rotation
from MMHVAESynthesisLib.registration.mattes import MattesDescent
from MMHVAESynthesisLib.registration.parts import halves, perturbed
from MMHVAESynthesisLib.registration.problem import prepare
from MMHVAESynthesisLib.registration.pyramid import Level
from MMHVAESynthesisLib.registration.stepwise import StepwiseEngine
from MMHVAESynthesisLib.request import RegistrationRequest

from . import phantom

MOTION = phantom.motion((9, -7, 8), (20, -16, 12))


@pytest.fixture(scope="module")
def problem():
    head = phantom.head()
    fixed = phantom.noisy(phantom.field(head, degrees=(10, 20, 30)), 0.5)
    return prepare(RegistrationRequest({"t2": fixed}, {"t2": phantom.carried(head, MOTION)}))


@pytest.fixture(scope="module")
def truth(problem):
    to_world = problem.frame.matrix
    return np.linalg.inv(to_world) @ MOTION @ to_world


def level_of(fixed, moving, mask=None, valid=None):
    fixed, moving = np.float32(fixed)[None], np.float32(moving)[None]
    mask = np.ones(fixed.shape, bool) if mask is None else mask[None]
    valid = np.ones(moving.shape, bool) if valid is None else valid[None]
    return Level(1.0, fixed, mask, moving, valid, np.zeros(3), np.zeros(3))


def texture(seed, shape=(12, 11, 10)):
    return np.random.default_rng(seed).normal(size=shape)


def test_lncc_of_a_volume_with_itself_and_its_negative():
    values = texture(0)
    same, opposite = (similarity.lncc(level_of(values, sign * values), np.eye(4))[0] for sign in (1, -1))
    assert same == pytest.approx(-opposite) and 0.93 < same < 1


def test_lncc_does_not_heed_contrast_and_brightness():
    values, other = texture(0), texture(0) + texture(1)
    plain, changed = (similarity.lncc(level_of(values, v), np.eye(4))[0] for v in (100 * other, 300 * other + 7))
    assert plain == pytest.approx(changed, abs=1e-4)


def brute_force(fixed, moving, where, field, floor, told):
    """What the correlation coefficient of one window at a time tells, averaged over the field's voxels and windows."""

    def cut_at(at, half):
        return tuple(slice(max(a - half, 0), a + half + 1) for a in at)

    def enough(inside, half):
        return inside.sum() >= similarity.LEAST_FILLED * (2 * half + 1) ** 3

    scores = []
    for half in (2, 4):
        total = 0.0
        for at in np.argwhere(where):
            cut = cut_at(at, half)
            inside = where[cut]
            if enough(inside, half):
                covariance = np.cov(fixed[cut][inside], moving[cut][inside], bias=True) + floor * np.eye(2)
                total += told(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))
        scores.append(total / sum(enough(field[cut_at(at, half)], half) for at in np.argwhere(field)))
    return np.mean(scores)


def masked_level():
    fixed = texture(2)
    mask = np.ones(fixed.shape, bool)
    mask[:5, :6] = False
    return level_of(fixed, fixed + texture(3), mask)


def half_seen_level():
    level = masked_level()
    level.valid[0, 6:] = False
    return level


@pytest.mark.parametrize("made", [masked_level, half_seen_level])
def test_lncc_is_the_mean_correlation_of_all_windows(made):
    level = made()
    seen = level.mask[0] & level.valid[0]
    expected = brute_force(level.fixed[0], level.moving[0], seen, level.mask[0], similarity.FLOOR, lambda r: r)
    assert similarity.lncc(level, np.eye(4))[0] == pytest.approx(expected, abs=1e-4)


def nats(correlation):
    """The mutual information of two Gaussian variables, none where they are opposite."""
    return -np.log(1 - correlation**2) / 2 if correlation > 0 else 0.0


@pytest.mark.parametrize("made", [masked_level, half_seen_level])
def test_information_is_the_mean_of_all_windows(made):
    level = made()
    seen = level.mask[0] & level.valid[0]
    floor = similarity.INFORMATION_FLOOR
    expected = brute_force(level.fixed[0], level.moving[0], seen, level.mask[0], floor, nats)
    assert similarity.information(level, np.eye(4))[0] == pytest.approx(expected, abs=1e-4)


def test_information_of_a_volume_with_itself_and_its_negative():
    values = texture(0)
    same, opposite = (similarity.information(level_of(values, sign * values), np.eye(4))[0] for sign in (1, -1))
    assert opposite == 0 and 1 < same < nats(similarity.HIGHEST) + 1e-6


@pytest.mark.parametrize("made", [masked_level, half_seen_level])
def test_information_in_torch_is_the_same(made):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: the LNCC engine cannot run")
    from MMHVAESynthesisLib.registration.lncc import Landscape

    level = made()
    whole = np.ones(level.fixed.shape[1:], bool)
    landscape = Landscape(level, [np.eye(4)], [whole], 1, torch.device("cpu"))
    expected = similarity.information(level, np.eye(4))[0]
    assert landscape.metric(landscape.poses)[0].item() == pytest.approx(expected, abs=1e-4)


def test_gradient_in_torch_is_the_slope(problem, truth):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: the LNCC engine cannot run")
    from MMHVAESynthesisLib.registration.lncc import Landscape

    level = problem.pyramid.level(4)
    landscape = Landscape(level, [truth], [np.ones(level.fixed.shape[1:], bool)], 1, torch.device("cpu"))
    at = torch.full((1, 12), 0.6, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(landscape.metric(landscape.matrices(at)).sum(), at)
    assert gradient.abs().max() > 0.01
    for parameter in range(12):
        step = torch.zeros(1, 12, dtype=torch.float64)
        step[0, parameter] = 0.01
        ends = [landscape.metric(landscape.matrices(at.detach() + sign * step)).item() for sign in (1, -1)]
        assert gradient[0, parameter].item() == pytest.approx((ends[0] - ends[1]) / 0.02, abs=1e-3, rel=0.1)


def test_a_descent_returns_the_best_pose_that_it_met(problem, truth):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: the LNCC engine cannot run")
    from MMHVAESynthesisLib.registration.lncc import Schedule, descend

    level = problem.pyramid.level(4)
    # Steps this large lead away from the truth for good.
    leaps = Schedule(3, 9.0, 9.0)
    (pose,), (value,) = descend(level, [truth], leaps, Reporter("test", 3), torch.device("cpu"))
    assert gap(pose, truth, problem.points) < 1e-6
    assert value == pytest.approx(similarity.information(level, truth)[0], abs=1e-3)


def test_mutual_information_heeds_the_moving_volume_only_where_it_has_data():
    values = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(40, 36, 36)), 2.0)
    fixed = values[6:34, 6:30, 6:30]
    # Moved by a voxel where there is data; by four, the other way, where there is none.
    moving, valid = np.roll(values, 1, axis=0), np.ones(values.shape, bool)
    moving[:, 18:], valid[:, 18:] = np.roll(values, -4, axis=0)[:, 18:], False
    level = dataclasses.replace(level_of(fixed, moving, valid=valid), moving_origin=np.full(3, -6.0))
    with MattesDescent(0) as descent:
        pose = descent.run(level, 0, np.eye(4), 1.0, level.mask[0], False, Reporter("test", 0))
    assert np.linalg.norm(apply(pose, np.array([[14.0, 6, 12]])) - [15, 6, 12]) < 0.5


def test_lncc_where_nothing_is_seen_is_0():
    level = level_of(texture(0), texture(0), mask=np.zeros((12, 11, 10), bool))
    assert similarity.lncc(level, np.eye(4)) == [0.0]
    away = pose_of(np.eye(3), np.array([50.0, 0, 0]))
    assert similarity.overlap(level_of(texture(0), texture(0)), away) == 0
    assert similarity.overlap(level_of(texture(0), texture(0)), pose_of(np.eye(3), np.array([6.0, 0, 0]))) == 0.5


def steps_of(problem, count=3, cancel=None):
    report = Reporter("search", search.steps(), None, cancel)
    return search.search(problem.pyramid, problem.points, count, report), report


def test_search_alone_comes_near_from_afar(problem, truth):
    peaks, report = steps_of(problem)
    assert gap(np.eye(4), truth, problem.points) > 25
    assert gap(peaks[0].pose, truth, problem.points) < 5
    assert [peak.correlation for peak in peaks] == sorted((peak.correlation for peak in peaks), reverse=True)
    assert report.done == report.total


def test_the_truth_stands_out_from_chance_and_no_other_place_does(problem, truth):
    def informed(poses):
        return [np.mean(similarity.information(problem.pyramid.level(2), pose)) for pose in poses]

    places = truth, np.eye(4), pose_of(np.eye(3), np.array([500.0, 0, 0]))
    above = [times_chance(pose, problem.points, informed) for pose in places]
    assert above[0] > 10 and 0 < above[1] < 1.5 and above[2] == 0


def test_chance_is_what_one_in_ten_placements_elsewhere_exceeds(problem, monkeypatch):
    poses = [pose_of(np.eye(3), np.array([shift, 0, 0])) for shift in (*range(20, 31), 15.0)]
    monkeypatch.setattr(chance, "drawn", lambda points: poses)

    def informed(asked):
        assert len(asked) == 12, "what lies near is no other answer"
        return [0.27, *np.arange(11) / 100]

    assert times_chance(np.eye(4), problem.points, informed) == pytest.approx(3)
    monkeypatch.setattr(chance, "drawn", lambda points: poses[-1:])
    assert times_chance(np.eye(4), problem.points, lambda asked: [0.27]) > 100


def test_placements_for_chance_lie_within_what_is_searched_and_are_drawn_alike(problem):
    poses = chance.drawn(problem.points)
    gaps = [gap(pose, np.eye(4), problem.points) for pose in poses]
    assert len(poses) == chance.PLACEMENTS and max(gaps) <= search.FARTHEST and np.std(gaps) > 5
    assert all(np.array_equal(*pair) for pair in zip(poses, chance.drawn(problem.points)))


def test_the_engines_tell_the_same_of_placements(problem, truth):
    pytest.importorskip("torch", reason="PyTorch is not installed: the LNCC engine cannot run")
    from MMHVAESynthesisLib.registration.lncc_engine import LnccEngine

    poses = [truth, np.eye(4), *chance.drawn(problem.points)[:3]]
    ours, others = (
        engine.informed(problem, poses, Reporter("test", 1))
        for engine in (LnccEngine("cpu"), StepwiseEngine(MattesDescent(0)))
    )
    assert ours == pytest.approx(others, rel=0.15, abs=0.01), "the first looks at every second window along each axis"
    assert ours[0] > 5 * max(ours[1:])


def test_chance_can_be_cancelled_though_it_takes_no_steps(problem):
    asked = []

    class Later:
        def is_set(self):
            asked.append(None)
            return len(asked) > 3

    with pytest.raises(Cancelled):
        StepwiseEngine(MattesDescent(0)).informed(
            problem, chance.drawn(problem.points), Reporter("test", 1, None, Later())
        )
    assert len(asked) == 4


def test_no_peak_lies_farther_off_than_is_looked_for(problem, monkeypatch):
    gaps = [gap(peak.pose, np.eye(4), problem.points) for peak in steps_of(problem, 6)[0]]
    assert 20 < max(gaps) <= search.FARTHEST
    monkeypatch.setattr(search, "FARTHEST", 20.0)
    nearer = steps_of(problem, 6)[0]
    # What fits better, but lies too far off, has not taken the place of any.
    assert len(nearer) == 6 and all(gap(peak.pose, np.eye(4), problem.points) <= 20 for peak in nearer)


def test_peaks_lie_apart(problem):
    peaks, _ = steps_of(problem, 4)
    gaps = [gap(a.pose, b.pose, problem.points) for n, a in enumerate(peaks) for b in peaks[:n]]
    assert len(peaks) == 4 and min(gaps) > search.APART


def test_peaks_of_several_searches_are_joined_without_what_was_found_twice(problem):
    found = search.search(problem.pyramid, problem.points, 3, Reporter("search", search.steps()))
    near = pose_of(np.eye(3), found[1].pose[:3, 3] + 0.1) @ pose_of(found[1].pose[:3, :3], np.zeros(3))
    far = search.Peak(pose_of(np.eye(3), np.array([0.0, 0, 90])), 0.01)
    other = [search.Peak(near, 0.9), far]
    assert search.apart([found, other], problem.points) == [*found, far]
    assert search.apart([found], problem.points) == found and search.apart([], problem.points) == []


def test_some_of_the_pairs_are_searched_as_if_there_were_no_others(head, field):
    other = phantom.head(seed=5)
    fixed = {"t2": field, "cet1": phantom.field(other)}
    pyramid = prepare(RegistrationRequest(fixed, {"t2": head, "cet1": other})).pyramid
    level, only = pyramid.level(4), pyramid.only([1]).level(4)
    for name in ("fixed", "moving", "mask", "valid"):
        np.testing.assert_array_equal(getattr(only, name), getattr(level, name)[1:])
    assert not np.array_equal(level.fixed[0], level.fixed[1]) and only.spacing == level.spacing


def test_search_can_be_cancelled(problem):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        steps_of(problem, cancel=cancel)


def test_correlation_of_the_search_is_the_plain_one():
    fixed = texture(4, (8, 7, 6))
    mask = np.ones(fixed.shape, bool)
    mask[:3, :3] = False
    moving = texture(5, (40, 40, 40))
    shift = np.array([3, -2, 4])
    start = 16 + shift
    cut = tuple(slice(s, s + n) for s, n in zip(start, fixed.shape))
    level = Level(
        8.0,
        np.float32(fixed)[None],
        mask[None],
        np.float32(moving)[None],
        np.ones((1, 40, 40, 40), bool),
        np.zeros(3),
        np.full(3, -16 * 8.0),
    )
    correlator = search._Correlator(level)
    found = correlator._correlation(np.eye(3))[tuple(correlator.reach + shift)]
    assert found == pytest.approx(np.corrcoef(fixed[mask], moving[cut][mask])[0, 1], abs=1e-3)


def test_peaks_with_little_overlap_or_little_contrast_are_not_taken():
    moving = np.zeros((40, 40, 40))
    fixed = texture(6, (10, 10, 10))
    moving[30:, 15:25, 15:25] = 1e-3 * fixed
    moving[5:15] += texture(7, (10, 40, 40))
    valid = np.ones(moving.shape, bool)
    level = Level(
        4.0,
        np.float32(fixed)[None],
        np.ones((1, 10, 10, 10), bool),
        np.float32(moving)[None],
        valid[None],
        np.zeros(3),
        np.full(3, -60.0),
    )
    correlator = search._Correlator(level)
    # Moved by 60 mm in x it would fit perfectly, but lies beyond the reach; by 36 mm there is next to no contrast.
    correlation = correlator._correlation(np.eye(3))
    assert correlation[-1, correlator.reach, correlator.reach] == -1
    assert correlation.max() > 0
    level.valid[0, :12] = False
    hidden = search._Correlator(level)._correlation(np.eye(3))
    assert hidden[0, correlator.reach, correlator.reach] == -1 < correlation[0, correlator.reach, correlator.reach]


def test_peaks_of_little_contrast_beside_the_other_placements_are_not_taken():
    fixed, moving = texture(6, (10, 10, 10)), texture(7, (40, 40, 40))
    moving[21:31, 15:25, 15:25] = 0.05 * fixed
    ones = np.ones((1, *moving.shape), bool)
    level = Level(
        4.0,
        np.float32(fixed)[None],
        ones[:, :10, :10, :10],
        np.float32(moving)[None],
        ones,
        np.zeros(3),
        np.full(3, -60.0),
    )
    correlator = search._Correlator(level)
    at = correlator.reach + 6, correlator.reach, correlator.reach
    assert correlator._correlation(np.eye(3))[at] == -1
    # It is no lack of precision: on its own that placement would correlate as well as can be.
    moving = np.zeros(moving.shape)
    moving[21:31, 15:25, 15:25] = 0.05 * fixed
    alone = search._Correlator(dataclasses.replace(level, moving=np.float32(moving)[None]))
    assert alone._correlation(np.eye(3))[at] > 0.99


def test_halves_complete_one_another(problem):
    level = problem.pyramid.level(2)
    parts = halves(level, 4, 0)
    mask = level.mask[0]
    for first, second in (parts[:2], parts[2:]):
        assert not (first & second).any() and (first | second).all()
        assert 0.3 < (first & mask).sum() / mask.sum() <= 0.5
    assert (parts[0] != parts[2]).any()
    assert (halves(level, 2, 0)[0] == parts[0]).all() and (halves(level, 2, 1)[0] != parts[0]).any()


def cube(millimetres, spacing=2.0):
    shape = (round(millimetres / spacing),) * 3
    fixed = np.zeros((1, *shape), np.float32)
    full = np.ones(fixed.shape, bool)
    return Level(spacing, fixed, full, fixed, full, np.zeros(3), np.zeros(3))


@pytest.mark.parametrize("millimetres", [10, 12, 14, 16, 18, 20, 24, 28])
@pytest.mark.parametrize("seed", range(3))
def test_halves_of_a_small_field_hold_their_share_and_differ(millimetres, seed):
    parts = halves(cube(millimetres), 4, seed)
    assert all(0.3 <= part.mean() <= 0.7 for part in parts)
    assert (parts[0] != parts[2]).any() and (parts[0] != parts[3]).any()


def test_blocks_are_small_in_small_fields_alone():
    for millimetres, edge in ((50, 16), (32, 16), (20, 8), (12, 4)):
        along = halves(cube(millimetres), 2, 0)[0]
        voxels = int(edge / 2)
        blocks = along[::voxels, ::voxels, ::voxels].repeat(voxels, 0).repeat(voxels, 1).repeat(voxels, 2)
        assert (blocks[tuple(slice(n) for n in along.shape)] == along).all()


def test_perturbed_poses_are_that_far_away(problem):
    poses = perturbed(np.eye(4), problem.points, 2.0, 40, 0)
    far = [gap(np.eye(4), pose, problem.points) for pose in poses]
    assert 3 < np.mean(far) < 6 and np.linalg.det(poses[0]) == pytest.approx(1)


def test_a_field_too_small_for_8_mm_is_searched_at_4_mm(problem, truth, monkeypatch):
    monkeypatch.setattr(search, "LEAST_VOXELS", 10**9)
    monkeypatch.setattr(search, "STEPS", 1)
    peaks, report = steps_of(problem)
    assert gap(peaks[0].pose, truth, problem.points) < 8 and report.done == report.total


def test_a_bias_field_and_an_edge_are_evened_out():
    values = texture(9, (1, 24, 24, 24))
    uneven = values * np.linspace(1, 3, 24)[:, None, None] + 10 * (np.arange(24) > 15)[:, None]
    ones = np.ones(values.shape, bool)
    levels = [Level(4.0, *(np.float32(v), ones) * 2, np.zeros(3), np.zeros(3)) for v in (values, uneven)]
    plain, even = (
        np.corrcoef(*(images.fixed.ravel() for images in pair))[0, 1]
        for pair in (levels, [search.evened(level, 2.0) for level in levels])
    )
    assert plain < 0.4 and even > 0.8


def test_rotations_hold_the_one_at_rest_and_reach_24_degrees():
    turns = search.rotations()
    angles = [np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))) for turn in turns]
    assert angles[0] == pytest.approx(0, abs=1e-4) and 24 <= max(angles) < 29


def test_frame_keeps_the_handedness():
    mirrored = nearest_orthonormal(np.diag([1.0, 1.001, -0.999]))
    assert np.allclose(mirrored, np.diag([1, 1, -1]))
    frame = Frame(np.array([1.0, 2, 3]), mirrored @ rotation(np.array([0.1, 0.2, 0.3])))
    points = texture(8, (5, 3))
    pose = pose_of(rotation(np.array([0.0, 0.3, 0.1])), np.array([4.0, 5, 6]))
    world = frame.pose_in_world(pose)
    assert np.allclose(apply(world, apply(frame.matrix, points)), apply(frame.matrix, apply(pose, points)))
    assert np.linalg.det(world) == pytest.approx(1)
