"""The network against what the published code computed on the same weights, images and noise."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from MMHVAESynthesisLib.models.names import from_released  # noqa: E402
from MMHVAESynthesisLib.network.model import MMHVAE  # noqa: E402

from . import published  # noqa: E402

VECTORS = np.load(Path(__file__).parent / "data" / "parity_vectors.npz")


def network(sizes, seed):
    made = MMHVAE(sizes).eval()
    own = {name: from_released(name, published.has_adapter(sizes)) for name in published.released_names(sizes)}
    shapes = {name: tuple(made.state_dict()[own[name]].shape) for name in own}
    tensors = published.weights(shapes, seed)
    made.load_state_dict({own[name]: torch.from_numpy(tensor) for name, tensor in tensors.items()}, strict=True)
    return made


def relative(found, expected):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


CASES = {
    # key: sizes, seed of the weights, of the images, slices, seed of the noise, temperature, inputs
    "small_us": (published.SMALL, 0, 1, 2, 2, 0.7, ["us"]),
    "small_us_t2": (published.SMALL, 0, 1, 2, 2, 1.0, ["us", "t2"]),
    "small_t2_flair": (published.SMALL, 0, 3, 1, 4, 0.7, ["t2", "flair"]),
    "pair_t2": (published.PAIR, 5, 6, 1, 7, 0.7, ["t2"]),
    "full_us": (published.FULL, 0, 1, 1, 2, 0.7, ["us"]),
}


@pytest.mark.parametrize("key", CASES)
def test_agrees_with_the_published_code(key):
    sizes, weight_seed, image_seed, slices, noise_seed, temperature, modalities = CASES[key]
    images = {m: published.image(image_seed, slices, sizes.size, m) for m in modalities}
    if key == "small_t2_flair":
        images["t2"][:, :, :30] = -1
        images["flair"][:, :, 45:] = -1
    noise = [torch.from_numpy(level) for level in published.noise(noise_seed, sizes, slices)]
    # Given in another order than the network's: the first of the network's order must be the reference.
    shuffled = {m: torch.from_numpy(images[m]) for m in reversed(modalities)}
    with torch.no_grad():
        output = network(sizes, weight_seed)(shuffled, noise, temperature, with_kl=True)

    for modality in sizes.modalities:
        assert relative(output.images[modality], VECTORS[f"{key}/{modality}"]) < 1e-5, modality
    np.testing.assert_allclose([float(term) for term in output.kl], VECTORS[f"{key}/kl"], rtol=1e-5)
    if f"{key}/z1" in VECTORS:
        inside = images[modalities[0]] != -1
        assert relative(output.z1.numpy() * inside, VECTORS[f"{key}/z1"]) < 1e-5
