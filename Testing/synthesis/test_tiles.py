"""Fields wider than the network: each tile goes through it by itself."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from MMHVAESynthesisLib.models.loading import load  # noqa: E402
from MMHVAESynthesisLib.request import SynthesisRequest  # noqa: E402
from MMHVAESynthesisLib.synthesis import planes  # noqa: E402
from MMHVAESynthesisLib.synthesis.engine import synthesize  # noqa: E402
from MMHVAESynthesisLib.synthesis.noise import slice_noise  # noqa: E402
from MMHVAESynthesisLib.volumes.grid import Tile  # noqa: E402
from MMHVAESynthesisLib.volumes.preparation import PreparedCase  # noqa: E402

from .making import SIZES, SPACING, array, fan, model_file  # noqa: E402


def test_a_field_wider_than_the_network_is_the_weighted_sum_of_its_tiles(tmp_path):
    model = model_file(tmp_path)
    us = fan(5, 50)[:, 3:47, :]
    request = SynthesisRequest({"us": us}, ["flair"], model, seed=5, device="cpu")
    found = array(synthesize(request).images["flair"])[2].T
    case, network = PreparedCase({"us": us}, SIZES.modalities, SPACING, SIZES.size), load(model).network
    plane, expected = case.plane(2)["us"], np.zeros((case.grid.rows.count, case.grid.columns.count))
    for number, (tile, weights) in enumerate(case.grid.tiles()):
        drawn = slice_noise(SIZES.noise_shapes(), "independent", 5, 0, 0, 2, number)
        noise = [torch.from_numpy(level)[None] for level in drawn]
        given = torch.from_numpy(tile.cut(plane).copy())[None, None]
        with torch.no_grad():
            image = network({"us": given}, noise, 0.7).images["flair"][0, 0].numpy()
        expected[tile.row : tile.row + tile.size, tile.column : tile.column + tile.size] += weights * image
    assert number == 3 and case.grid.rows.step == case.grid.columns.step == 1
    i, j = np.nonzero(array(us)[2].T)
    there = 127.5 * (expected[i - int(case.grid.rows.start), j - int(case.grid.columns.start)] + 1)
    np.testing.assert_allclose(found[i, j], there, atol=2e-3)


def test_a_tile_is_told_its_own_part_of_what_an_input_does_not_cover():
    inputs = {"us": np.zeros((48, 40), np.float32), "t2": np.zeros((48, 40), np.float32)}
    inputs["t2"][:20] = inputs["t2"][:, :12] = -1
    gap = planes._gaps(inputs, "us")["t2"]
    assert gap[:20].all() and gap[:, :12].all() and not gap[20:, 12:].any()
    told = planes._shared(Tile(16, 8, 32), inputs, {"t2": gap}).coverage
    np.testing.assert_array_equal(told["t2"], 1 - gap[16:, 8:])
