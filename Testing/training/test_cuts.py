import numpy as np
import pytest

torch = pytest.importorskip("torch")

from MMHVAESynthesisLib.training.cuts import cut  # noqa: E402


def inputs(*names, slices=6, size=48):
    rows, columns = np.indices((size, size)) - size / 2
    disc = torch.from_numpy(rows**2 + columns**2 < (size / 3) ** 2)
    return {name: torch.where(disc, 0.2 + 0.1 * n, -1.0).repeat(slices, 1, 1, 1) for n, name in enumerate(names)}


def test_one_input_ends_within_the_field_and_has_no_say_beyond():
    given = inputs("us", "t2", "flair")
    for seed in range(6):
        images, coverage = cut(given, np.random.default_rng(seed))
        ((name, say),) = coverage.items()
        assert name != "us" and list(images) == list(given)
        for other in set(given) - {name}:
            assert images[other] is given[other]
        torch.testing.assert_close(images[name], torch.where(say > 0, given[name], torch.tensor(-1.0)))
        field = (given["us"] > -1).float()
        shares = (say * field).sum((1, 2, 3)) / field.sum((1, 2, 3))
        assert (shares > 0.08).all() and (shares < 0.92).all()
        assert len(set(shares.tolist())) > 1, "each slice has a cut of its own"


def test_every_input_but_the_first_is_cut_at_times():
    names = {next(iter(cut(inputs("t2", "cet1", "flair"), np.random.default_rng(s))[1])) for s in range(30)}
    assert names == {"cet1", "flair"}


def test_an_empty_slice_stays_as_it_is():
    given = inputs("us", "t2")
    given["us"][0] = -1
    images, coverage = cut(given, np.random.default_rng(0))
    torch.testing.assert_close(images["t2"][0], given["t2"][0])
    assert (coverage["t2"][0] == 1).all()
