import pytest
import torch
from torch import nn

from MMHVAESynthesisLib.training.averaging import AveragedWeights


def network(value):
    made = nn.Linear(1, 1, bias=False)
    nn.init.constant_(made.weight, value)
    return made


def test_the_first_weights_are_soon_forgotten_and_later_ones_slowly():
    average, now = AveragedWeights(network(0.0), 0.999), network(1.0)
    expected = 0.0
    for update in range(1, 4):
        average.update(now)
        expected += (1 - (1 + update) / (10 + update)) * (1 - expected)
        assert average.network.weight.item() == pytest.approx(expected, rel=1e-5)
    assert expected > 0.98
    average.updates = 10**6
    average.update(network(0.0))
    assert average.network.weight.item() == pytest.approx(0.999 * expected, rel=1e-5)


def test_the_average_is_a_network_of_its_own_that_does_not_learn():
    trained = network(1.0)
    average = AveragedWeights(trained, 0.9)
    with torch.no_grad():
        trained.weight.fill_(5.0)
    assert average.network.weight.item() == 1 and not average.network.weight.requires_grad
