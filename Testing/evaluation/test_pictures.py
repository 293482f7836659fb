import numpy as np
import pytest
import torch

from MMHVAESynthesisLib.evaluation import pictures
from MMHVAESynthesisLib.network.model import MMHVAE
from MMHVAESynthesisLib.network.sizes import NetworkSizes
from MMHVAESynthesisLib.training.batches import Batch
from MMHVAESynthesisLib.training.pictures import synthesis
from MMHVAESynthesisLib.training.running import run


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    sizes = NetworkSizes(size=16, base_features=8, max_features=8, halvings=2, decoder_blocks=0, decoder_features=4)
    return MMHVAE(sizes).eval()


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    images = {name: rng.uniform(-0.9, 1, (10, 1, 16, 16)).astype(np.float32) for name in ("us", "t2")}
    images["us"][:, :, :4] = -1
    return Batch(images, dict(images), ("x",))


def test_slices_do_not_depend_on_those_beside_them(network, batch):
    whole = run(network, batch, ("us",), seed=3)
    assert whole.images["flair"].shape == (10, 1, 16, 16) and whole.z1.shape == (10, 4, 16, 16)
    assert (whole.images["flair"][:, :, :4] == -1).all()
    half = Batch({name: image[:9] for name, image in batch.inputs.items()}, {}, ("x",))
    torch.testing.assert_close(run(network, half, ("us",), 3, 0.0).z1[8], run(network, batch, ("us",), 3, 0.0).z1[8])


def test_temperatures_make_a_row_each(network, batch):
    rows = pictures.temperature(network, batch, 1, ("us",))
    assert len(rows) == 3 and all(len(row) == 5 for row in rows)
    assert not np.array_equal(rows[0][2], rows[2][2])


def test_latents_of_each_input_and_of_all_stand_side_by_side(network, batch):
    rows, correlations = pictures.latents(network, batch, 0)
    assert [len(row) for row in rows] == [3, 3]
    assert rows[1][0].shape == (16, 16, 3) and (rows[1][0][:4] == 0).all()
    assert correlations.shape == (3, 3) and np.allclose(np.diag(correlations), 1)


def test_components_find_the_direction_of_largest_spread():
    rng = np.random.default_rng(0)
    mask = np.ones((8, 8), bool)
    strong = rng.normal(0, 1, (8, 8))
    latent = np.stack([rng.normal(0, 0.01, (8, 8)), strong, rng.normal(0, 0.1, (8, 8))])
    (picture,) = pictures.principal_components([latent], mask)
    assert abs(np.corrcoef(picture[:, :, 0].ravel(), strong.ravel())[0, 1]) > 0.97


def test_equal_latents_correlate_fully():
    latent = np.random.default_rng(0).normal(size=(3, 8, 8))
    assert pictures.alignment([latent, 2 * latent + 1], np.ones((8, 8), bool))[0, 1] == pytest.approx(1)


def test_titles_are_as_many_as_there_are_rows_and_columns(network, batch):
    grids = (
        (
            synthesis(network, batch, [1, 4], ("us",)),
            pictures.titles_of_synthesis(network, batch, [1, 4], ("us",)),
        ),
        (pictures.temperature(network, batch, 1, ("us",)), pictures.titles_of_temperature(network, ("us",))),
        (pictures.latents(network, batch, 0)[0], pictures.titles_of_latents(batch)),
    )
    for rows, (of_rows, of_columns) in grids:
        assert len(of_rows) == len(rows) and {len(of_columns)} == {len(row) for row in rows}
    assert grids[0][1][0] == [f"slice {n} of 10: {what}" for n in (2, 5) for what in ("synthetic", "truth")]
    assert [title.split(":")[0] for title in grids[1][1][0]] == ["T = 0", "T = 0.7", "T = 1"]
    assert grids[1][1][1] == ["input iUS", "iUS", "T2", "ceT1", "FLAIR"]
