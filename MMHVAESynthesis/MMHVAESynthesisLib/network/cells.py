"""The building blocks: encoder cell, decoder cell, expert, image decoder."""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.parametrizations import weight_norm


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from the channels' means."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(channels // 16, 4)
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        gate = F.relu(self.squeeze(x.mean((2, 3))))
        return x * self.excite(gate).sigmoid()[:, :, None, None]


def conv1x1_normalised(inputs: int, outputs: int) -> nn.Module:
    """Return a weight-normalised 1x1 convolution without bias."""
    return weight_norm(nn.Conv2d(inputs, outputs, 1, bias=False))


class EncoderCell(nn.Module):
    """Residual cell of the contracting path: two 3x3 convolutions, each behind IN and SiLU, and a gate."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv_0 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate = SqueezeExcite(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        h = self.conv_0(F.silu(F.instance_norm(x)))
        h = self.conv_1(F.silu(F.instance_norm(h)))
        return x + self.gate(h)


class DecoderCell(nn.Module):
    """Residual cell of the expansive path: widened six times around a depthwise 5x5 convolution, and gated."""

    EXPANSION = 6

    def __init__(self, channels: int):
        super().__init__()
        wide = self.EXPANSION * channels
        self.widen = nn.Conv2d(channels, wide, 3, padding=1)
        self.depthwise = nn.Conv2d(wide, wide, 5, padding=2, groups=wide)
        self.gate = SqueezeExcite(wide)
        self.narrow = nn.Conv2d(wide, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        h = self.widen(F.instance_norm(x))
        h = self.depthwise(F.silu(F.instance_norm(h)))
        return x + self.narrow(self.gate(F.silu(F.instance_norm(h))))


class Expert(nn.Module):
    """Parameters of one input's Gaussian, from the decoder's features and that input's skip."""

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        self.conv_0 = nn.Conv2d(inputs, channels, 3, padding=1)
        self.conv_1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate = SqueezeExcite(channels)
        self.project = conv1x1_normalised(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, C, H, W), location and log-scale behind one another."""
        h = self.conv_0(F.silu(F.instance_norm(x)))
        h = self.conv_1(F.silu(F.instance_norm(h)))
        return self.project(self.gate(h))


class ResidualBlock(nn.Module):
    """Residual block of an image decoder."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv_0 = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.conv_1 = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        h = F.relu(F.instance_norm(self.conv_0(x)))
        return x + F.instance_norm(self.conv_1(h))


class ImageDecoder(nn.Module):
    """From the finest latent group to one modality's image."""

    def __init__(self, inputs: int, channels: int, blocks: int):
        super().__init__()
        self.adapt = nn.Conv2d(inputs, channels, 1) if channels != inputs else nn.Identity()
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.conv = nn.Conv2d(channels, channels, 7, padding=3, padding_mode="reflect")
        self.image = nn.Conv2d(channels, 1, 7, padding=3, padding_mode="reflect")

    def forward(self, z: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, 1, S, S) in (-1, 1)."""
        h = self.conv(self.blocks(self.adapt(z)))
        return self.image(F.leaky_relu(F.instance_norm(h), 0.2)).tanh()
