import threading

import numpy as np
import pytest

from MMHVAESynthesisLib.errors import Cancelled
from MMHVAESynthesisLib.progress import Reporter
from MMHVAESynthesisLib.registration import search, similarity
from MMHVAESynthesisLib.registration.frame import Frame, apply, gap, nearest_orthonormal, pose_of, rotation
from MMHVAESynthesisLib.registration.parts import halves, perturbed
from MMHVAESynthesisLib.registration.problem import prepare
from MMHVAESynthesisLib.registration.pyramid import Level
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


def test_lncc_by_hand():
    # One voxel counts, and one window of 5 lies in the volume: the plain correlation, with the floor on each variance.
    fixed, moving = texture(2, (5, 5, 5)), texture(3, (5, 5, 5)) + texture(2, (5, 5, 5))
    covariance = np.mean((fixed - fixed.mean()) * (moving - moving.mean()))
    expected = covariance / np.sqrt((fixed.var() + similarity.FLOOR) * (moving.var() + similarity.FLOOR))
    mask = np.ones((5, 5, 5), bool)
    level = level_of(fixed, moving, mask)
    centre = similarity._lncc(level.fixed[0][2:3, 2:3, 2:3], level.moving[0][2:3, 2:3, 2:3], mask[2:3, 2:3, 2:3])
    assert centre == 0
    padded = [np.pad(v, 4) for v in (fixed, moving)]
    inside = np.pad(mask, 4)
    wide = similarity._lncc(np.float32(padded[0]), np.float32(padded[1]), inside)
    only_centre = np.zeros_like(inside)
    only_centre[6, 6, 6] = True
    assert wide > 0 and expected == pytest.approx(_window(padded, inside, (6, 6, 6)), abs=1e-5)


def _window(volumes, inside, at):
    cut = tuple(slice(a - 2, a + 3) for a in at)
    fixed, moving = (volume[cut][inside[cut]] for volume in volumes)
    covariance = np.cov(fixed, moving, bias=True)
    return covariance[0, 1] / np.sqrt(
        (covariance[0, 0] + similarity.FLOOR) * (covariance[1, 1] + similarity.FLOOR)
    )
