"""The configurations that have a name: the published protocol, the demonstrator, forerunner and ablations."""

import dataclasses
from typing import Callable, Dict

from ..errors import InputError
from ..network.sizes import NetworkSizes
from ..paths import expanded
from .config import DataConfig, TrainingConfig, load


def published() -> TrainingConfig:
    """Return the published protocol at the published sizes: 192 x 192 at 0.5 mm, 1000 epochs of every case."""
    return TrainingConfig()


def forerunner() -> TrainingConfig:
    """Return the forerunner, MHVAE (MICCAI 2023): iUS and T2 only, five blocks in each image decoder, L1 weighted 100,
    GAN 1 over the last 200 epochs."""
    sizes = NetworkSizes(modalities=("us", "t2"), decoder_blocks=5)
    return dataclasses.replace(published(), name="forerunner", sizes=sizes, l1_weight=100.0, gan_weight=1.0)


def demonstrator() -> TrainingConfig:
    """Return the shipped demonstrator: 96 x 96 at 1 mm, from skull-stripped MR with simulated iUS and from real iUS.

    760 epochs of 50 batches of three crops, a step one pass: on processors the steps are what is scarce. Narrow at full
    size, where the time goes; single precision, since few processors that it is trained on know another. The squared
    term weighs more than L1: what iUS only hints at then shows faintly, where a median would show nothing; what is
    given has to come back, and in use is drawn from its own expert alone: short training does not teach the others to
    keep out of it. A third of the sweeps are over MR into which a cyst is put: patients have them, few cases do.
    """
    data = DataConfig(
        folders=("mri", "mri_incomplete", "ius"),
        sampling="crops",
        spacing=1.0,
        slices=3,
        kinds={"sweep": 0.7, "mr": 0.24, "us": 0.06},
        sweep_batches=80,
        cysts=0.35,
        augment=0.25,
        skull_stripped=True,
    )
    sizes = NetworkSizes(
        size=96,
        base_features=8,
        max_features=64,
        halvings=5,
        decoder_blocks=2,
        decoder_features=8,
        reconstruction="own",
    )
    return TrainingConfig(
        name="demonstrator",
        sizes=sizes,
        data=data,
        epochs=760,
        epoch_batches=50,
        subsets="one",
        l1_weight=0.3,
        l2_weight=6.0,
        given_weight=0.5,
        restart_epoch=0,
        kl_epochs=16,
        gan_weight=0.0,
        expert_gain=40.0,
        ema=0.999,
        validate_every=1000,
    )


def _ablation(name: str, **changes) -> Callable[[], TrainingConfig]:
    """Return a maker of a short run on the demonstrator's data, its network smaller and changed.

    With the published mixture and loss, which the paper's own comparison is of; what is given is drawn as the
    demonstrator draws it.
    """

    def make() -> TrainingConfig:
        base = demonstrator()
        small = dict(base_features=8, max_features=32, size=64, decoder_blocks=1)
        return dataclasses.replace(
            base,
            name=name,
            sizes=dataclasses.replace(base.sizes, **{**small, **changes}),
            data=dataclasses.replace(base.data, slices=4, kinds={"sweep": 0.6, "mr": 0.4, "us": 0.0}),
            subsets="uniform",
            l1_weight=1.0,
            l2_weight=0.0,
            given_weight=0.0,
            epochs=20,
            kl_epochs=1,
            ema=0.99,
            validate_every=0,
        )

    return make


PRESETS: Dict[str, Callable[[], TrainingConfig]] = {
    "published": published,
    "published-all-subsets": lambda: dataclasses.replace(published(), name="published-all-subsets", subsets="all"),
    "published-no-gan": lambda: dataclasses.replace(published(), name="published-no-gan", gan_weight=0.0),
    "forerunner": forerunner,
    "demonstrator": demonstrator,
    "ablation-product": _ablation("ablation-product"),
    "ablation-average": _ablation("ablation-average", fusion="average"),
    "ablation-zero-fill": _ablation("ablation-zero-fill", fusion="zero_fill"),
    "ablation-one-level": _ablation("ablation-one-level", latent_levels=1),
    "ablation-three-levels": _ablation("ablation-three-levels", latent_levels=3),
    "ablation-pair": _ablation("ablation-pair", modalities=("us", "t2")),
}
"""``{name: maker}``. The ablations share one small network and one short schedule: like is compared with like."""


def configuration(name_or_file: str) -> TrainingConfig:
    """Return the configuration of that name, or read it from that JSON file.

    :raises InputError: when it is neither.
    """
    if name_or_file in PRESETS:
        return PRESETS[name_or_file]()
    if expanded(name_or_file).is_file():
        return load(expanded(name_or_file))
    raise InputError(
        f"There is no configuration {name_or_file!r}: give a JSON file or one of {', '.join(sorted(PRESETS))}."
    )
