"""A small model and small volumes made for the tests."""

from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from MMHVAESynthesisLib.models.checkpoint import save
from MMHVAESynthesisLib.models.header import ModelHeader
from MMHVAESynthesisLib.network.sizes import NetworkSizes

SIZES = NetworkSizes(base_features=4, max_features=8, halvings=2, size=32, decoder_blocks=1, decoder_features=2)
SPACING = 0.5


def model_file(folder, spacing=SPACING, **changes):
    """Write a model with seeded random weights and return its file's name."""
    import torch

    from MMHVAESynthesisLib.network.model import MMHVAE

    sizes = replace(SIZES, **changes)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = MMHVAE(sizes).eval()
    path = folder / "model.safetensors"
    save(path, ModelHeader("random", sizes, spacing, skull_stripped=True), network)
    return str(path)


def fan(planes=6, size=32, spacing=(0.5, 0.5, 0.5), dtype=np.uint8, seed=0, origin=(0.0, 0.0, 0.0)):
    """Return a textured fan with empty first and last planes, background 0."""
    k, j, i = np.indices((planes, size, size))
    inside = (j > size * 0.1) & (abs(i - size / 2) < j * 0.6) & (j < size * 0.9) & (k > 0) & (k < planes - 1)
    texture = 90 + 60 * np.sin(i / 3 + seed) + 30 * np.cos(j / 4 - seed) + np.random.default_rng(seed).random(k.shape)
    image = sitk.GetImageFromArray(np.where(inside, texture, 0).astype(dtype))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


def array(image):
    return sitk.GetArrayFromImage(image)


def volume_like(image, values):
    """Return ``values`` [k, j, i] as a volume on the grid of ``image``."""
    made = sitk.GetImageFromArray(values)
    made.CopyInformation(image)
    return made
