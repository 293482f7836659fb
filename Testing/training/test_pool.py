import numpy as np
import torch

from MMHVAESynthesisLib.training.pool import ImagePool


def slices(first, count):
    return torch.arange(first, first + count, dtype=torch.float32).reshape(count, 1, 1, 1)


def held(pool, modality="t2"):
    return sorted(pool.state()[modality].flatten().tolist())


def test_the_pool_fills_in_order_and_then_replaces_half_of_what_comes():
    rng = np.random.default_rng(0)
    pool = ImagePool(("t2",), 32)
    pool.add({"t2": slices(0, 32)}, rng)
    assert held(pool) == list(range(32))
    taken = 0
    for start in range(100, 100 + 4000):
        before = held(pool)
        pool.add({"t2": slices(start, 1)}, rng)
        taken += held(pool) != before
    assert len(held(pool)) == 32
    assert 1850 < taken < 2150


def test_replaced_places_are_drawn_evenly():
    rng = np.random.default_rng(0)
    replaced = np.zeros(4)
    for _ in range(2000):
        pool = ImagePool(("t2",), 4)
        pool.add({"t2": slices(0, 4)}, rng)
        pool.add({"t2": slices(9, 1)}, rng)
        replaced += [value not in held(pool) for value in range(4)]
    assert (np.abs(replaced - 250) < 60).all()


def test_drawing_is_without_replacement_and_takes_what_there_is():
    rng = np.random.default_rng(0)
    pool = ImagePool(("t2", "flair"), 8)
    pool.add({"t2": slices(0, 5)}, rng)
    assert sorted(pool.draw("t2", 5, rng).flatten().tolist()) == [0, 1, 2, 3, 4]
    assert pool.draw("t2", 3, rng).shape[0] == 3
    assert pool.draw("t2", 9, rng).shape[0] == 5
    assert pool.draw("flair", 1, rng) is None


def test_a_pool_comes_back_from_its_state():
    rng = np.random.default_rng(0)
    pool, other = ImagePool(("t2", "flair"), 8), ImagePool(("t2", "flair"), 8)
    pool.add({"t2": slices(0, 5)}, rng)
    other.add({"flair": slices(0, 2)}, rng)
    other.restore(pool.state())
    assert held(other) == held(pool) and "flair" not in other.state()
