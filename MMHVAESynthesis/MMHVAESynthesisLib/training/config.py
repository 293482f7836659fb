"""The configuration of a training run: one typed object, a JSON file, saved with state and weights."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple, Union

from ..errors import InputError
from ..modalities import US
from ..network.sizes import NetworkSizes
from ..paths import move

HELD_OUT: Tuple[str, ...] = ("BraTS2021_01484", "BraTS2021_01485", "TCGA-DU-7294", "Case18", "Case27")
"""Cases that are for evaluation only, unless a configuration names others."""

SUBSETS = ("uniform", "all", "one")
KINDS = ("sweep", "mr", "us")


@dataclass(frozen=True)
class DataConfig:
    """Where the cases lie and how batches are made of them.

    :param folders: Folders below the data folder that hold cases, one folder a case; none means every folder below it.
    :param held_out: Names of cases never trained on. With ``folds`` those of the default are dealt like all others.
    :param folds: Cross-validation: into how many folds the cases are dealt, those with the same modalities evenly; 0
        means none. Then fold number ``fold``, counted from 0, is held out, and what ``held_out`` names on purpose.
    :param sampling: ``blocks``: consecutive slices of one case, all its modalities as they lie on one grid (published).
        ``crops``: random crops in all directions, with fresh simulated iUS (the demonstrator).
    :param spacing: Millimetres a pixel; volumes of another spacing are resampled (linear).
    :param slices: Slices a batch.
    :param kinds: With ``crops``, how often a batch is MR seen by a simulated sweep (``sweep``), MR alone with
        its whole field (``mr``; of a case that has iUS too, without it), or a real iUS volume alone (``us``); weights,
        any sum.
    :param sweep_batches: With ``crops``, how many batches come between one simulated sweep and the next new one.
    :param cysts: With ``crops``, the share of simulated sweeps over a cyst that is put into the MR.
    :param augment: With ``crops``, the chance that an input's intensities are changed (gain, gamma, shading, noise); a
        changed iUS is its own target.
    :param skull_stripped: Whether the MR are; written into the weights' header. None: nobody says.
    :param white_matter: ``{modality: grey value}`` of white matter in a harmonised target, 0..255.
    """

    folders: Tuple[str, ...] = ()
    held_out: Tuple[str, ...] = HELD_OUT
    folds: int = 0
    fold: int = 0
    sampling: str = "blocks"
    spacing: float = 0.5
    slices: int = 16
    kinds: Mapping[str, float] = field(default_factory=lambda: {"sweep": 1.0, "mr": 0.0, "us": 0.0})
    sweep_batches: int = 4
    cysts: float = 0.0
    augment: float = 0.0
    skull_stripped: Optional[bool] = None
    white_matter: Mapping[str, float] = field(default_factory=lambda: {"t2": 70.0, "cet1": 110.0, "flair": 100.0})

    def __post_init__(self):
        object.__setattr__(self, "folders", tuple(self.folders))
        object.__setattr__(self, "held_out", tuple(self.held_out))
        if self.folds == 1 or self.folds < 0 or not 0 <= self.fold < max(self.folds, 1):
            raise InputError("folds must be 0 or 2 and more, fold one of 0 to folds - 1.")
        if self.sampling not in ("blocks", "crops"):
            raise InputError(f"The sampling must be 'blocks' or 'crops', not {self.sampling!r}.")
        if not self.spacing > 0 or self.slices < 1 or self.sweep_batches < 1 or not 0 <= self.augment <= 1:
            raise InputError("spacing, slices and sweep_batches must be positive, augment between 0 and 1.")
        if not 0 <= self.cysts <= 1:
            raise InputError("cysts is a share of the sweeps, between 0 and 1.")
        if set(self.kinds) - set(KINDS) or any(weight < 0 for weight in self.kinds.values()):
            raise InputError(f"The kinds of batches are {KINDS}, with weights of 0 or more, not {dict(self.kinds)}.")

    @property
    def always_held_out(self) -> Tuple[str, ...]:
        """Names of the cases that are held out in every fold.

        The default names would otherwise be judged in every fold and trained on in none.
        """
        return () if self.folds and set(self.held_out) == set(HELD_OUT) else self.held_out


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a training run. The defaults are the published protocol; epochs count from 1.

    :param name: What the run is called.
    :param sizes: The network.
    :param data: Its cases and batches.
    :param epochs: Length of the run and of the cosine.
    :param epoch_batches: Batches an epoch; 0 means every case once.
    :param subsets: How the third pass's inputs R are chosen among the MR of a case: ``uniform``, one subset drawn for
        each batch (the paper), or ``all``, every subset in turn, one optimiser step each (the published code).
        ``one``: a step makes one pass only, its inputs drawn from all subsets of O (:func:`.passes.one_subset`).
    :param us_alone: With ``one``, the share of steps with iUS alone where the case has it, beside those that draw that.
    :param cuts: The share of passes with several inputs in which one of them, not the first, ends within the field
        (:func:`.cuts.cut`); not in the paper.
    :param learning_rate: Of Adamax at the start, ``final_learning_rate`` at the end of the cosine.
    :param restart_epoch: Adamax's state is made anew at its start; 0 means never.
    :param l1_weight: Of the L1 term; 1 as published (the forerunner's 100).
    :param l2_weight: Of a squared term beside it (:func:`.losses.l2_term`); not in the paper.
    :param given_weight: Of the logarithm of the error of what the pass was given as inputs
        (:func:`.losses.given_term`); not in the paper.
    :param kl_weight: Of the KL term, reached linearly after ``kl_epochs``.
    :param gan_weight: Of the adversarial term, from ``gan_epoch``; 0 means no discriminators at all.
    :param discriminator_epoch: From here on the discriminators learn; the pool of real slices fills from
        ``pool_epoch``.
    :param discriminator_features: Width of the first layer of a discriminator.
    :param discriminator_learning_rate: Of Adam.
    :param pool_size: Real slices kept a modality.
    :param pool_whole_field: The pool takes MR with its whole field only, and what is drawn is masked like the fakes
        that it is compared with. For data where the cases without MR have other fields of view than the rest: a
        discriminator must not learn the shape of the field.
    :param expert_gain: The experts' locations start so many times as large as with PyTorch's defaults, which leave them
        at a tenth of the posterior's spread: a short run would go by before they have grown.
    :param ema: Decay a step of the averaged weights, which are the ones validated and exported; 0 means none.
    :param precision: ``float32`` or ``bfloat16`` (autocast; latents, KL and losses stay float32).
    :param validate_every: Steps between validations on held-out slices; 0 means never.
    :param seed: Of everything random.
    """

    name: str = "published"
    sizes: NetworkSizes = NetworkSizes()
    data: DataConfig = DataConfig()
    epochs: int = 1000
    epoch_batches: int = 0
    subsets: str = "uniform"
    us_alone: float = 0.55
    cuts: float = 0.0
    learning_rate: float = 2e-3
    final_learning_rate: float = 1e-4
    restart_epoch: int = 780
    l1_weight: float = 1.0
    l2_weight: float = 0.0
    given_weight: float = 0.0
    kl_weight: float = 1e-3
    kl_epochs: int = 50
    gan_weight: float = 0.025
    gan_epoch: int = 800
    discriminator_epoch: int = 790
    pool_epoch: int = 789
    discriminator_features: int = 64
    discriminator_learning_rate: float = 2e-4
    pool_size: int = 32
    pool_whole_field: bool = False
    expert_gain: float = 1.0
    ema: float = 0.0
    precision: str = "float32"
    validate_every: int = 0
    seed: int = 0

    def __post_init__(self):
        if not 0 <= self.seed < 2**32:
            raise InputError(f"The seed must be a whole number from 0 to {2**32 - 1}, not {self.seed}.")
        if self.subsets not in SUBSETS or self.precision not in ("float32", "bfloat16"):
            raise InputError(f"Unknown subsets {self.subsets!r} or precision {self.precision!r}.")
        if (
            self.epochs < 1
            or self.kl_epochs < 1
            or self.pool_size < 1
            or min(self.learning_rate, self.expert_gain) <= 0
        ):
            raise InputError("epochs, kl_epochs, pool_size, learning_rate and expert_gain must be positive.")
        without = set(self.sizes.modalities) - {US} - set(self.data.white_matter)
        if without:
            raise InputError(f"data.white_matter gives no grey value for {', '.join(sorted(without))}.")
        weights = (self.l1_weight, self.l2_weight, self.given_weight, self.kl_weight, self.gan_weight)
        if not (0 <= self.us_alone <= 1 and 0 <= self.cuts <= 1):
            raise InputError("us_alone and cuts are shares, between 0 and 1.")
        if not 0 <= self.ema < 1 or min(self.epoch_batches, *weights, self.validate_every) < 0:
            raise InputError("ema must lie in [0, 1); weights, epoch_batches and validate_every must not be negative.")

    def kl_weight_at(self, epoch: int) -> float:
        """Return w_kl in ``epoch``: a linear ramp.

        >>> TrainingConfig().kl_weight_at(25)
        0.0005
        """
        return self.kl_weight * min(1.0, epoch / self.kl_epochs)

    def gan_weight_at(self, epoch: int) -> float:
        """Return w_gan in ``epoch``: 0 before ``gan_epoch``."""
        return self.gan_weight if epoch >= self.gan_epoch else 0.0

    def learning_rate_at(self, epoch: int) -> float:
        """Return Adamax's rate in ``epoch``: the cosine, stepped at the end of every epoch."""
        done = (epoch - 1) / self.epochs
        span = self.learning_rate - self.final_learning_rate
        return self.final_learning_rate + span * (1 + math.cos(math.pi * done)) / 2

    def discriminates(self, epoch: int) -> bool:
        """Return whether the discriminators learn in ``epoch``."""
        return self.gan_weight > 0 and epoch >= self.discriminator_epoch

    def pools(self, epoch: int) -> bool:
        """Return whether the pool of real slices fills in ``epoch``."""
        return self.gan_weight > 0 and epoch >= self.pool_epoch

    def as_dict(self) -> Dict[str, Any]:
        """Return the configuration as JSON-able values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def save(self, path: Union[str, Path]) -> None:
        """Write the configuration as JSON, beside and then renamed."""
        beside = Path(f"{path}.part")
        beside.write_text(json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8")
        move(beside, path)


def _typed(kind: type, values: Mapping[str, Any], where: str):
    if not isinstance(values, Mapping):
        raise InputError(f"{where} must be an object with names and values.")
    unknown = set(values) - {item.name for item in dataclasses.fields(kind)}
    if unknown:
        raise InputError(f"{where} does not know: {', '.join(sorted(unknown))}.")
    for item in dataclasses.fields(kind):
        default = item.default if item.default is not dataclasses.MISSING else item.default_factory()
        if item.name in values and not _is_like(values[item.name], default):
            raise InputError(f"{where}: '{item.name}' must be {_like(default)}, not {values[item.name]!r:.60}.")
    return kind(**values)


_LIKE = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    tuple: "a list of texts",
    dict: "an object of numbers",
    type(None): "true, false or null",
}


def _like(default: Any) -> str:
    return _LIKE.get(type(default), "an object with names and values")


def _is_like(value: Any, default: Any) -> bool:
    """Return whether a value of a file can stand where this default does."""
    if isinstance(default, (bool, type(None))):
        return isinstance(value, (bool, type(default)))
    if isinstance(default, (int, float)):
        kinds = (int, float) if isinstance(default, float) else (int,)
        return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
    if isinstance(default, tuple):
        return isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value)
    if isinstance(default, dict):
        return isinstance(value, Mapping) and all(_is_like(each, 0.0) for each in value.values())
    return isinstance(value, type(default))


def from_dict(values: Mapping[str, Any]) -> TrainingConfig:
    """Return the configuration that :meth:`TrainingConfig.as_dict` wrote; what is missing keeps its default.

    :raises InputError: when a name is unknown or a value impossible.
    """
    if not isinstance(values, Mapping):
        raise InputError("The configuration must be an object with names and values.")
    known = dict(values)
    if "sizes" in known:
        known["sizes"] = _typed(NetworkSizes, known["sizes"], "The configuration's 'sizes'")
    if "data" in known:
        known["data"] = _typed(DataConfig, known["data"], "The configuration's 'data'")
    return _typed(TrainingConfig, known, "The configuration")


def load(path: Union[str, Path]) -> TrainingConfig:
    """Read a configuration from a JSON file.

    :raises InputError: when the file cannot be read or is not a configuration.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"The configuration {path} cannot be read: {error}.") from error
    return from_dict(values)
