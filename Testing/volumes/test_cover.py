import numpy as np
import pytest

from MMHVAESynthesisLib.volumes.cover import uncovered


def disc(radius=40, size=96, centre=(48, 48)):
    i, j = np.indices((size, size))
    return (i - centre[0]) ** 2 + (j - centre[1]) ** 2 < radius**2


def shown(mask):
    """Return a slice as the network takes it that shows something in ``mask``."""
    return np.where(mask, np.float32(0.3), np.float32(-1))


def cut(direction, offset):
    i, j = np.indices((96, 96)) - 47.5
    return direction[0] * i + direction[1] * j < offset


@pytest.mark.parametrize("direction", [(1, 0), (0, -1), (0.6, 0.8)])
@pytest.mark.parametrize("offset", [-20, 0, 20])
def test_what_lies_beyond_a_cut_is_not_covered(direction, offset):
    field, half = disc(), cut(direction, offset)
    np.testing.assert_array_equal(uncovered(shown(field), shown(field & half)), field & ~half)


def test_nothing_is_uncovered_by_an_input_that_shows_as_much_or_more():
    assert uncovered(shown(disc()), shown(disc())) is None
    assert uncovered(shown(disc(30)), shown(disc(40))) is None


def test_another_masks_shape_is_no_gap():
    """Two brain extractions differ along the rim, all around or on one side."""
    assert uncovered(shown(disc(40)), shown(disc(35))) is None
    assert uncovered(shown(disc(40)), shown(disc(40, centre=(54, 48)))) is None


def test_dark_structures_are_no_gap():
    cyst = disc(15)
    assert uncovered(shown(disc()), shown(disc() & ~cyst)) is None


def test_what_the_reference_leaves_dark_inside_belongs_to_its_field():
    """An ultrasound is 0 in a cyst too: where an MR ends across it, the cyst's part beyond is not covered either."""
    field, cyst, half = disc(), disc(15), cut((1, 0), 0)
    np.testing.assert_array_equal(uncovered(shown(field & ~cyst), shown(field & half)), field & ~half)


def test_a_slice_without_the_input_is_not_covered_at_all():
    np.testing.assert_array_equal(uncovered(shown(disc()), shown(disc() & False)), disc())
