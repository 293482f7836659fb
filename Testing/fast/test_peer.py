"""The peer of the benchmark is the same network, by stock modules alone."""

import pytest

torch = pytest.importorskip("torch")

from benchmarks import plain  # noqa: E402
from MMHVAESynthesisLib.network import cells, model  # noqa: E402

from .test_equal import SMALL, TINY, images, made, noise, relative  # noqa: E402


@pytest.mark.parametrize("modalities", [("us",), ("t2", "flair"), ("us", "t2", "cet1", "flair")], ids="+".join)
@pytest.mark.parametrize("temperature", [0, 0.7])
def test_the_peer_computes_the_same_images(modalities, temperature):
    network, given, draws = made(TINY), images(TINY, modalities), noise(TINY)
    expected = network(given, draws, temperature).images
    found = plain.build(network)(given, draws, temperature)
    assert list(found) == list(expected)
    assert max(relative(found[target], expected[target].double()) for target in expected) <= 1e-5


def test_the_peer_has_stock_norms_and_none_of_the_readable_cells():
    peer = plain.build(made(SMALL))
    readable = cells.EncoderCell, cells.DecoderCell, cells.Expert, cells.ResidualBlock, cells.ImageDecoder
    assert not any(isinstance(module, (*readable, model.Encoder)) for module in peer.modules())
    # 4 encoders with 6 cells of 2; 5 levels with 3 in the cell and 2 in the expert; 4 decoders with 6 blocks of 2 and 1
    norms = sum(isinstance(module, torch.nn.InstanceNorm2d) for module in peer.modules())
    assert norms == 4 * 6 * 2 + 5 * (3 + 2) + 4 * (6 * 2 + 1)
