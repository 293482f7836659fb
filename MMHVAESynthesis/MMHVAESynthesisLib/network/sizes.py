"""The sizes of a network: all that is needed to build one. Knows no torch, so that a request can be checked first."""

from dataclasses import dataclass
from typing import Collection, Iterable, List, Tuple

from ..errors import ModelError
from ..modalities import MODALITIES

PRECISIONS = ("scale", "variance")
FUSIONS = ("product", "average", "zero_fill")
RECONSTRUCTIONS = ("joint", "own")


def in_published_order(modalities: Iterable[str]) -> Tuple[str, ...]:
    """Return modalities as the published network has them: of those that are given, the first is a run's reference.

    A network may have been trained in any order; modalities that were not published come last, in theirs.

    >>> in_published_order(["pet", "flair", "us", "t2"])
    ('us', 't2', 'flair', 'pet')
    """
    return tuple(sorted(modalities, key=lambda name: MODALITIES.index(name) if name in MODALITIES else len(MODALITIES)))


@dataclass(frozen=True)
class NetworkSizes:
    """Sizes and choices that make a network; the defaults are those of the released checkpoint.

    :param modalities: Keys, in the order in which the network was trained.
    :param base_features: Width b of the finest features.
    :param max_features: Cap m of the widths.
    :param halvings: P, how often the size is halved on the contracting path.
    :param size: S, rows and columns of a slice.
    :param decoder_blocks: Residual blocks in each image decoder.
    :param decoder_features: Their width.
    :param precision: What a product of experts weighs by: ``scale`` = 1/scale, as released; ``variance`` = 1/scale^2,
        as in the paper (eq. 14).
    :param fusion: How the experts of several inputs are joined: ``product`` with the prior (the method), or, for the
        paper's ablation, ``average`` of their parameters or one expert that sees all inputs, absent ones as zeros
        (``zero_fill``).
    :param latent_levels: How many latent groups, counted from the coarsest, are random; 0 means all P + 1. Finer ones
        are then decoded without inputs, as in a VAE with fewer levels (the paper's ablation).
    :param reconstruction: What a target that is itself an input is drawn from outside training: the experts of all
        inputs (``joint``, the method), or in slices of which it covers the field its own alone (``own``, not in the
        paper), so that no further input makes it worse.
    :raises ModelError: when the sizes do not make a network.
    """

    modalities: Tuple[str, ...] = MODALITIES
    base_features: int = 16
    max_features: int = 128
    halvings: int = 6
    size: int = 192
    decoder_blocks: int = 6
    decoder_features: int = 8
    precision: str = "scale"
    fusion: str = "product"
    latent_levels: int = 0
    reconstruction: str = "joint"

    def __post_init__(self):
        object.__setattr__(self, "modalities", tuple(self.modalities))
        if not self.modalities or len(set(self.modalities)) != len(self.modalities):
            raise ModelError(f"A network needs modalities, each named once, not {self.modalities}.")
        for name in ("base_features", "max_features", "halvings", "size", "decoder_features"):
            if getattr(self, name) < 1:
                raise ModelError(f"A network's {name} must be 1 or more, not {getattr(self, name)}.")
        if self.base_features % 2 or self.max_features % 2:
            raise ModelError("A network's base_features and max_features must be even.")
        if self.size % 2**self.halvings or self.size < 2 ** (self.halvings + 1):
            raise ModelError(
                f"A slice of {self.size} pixels cannot be halved {self.halvings} times to 2 pixels or more."
            )
        if self.decoder_blocks < 0 or not 0 <= self.latent_levels <= self.halvings + 1:
            raise ModelError("A network's decoder_blocks or latent_levels is out of range.")
        if self.precision not in PRECISIONS or self.fusion not in FUSIONS:
            raise ModelError(f"Unknown precision {self.precision!r} or fusion {self.fusion!r}.")
        if self.reconstruction not in RECONSTRUCTIONS:
            raise ModelError(f"Unknown reconstruction {self.reconstruction!r}.")

    def width(self, halvings: int) -> int:
        """Return c_d = min(b 2^d, m), the width of the features halved ``halvings`` times."""
        return min(self.base_features * 2**halvings, self.max_features)

    def draws_alone(self, target: str, inputs: Collection[str]) -> bool:
        """Return whether a target is drawn from its own expert alone, though there are other inputs."""
        return self.reconstruction == "own" and target in inputs and len(inputs) > 1

    @property
    def coarsest_size(self) -> int:
        """Rows and columns of the coarsest feature maps, S / 2^P."""
        return self.size // 2**self.halvings

    @property
    def latents(self) -> int:
        """The number of random latent groups, L = P + 1 unless ``latent_levels`` says fewer."""
        return self.latent_levels or self.halvings + 1

    def noise_shapes(self) -> List[Tuple[int, ...]]:
        """Return the shape of one slice's noise for each random latent group, the coarsest first.

        >>> NetworkSizes(halvings=1, size=4, base_features=2, max_features=4).noise_shapes()
        [(8,), (1, 4, 4)]
        """
        shapes: List[Tuple[int, ...]] = [(2 * self.max_features,)]
        for halvings in reversed(range(self.halvings)):
            edge = self.size // 2**halvings
            shapes.append((self.width(halvings) // 2, edge, edge))
        return shapes[: self.latents]
