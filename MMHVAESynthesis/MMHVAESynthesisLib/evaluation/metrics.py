"""SSIM and LPIPS a slice, as published: of the same 8-bit slices as PSNR (``training.psnr``), with its data range.

SSIM is scikit-image's ordinary 2D one (Wang et al., IEEE TIP 2004); the published call made it treat the rows as
channels, so those figures differ a little.
"""

from typing import Callable, Optional, Tuple

import numpy as np

from ..errors import DependencyError


def ssim(target: np.ndarray, image: np.ndarray) -> float:
    """Return the structural similarity, -1..1, of an 8-bit slice of 7 x 7 pixels or more.

    :raises DependencyError: when scikit-image is missing.
    """
    structural_similarity = require_structural_similarity()
    return float(structural_similarity(target, image, data_range=float(target.max()) - float(target.min())))


def require_structural_similarity() -> Callable:
    """Return scikit-image's function.

    :raises DependencyError: when scikit-image is missing.
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise DependencyError("SSIM needs the package scikit-image: pip install scikit-image.") from error
    return structural_similarity


class Perceptual:
    """LPIPS with AlexNet (Zhang et al., CVPR 2018), where the package ``lpips`` and its weights are at hand."""

    def __init__(self):
        self._distance, self.reason = _lpips()

    @property
    def available(self) -> bool:
        """Whether LPIPS can be computed; otherwise ``reason`` says why not."""
        return self._distance is not None

    def __call__(self, target: np.ndarray, image: np.ndarray) -> float:
        """Return LPIPS of an 8-bit slice: 0 when equal."""
        import torch

        pair = [
            torch.from_numpy(slice_).float()[None, None].repeat(1, 3, 1, 1) / 127.5 - 1 for slice_ in (target, image)
        ]
        with torch.no_grad():
            return float(self._distance(*pair))


def _lpips() -> Tuple[Optional[object], str]:
    try:
        import lpips
    except ImportError:
        return None, "LPIPS is left out: the package lpips (with torchvision) is not installed."
    try:
        return lpips.LPIPS(net="alex", verbose=False).eval(), ""
    except Exception as error:  # the package fetches AlexNet's weights and fails in many ways without a network
        return None, f"LPIPS is left out: AlexNet's weights cannot be had ({error})."
