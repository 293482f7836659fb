import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MMHVAESynthesisLib.network.sizes import NetworkSizes
from MMHVAESynthesisLib.training.config import DataConfig, TrainingConfig

TINY = NetworkSizes(size=32, base_features=4, max_features=8, halvings=2, decoder_blocks=1, decoder_features=2)

# As the loop does: at the start of training denormal numbers are slow.
torch.set_flush_denormal(True)


def brain(rng, shape=(24, 30, 28), white=100.0):
    """A ball of white matter in a shell of grey matter, background 0."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((grid**2).sum(0))
    volume = np.where(radius < 0.75, white, 1.4 * white) + rng.normal(0, 0.02 * white, shape)
    return np.where(radius < 0.95, volume, 0).astype(np.int16)


def sweep(rng, shape=(24, 30, 28)):
    volume = rng.integers(1, 255, shape).astype(np.uint8)
    volume[:, :, :6] = 0
    return volume


def write(folder, name, array, spacing=1.0):
    folder.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([spacing] * 3)
    sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Four complete cases, one with FLAIR alone, one with iUS alone, two that are held out by name."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for name in ("case1", "case2", "case3", "BraTS2021_01484"):
        for modality, white in (("t2", 80.0), ("cet1", 500.0), ("flair", 120.0)):
            write(root / "mri" / name, modality, brain(rng, white=white))
    write(root / "mri_incomplete" / "case4", "flair", brain(rng))
    for name in ("Case5", "Case18"):
        write(root / "ius" / name, "us", sweep(rng))
    return root


@pytest.fixture
def config():
    """Crops of 32 x 32 with every part of the protocol switched on from its first epochs."""
    kinds = {"sweep": 1.0, "mr": 1.0, "us": 1.0}
    data = DataConfig(
        ("mri", "mri_incomplete", "ius"), sampling="crops", spacing=1.0, slices=2, kinds=kinds, augment=0.5
    )
    return TrainingConfig(
        name="tiny",
        sizes=TINY,
        data=data,
        epochs=4,
        epoch_batches=3,
        kl_epochs=2,
        restart_epoch=3,
        pool_epoch=1,
        discriminator_epoch=2,
        gan_epoch=3,
        discriminator_features=4,
        pool_size=8,
        ema=0.9,
    )


@pytest.fixture
def paired(config, tmp_path):
    """The published protocol in small: cases with iUS and MR on one grid."""
    rng = np.random.default_rng(1)
    for name, modalities in (
        ("a", ("us", "t2", "flair")),
        ("b", ("us", "cet1")),
        ("c", ("us",)),
        ("d", ("t2", "flair")),
    ):
        for modality in modalities:
            array = sweep(rng, (10, 20, 18)) if modality == "us" else brain(rng, (10, 20, 18))
            write(tmp_path / "paired" / name, modality, array)
    data = DataConfig(("paired",), sampling="blocks", spacing=1.0, slices=4)
    return tmp_path, dataclasses.replace(config, data=data, epoch_batches=0)
