"""The pool of real slices that stand in for the modalities a case lacks."""

from typing import Dict, List, Mapping, Optional, Sequence

import numpy as np
import torch
from torch import Tensor


class ImagePool:
    """Keeps up to ``size`` real slices of each modality; once full, a new one replaces a random one half the time."""

    def __init__(self, modalities: Sequence[str], size: int):
        self._size = size
        self._images: Dict[str, List[Tensor]] = {name: [] for name in modalities}

    def add(self, images: Mapping[str, Tensor], rng: np.random.Generator) -> None:
        """Take up the slices of ``{modality: (B, 1, S, S)}``."""
        for name, batch in images.items():
            kept = self._images[name]
            for image in batch.detach().cpu():
                if len(kept) < self._size:
                    kept.append(image.clone())
                elif rng.random() < 0.5:
                    kept[int(rng.integers(self._size))] = image.clone()

    def draw(self, modality: str, count: int, rng: np.random.Generator) -> Optional[Tensor]:
        """Return ``count`` slices, drawn without replacement; fewer while there are fewer; None when there is none."""
        kept = self._images[modality]
        if not kept:
            return None
        chosen = rng.permutation(len(kept))[:count]
        return torch.stack([kept[index] for index in chosen])

    def state(self) -> Dict[str, Tensor]:
        """Return the slices as ``{modality: (n, 1, S, S)}``, without the modalities that have none."""
        return {name: torch.stack(images) for name, images in self._images.items() if images}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take the slices that :meth:`state` gave."""
        for name in self._images:
            self._images[name] = [image.clone() for image in state[name]] if name in state else []
