"""The discriminator of one modality: a PatchGAN of five 4x4 convolutions."""

from typing import Tuple

from torch import Tensor, nn

LAYERS: Tuple[Tuple[int, int], ...] = ((1, 2), (2, 2), (4, 2), (4, 1))
"""(width as a multiple of the first layer's, stride) of all layers but the last."""


class Discriminator(nn.Module):
    """Judges overlapping patches of 70 x 70 pixels (Isola et al., CVPR 2017), for a least-squares GAN.

    With 64 features the published one: widths 64, 128, 256, 256, 1, strides 2, 2, 2, 1, 1, padding 1, with bias;
    instance normalisation without parameters on all but the first and last layer; LeakyReLU 0.2 between.
    """

    def __init__(self, features: int = 64):
        super().__init__()
        widths = [1] + [multiple * features for multiple, _ in LAYERS]
        layers = []
        for index, (multiple, stride) in enumerate(LAYERS):
            layers.append(nn.Conv2d(widths[index], multiple * features, 4, stride=stride, padding=1))
            if index > 0:
                layers.append(nn.InstanceNorm2d(multiple * features))
            layers.append(nn.LeakyReLU(0.2))
        layers.append(nn.Conv2d(widths[-1], 1, 4, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, S, S) in [-1, 1] -> one score a patch, (B, 1, S/8 - 2, S/8 - 2)."""
        return self.layers(image)
