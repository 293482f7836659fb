"""The network as published code computes it: stock PyTorch modules in their stock order, nothing saved.

The layers (convolutions with their weight norms) are those of a readable network; all that lies between them is made
here, so that the peer of a benchmark stays the same whatever becomes of ``network.cells``. Beside the images it
computes what the published prediction computes and throws away: all image decoders, the KL terms, and for each input
its own product with the prior (its marginal) with its KL term.
"""

import torch
from torch import nn

from MMHVAESynthesisLib.network.gaussians import Gaussian, kl_estimate, product_of_experts
from MMHVAESynthesisLib.network.model import BACKGROUND, ordered_images


def build(network):
    """Return ``(images, noise, temperature) -> {modality: image}``, one slice or a batch; as ``speed.py`` takes a peer.

    :param network: An ``MMHVAE`` with the fusion ``product``.
    """
    return _Plain(network).eval()


class _SqueezeExcite(nn.Module):
    def __init__(self, gate):
        super().__init__()
        self.gates = nn.Sequential(gate.squeeze, nn.ReLU(), gate.excite, nn.Sigmoid())

    def forward(self, x):
        return x * self.gates(x.mean((2, 3)))[:, :, None, None]


class _Residual(nn.Module):
    def __init__(self, *body):
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x):
        return x + self.body(x)


def _normed_silu(conv):
    return nn.InstanceNorm2d(conv.in_channels), nn.SiLU(), conv


def _encoder_cell(cell):
    return _Residual(*_normed_silu(cell.conv_0), *_normed_silu(cell.conv_1), _SqueezeExcite(cell.gate))


def _decoder_cell(cell):
    wide = cell.widen.out_channels
    behind = nn.InstanceNorm2d(wide), nn.SiLU(), _SqueezeExcite(cell.gate), cell.narrow
    return _Residual(nn.InstanceNorm2d(cell.widen.in_channels), cell.widen, *_normed_silu(cell.depthwise), *behind)


def _expert(expert):
    gated = _SqueezeExcite(expert.gate), expert.project
    return nn.Sequential(*_normed_silu(expert.conv_0), *_normed_silu(expert.conv_1), *gated)


def _image_decoder(decoder):
    # The convolutions pad by themselves, mirrored, which is the stock way since PyTorch 1.5.
    blocks = []
    for block in decoder.blocks:
        channels = block.conv_0.out_channels
        norms = nn.InstanceNorm2d(channels), nn.InstanceNorm2d(channels)
        blocks.append(_Residual(block.conv_0, norms[0], nn.ReLU(), block.conv_1, norms[1]))
    norm = nn.InstanceNorm2d(decoder.conv.out_channels)
    return nn.Sequential(decoder.adapt, *blocks, decoder.conv, norm, nn.LeakyReLU(0.2), decoder.image, nn.Tanh())


class _Encoder(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.stem, self.downs = encoder.stem, encoder.downs
        self.cells = nn.ModuleList(_encoder_cell(cell) for cell in encoder.cells)

    def forward(self, image):
        features = [self.cells[0](self.stem(image))]
        for down, cell in zip(self.downs, self.cells[1:]):
            features.append(cell(down(features[-1])))
        return features


class _Level(nn.Module):
    def __init__(self, level):
        super().__init__()
        self.halvings, self.is_random, self.prior = level.halvings, level.is_random, level.prior
        self.up = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), level.up)
        self.cell = _decoder_cell(level.cell)
        self.expert = _expert(level.expert) if level.is_random else None


class _Plain(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.sizes = network.sizes
        self.encoders = nn.ModuleDict({name: _Encoder(encoder) for name, encoder in network.encoders.items()})
        self.decoders = nn.ModuleDict({name: _image_decoder(decoder) for name, decoder in network.decoders.items()})
        self.down, self.up = network.coarsest.down, network.coarsest.up
        self.levels = nn.ModuleList(_Level(level) for level in network.levels)

    def forward(self, images, noise, temperature):
        ordered = ordered_images(images, self.sizes)
        features = [self.encoders[modality](image) for modality, image in ordered.items()]
        experts = [Gaussian.from_features(self.down(maps[-1].flatten(1))) for maps in features]
        z = self._draw(Gaussian.standard_like(experts[0]), experts, noise[0], temperature)
        edge = self.sizes.coarsest_size
        z = self.up(z).view(-1, self.sizes.max_features, edge, edge)
        for step, level in enumerate(self.levels, start=1):
            h = level.cell(level.up(z))
            prior = Gaussian.from_features(level.prior(h))
            z = prior.loc
            if level.is_random:
                stacked = [torch.cat([h, maps[level.halvings]], dim=1) for maps in features]
                experts = [Gaussian.from_features(level.expert(both)) for both in stacked]
                z = self._draw(prior, experts, noise[step], temperature)
        mask = next(iter(ordered.values())) == BACKGROUND
        return {modality: decoder(z).masked_fill(mask, BACKGROUND) for modality, decoder in self.decoders.items()}

    def _draw(self, prior, experts, noise, temperature):
        posterior = product_of_experts(prior, experts, self.sizes.precision)
        z = posterior.sample(noise, temperature)
        for expert in experts:
            marginal = product_of_experts(prior, [expert], self.sizes.precision)
            kl_estimate(marginal, prior, marginal.loc, 1.0)
        if temperature:
            kl_estimate(posterior, prior, z, temperature)
        return z
