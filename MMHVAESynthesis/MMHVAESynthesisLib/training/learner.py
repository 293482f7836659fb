"""What learns: the network, its discriminators, their optimisers; and one optimiser step of them."""

import contextlib
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import DeviceError, InputError
from ..network.discriminator import Discriminator
from ..network.model import BACKGROUND, MMHVAE
from ..network.sizes import NetworkSizes
from . import distributed
from .averaging import AveragedWeights
from .batches import Batch
from .config import TrainingConfig
from .cuts import cut
from .losses import discriminator_term, fakes, generator_term, given_term, kl_term, l1_term, l2_term
from .passes import ALL_SEEN, Subset, plan
from .pool import ImagePool
from .widening import widened

_LEAST_TO_JUDGE = 24
"""Rows and columns, fewer of which a PatchGAN's strides leave nothing of to normalise."""

Passes = List[Tuple[Subset, Dict[str, Tensor]]]


def _keep_float32(_module, _inputs, output: Tensor) -> Tensor:
    return output.float()


class Learner:
    """All that a training run changes.

    Random numbers come from (seed, step, rank) alone, so that nothing about them needs to be saved.

    :param config: The run.
    :param device: Where it runs.
    :raises InputError: when the slices are too small for the discriminators.
    :raises DeviceError: for bfloat16 elsewhere than on a CPU or CUDA.
    """

    def __init__(self, config: TrainingConfig, device: torch.device):
        self.config, self.device = config, device
        if config.precision == "bfloat16" and device.type not in ("cpu", "cuda"):
            raise DeviceError(f"Training in bfloat16 needs --device cpu or cuda; for {device.type} set float32.")
        is_adversarial = config.gan_weight > 0 and min(config.discriminator_epoch, config.gan_epoch) <= config.epochs
        if is_adversarial and config.sizes.size < _LEAST_TO_JUDGE:
            raise InputError(
                f"The discriminators need slices of {_LEAST_TO_JUDGE} x {_LEAST_TO_JUDGE} or more, not "
                f"{config.sizes.size}: set gan_weight to 0, or a larger size."
            )
        torch.manual_seed(config.seed)
        self.network = MMHVAE(config.sizes).to(device)
        _enlarge_locations(self.network, config.expert_gain)
        self.adamax = self._new_adamax()
        self.discriminators = nn.ModuleDict()
        if config.gan_weight > 0:
            for name in config.sizes.modalities:
                self.discriminators[name] = Discriminator(config.discriminator_features)
        self.discriminators.to(device)
        self.adam = (
            torch.optim.Adam(self.discriminators.parameters(), lr=config.discriminator_learning_rate)
            if len(self.discriminators)
            else None
        )
        self.pool = ImagePool(config.sizes.modalities, config.pool_size)
        self.average = AveragedWeights(self.network, config.ema) if config.ema else None
        if config.precision == "bfloat16":
            self._keep_latents_float32()

    def is_finite(self) -> bool:
        """Return whether all weights, of the discriminators too, are numbers."""
        every = [*self.network.parameters(), *self.discriminators.parameters()]
        return all(bool(torch.isfinite(parameter).all()) for parameter in every)

    def _new_adamax(self) -> torch.optim.Adamax:
        return torch.optim.Adamax(self.network.parameters(), lr=self.config.learning_rate)

    def _keep_latents_float32(self) -> None:
        """Let the parameters of every Gaussian leave autocast, so that products, samples and KL are float32."""
        self.network.coarsest.down.register_forward_hook(_keep_float32)
        for level in self.network.levels:
            level.prior.register_forward_hook(_keep_float32)
            if level.is_random:
                level.expert.register_forward_hook(_keep_float32)

    def begin_epoch(self, epoch: int, is_new: bool) -> None:
        """Set the learning rate of ``epoch``; at its very start make Adamax anew where the protocol says so.

        :param is_new: False when the run goes on in the middle of the epoch.
        """
        if epoch == self.config.restart_epoch and is_new:
            self.adamax = self._new_adamax()
        for group in self.adamax.param_groups:
            group["lr"] = self.config.learning_rate_at(epoch)

    def learn(self, batch: Batch, step: int, epoch: int) -> Dict[str, float]:
        """Take the optimiser steps for one batch; return the terms of the last as numbers."""
        rng = np.random.default_rng([self.config.seed, step, distributed.rank(), 2])
        noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
        inputs = self._tensors(batch.inputs)
        targets = self._tensors(batch.targets)
        if self.config.pools(epoch) and (batch.whole_field or not self.config.pool_whole_field):
            self.pool.add(targets, rng)
        terms: Dict[str, float] = {}
        # The same subset in every process, so that none waits long for another.
        shared = np.random.default_rng([self.config.seed, step, 5])
        steps = plan(tuple(inputs), self.config.subsets, shared, self.config.us_alone, whole=not self._draws_own)
        # A case with fewer subsets goes through its own again: every process has to take as many steps as the others.
        for number in range(distributed.most(len(steps)) if self.config.subsets == "all" else len(steps)):
            passes = steps[number % len(steps)]
            done, terms = self._generator_step(inputs, targets, passes, epoch, noise, rng)
            if self.config.discriminates(epoch):
                terms["discriminator"] = self._discriminator_step(targets, done, rng)
            if self.average:
                self.average.update(self.network)
        return terms

    def _tensors(self, images: Mapping[str, np.ndarray]) -> Dict[str, Tensor]:
        return {name: torch.from_numpy(image).to(self.device) for name, image in images.items()}

    def _autocast(self):
        if self.config.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _generator_step(self, inputs, targets, passes, epoch: int, noise: torch.Generator, rng: np.random.Generator):
        """Make the passes and step Adamax with the sum of their terms; return what they saw and gave, and the terms."""
        config = self.config
        gan_weight = config.gan_weight_at(epoch)
        batch, _, rows, columns = next(iter(inputs.values())).shape
        adversarial_phase = config.discriminates(epoch) or gan_weight > 0
        self.network.train()
        self.adamax.zero_grad(set_to_none=True)
        total, done = torch.zeros((), device=self.device), []
        terms = {"l1": 0.0, "kl": 0.0, "gan": 0.0}
        for name, seen in passes:
            given, coverage = {key: inputs[key] for key in seen}, {}
            if config.cuts > 0 and len(seen) > 1 and rng.random() < config.cuts:
                given, coverage = cut(given, rng)
            learnt = self._learnt(targets, seen, coverage)
            # Without discriminators nothing is learnt from the images of modalities that the case lacks.
            outputs, kl = self._forward(given, None if adversarial_phase else tuple(learnt), batch, noise, coverage)
            l1 = l1_term(outputs, learnt)
            divergence = kl_term(kl, batch * rows * columns, len(config.sizes.modalities))
            loss = config.l1_weight * l1 + config.kl_weight_at(epoch) * divergence
            if config.l2_weight > 0:
                squares = l2_term(outputs, learnt)
                loss = loss + config.l2_weight * squares
                terms["l2"] = terms.get("l2", 0.0) + float(squares.detach())
            if config.given_weight > 0:
                loss = loss + config.given_weight * given_term(outputs, learnt, seen)
            if gan_weight > 0 and name != ALL_SEEN:
                adversarial = self._adversarial(outputs)
                loss = loss + gan_weight * adversarial
                terms["gan"] += float(adversarial.detach())
            total = total + loss
            terms["l1"] += float(l1.detach())
            terms["kl"] += float(divergence.detach())
            done.append((seen, outputs))
        total.backward()
        distributed.average_gradients(self.network.parameters())
        self.adamax.step()
        terms["loss"] = float(total.detach())
        return done, terms

    @property
    def _draws_own(self) -> bool:
        """Whether what is given is drawn from its own expert alone in use."""
        return self.config.sizes.reconstruction == "own"

    def _learnt(self, targets: Dict[str, Tensor], seen: Subset, coverage: Mapping[str, Tensor]) -> Dict[str, Tensor]:
        """Return the targets that a pass learns from.

        If what is given is drawn from itself, those are with several inputs the others, and inputs that end within the
        field.
        """
        others = {name: target for name, target in targets.items() if name not in seen or name in coverage}
        return others if self._draws_own and len(seen) > 1 and others else targets

    def _forward(self, seen: Dict[str, Tensor], wanted: Optional[Subset], batch: int, noise: torch.Generator, coverage):
        """Return the images of one pass, float32, and its KL terms."""
        draws = [
            torch.randn(batch, *shape, generator=noise).to(self.device) for shape in self.config.sizes.noise_shapes()
        ]
        with self._autocast():
            output = self.network(seen, draws, temperature=1.0, targets=wanted, with_kl=True, coverage=coverage)
        return {name: image.float() for name, image in output.images.items()}, output.kl

    def _adversarial(self, outputs: Dict[str, Tensor]) -> Tensor:
        """Return the GAN term of one pass; the discriminators themselves get no gradient from it."""
        self.discriminators.requires_grad_(False)
        with self._autocast():
            term = generator_term(outputs, _Float(self.discriminators))
        self.discriminators.requires_grad_(True)
        return term

    def _discriminator_step(self, targets: Dict[str, Tensor], done: Passes, rng: np.random.Generator) -> float:
        """Step Adam for the discriminators of all modalities that have fakes and something real; return their loss."""
        terms = []
        for name, fake in fakes(done, self.config.sizes.modalities).items():
            real = self._real(name, targets, fake, rng)
            if real is not None:
                with self._autocast():
                    terms.append(discriminator_term(real, fake, _Float(self.discriminators)[name]))
        self.adam.zero_grad(set_to_none=True)
        if terms:
            loss = torch.stack(terms).mean()
            loss.backward()
        distributed.average_gradients(self.discriminators.parameters())
        self.adam.step()
        return float(loss.detach()) if terms else 0.0

    def _real(self, name: str, targets: Dict[str, Tensor], fake: Tensor, rng: np.random.Generator) -> Optional[Tensor]:
        """Return real slices of a modality: this batch's, or where the case lacks it, the pool's."""
        if name in targets:
            return targets[name]
        batch = next(iter(targets.values())).shape[0]
        drawn = self.pool.draw(name, batch, rng)
        if drawn is None:
            return None
        drawn = drawn.to(self.device)
        if self.config.pool_whole_field:
            drawn = drawn.masked_fill(fake[: drawn.shape[0]] == BACKGROUND, BACKGROUND)
        return drawn

    def state(self) -> Dict[str, object]:
        """Return everything that :meth:`restore` needs, tensors and plain values; pools come from all processes."""
        state = {"network": self.network.state_dict(), "adamax": self.adamax.state_dict()}
        if self.adam is not None:
            state["discriminators"] = self.discriminators.state_dict()
            state["adam"] = self.adam.state_dict()
            state["pools"] = distributed.gather(self.pool.state())
        if self.average:
            state["average"] = self.average.network.state_dict()
            state["averaged"] = self.average.updates
        return state

    def restore(self, state: Mapping[str, object]) -> None:
        """Take what :meth:`state` gave; with more processes than then, the new ones begin with the first one's pool."""
        self.network.load_state_dict(state["network"])
        self.adamax.load_state_dict(state["adamax"])
        if self.adam is not None:
            self.discriminators.load_state_dict(state["discriminators"])
            self.adam.load_state_dict(state["adam"])
            pools: Sequence = state["pools"]
            self.pool.restore(pools[distributed.rank() if distributed.rank() < len(pools) else 0])
        if self.average:
            self.average.network.load_state_dict(state["average"])
            self.average.updates = int(state["averaged"])

    def begin_from(self, weights: Mapping[str, Tensor], sizes: Optional[NetworkSizes] = None) -> None:
        """Start from shipped weights instead of random ones, or, where they are of a narrower network, from both.

        :param sizes: Of the network whose weights they are; None means this one's.
        """
        if sizes and sizes != self.config.sizes:
            weights = widened(weights, sizes, self.network.state_dict(), self.config.sizes)
        self.network.load_state_dict(weights)
        if self.average:
            self.average = AveragedWeights(self.network, self.config.ema)

    @property
    def shipped(self) -> MMHVAE:
        """The network as it is validated and exported: the averaged weights where there are any."""
        return self.average.network if self.average else self.network


@torch.no_grad()
def _enlarge_locations(network: MMHVAE, gain: float) -> None:
    """Multiply the gains of the weight-normalised projections to the experts' locations, the first half of each."""
    experts = [level.expert.project for level in network.levels if level.is_random]
    for projection in [network.coarsest.down, *experts]:
        magnitudes = projection.parametrizations.weight.original0
        magnitudes[: magnitudes.shape[0] // 2] *= gain


class _Float:
    """Discriminators whose scores leave autocast, so that losses are float32."""

    def __init__(self, discriminators: nn.ModuleDict):
        self._discriminators = discriminators

    def __getitem__(self, name: str):
        return lambda image: self._discriminators[name](image).float()
