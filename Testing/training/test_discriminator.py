import torch

from MMHVAESynthesisLib.network.discriminator import Discriminator


def test_published_layout():
    network = Discriminator()
    convolutions = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [64, 128, 256, 256, 1]
    assert [layer.stride[0] for layer in convolutions] == [2, 2, 2, 1, 1]
    assert all(layer.kernel_size == (4, 4) and layer.padding == (1, 1) for layer in convolutions)
    # by hand: 16 in out + out for each layer
    assert sum(p.numel() for p in network.parameters()) == 1088 + 131200 + 524544 + 1048832 + 4097
    norms = [layer for layer in network.modules() if isinstance(layer, torch.nn.InstanceNorm2d)]
    assert len(norms) == 3 and not any(norm.affine or norm.track_running_stats for norm in norms)


def test_one_score_for_each_patch():
    assert Discriminator(4)(torch.zeros(2, 1, 192, 192)).shape == (2, 1, 22, 22)


def test_a_score_sees_70_by_70_pixels():
    torch.manual_seed(0)
    network = Discriminator(4).double()
    # instance normalisation lets every pixel reach every score; without it the field is that of the convolutions
    network.layers = torch.nn.Sequential(*[x for x in network.layers if not isinstance(x, torch.nn.InstanceNorm2d)])
    image = torch.randn(1, 1, 192, 192, dtype=torch.float64, requires_grad=True)
    network(image)[0, 0, 11, 11].backward()
    rows, columns = image.grad[0, 0].nonzero(as_tuple=True)
    assert rows.max() - rows.min() + 1 == 70 and columns.max() - columns.min() + 1 == 70
