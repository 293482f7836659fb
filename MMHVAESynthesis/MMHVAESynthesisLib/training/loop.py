"""The training loop: a run from its cases to its weights, from the top to the bottom."""

import logging
import math
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import torch

from ..errors import InputError, ModelError, OutputError
from ..modalities import US
from ..network.sizes import NetworkSizes
from ..progress import CancelFlag, Progress, ProgressCallback
from . import cases as case_folders
from . import config as configurations
from . import distributed, exported, state
from .batches import Loader, source
from .cases import Case
from .config import TrainingConfig
from .curves import Curves, Means, draw
from .learner import Learner
from .lock import only_one
from .stop import StopRequest
from .validation import Validation

log = logging.getLogger(__name__)

CONFIG_FILE, LOSSES_FILE, VALIDATION_FILE, PICTURE_FILE = "config.json", "losses.csv", "validation.csv", "curves.png"
_ROW_EVERY = 20
_SAVE_SECONDS = 240.0


@dataclass(frozen=True)
class Start:
    """Weights to start from, and what is known of them: a name, their digest, the cases that they were trained on; the
    sizes of their network, None where they are those of the configuration."""

    weights: Dict[str, torch.Tensor]
    name: str = ""
    digest: str = ""
    cases: Tuple[str, ...] = ()
    sizes: Optional[NetworkSizes] = None


class Run:
    """A run that can be left and gone on with: batch n, its random numbers and so all that follows depend on n alone.

    :param config: What to do; a state in ``folder`` must have been made with the same configuration.
    :param cases: To train on.
    :param held_out: To validate on.
    :param folder: Of the state; made where it is absent.
    :param device: ``cpu`` or ``cuda`` (with torchrun one process a GPU).
    :param init: Weights to start from, where there is no state yet.
    """

    def __init__(
        self,
        config: TrainingConfig,
        cases: Sequence[Case],
        held_out: Sequence[Case],
        folder: Path,
        device: torch.device,
        init: Optional[Start] = None,
    ):
        self.config, self.folder = config, folder
        self.held_out = sorted(case.name for case in held_out)
        self.origin: Dict[str, str] = {}
        self.batches = source(list(cases), config)
        self.names = self.batches.names
        self.validation = Validation(held_out, config) if config.validate_every and held_out else None
        if config.validate_every and not held_out:
            log.warning("Nothing is held out, so nothing is validated: look at data.held_out in the configuration")
        if config.data.sampling == "blocks" and US in config.sizes.modalities and not any(map(_is_paired, cases)):
            log.warning(
                "No case has both ultrasound and MR: nothing is learnt of how they go together. Put a case's us.nii.gz "
                "and MR, on one grid, into one folder"
            )
        self.learner = Learner(config, device)
        self.step, self.seconds = 0, 0.0
        self.losses, self.scores, self.means = Curves(), Curves(), Means()
        # Every process takes other batches, so that an epoch has fewer steps with more processes.
        self.epoch_steps = -(-self.batches.epoch_batches // distributed.world())
        self.steps = config.epochs * self.epoch_steps
        self._begin(init)

    def _begin(self, init: Optional[Start]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        found = state.load(self.folder)
        if found is not None:
            if init is not None:
                _check_origin(init, *found)
            self._resume(*found)
        elif init is not None:
            self.names = sorted({*self.names, *init.cases})
            self.origin = {"name": init.name, "digest": init.digest}
            _check_unseen(self.names, self.held_out)
            self.learner.begin_from(init.weights, init.sizes)
        if distributed.rank() == 0:
            self.config.save(self.folder / CONFIG_FILE)
            if found is None:
                exported.begin(self.folder)

    def _resume(self, saved: Dict[str, Any], path: Path) -> None:
        if configurations.from_dict(saved["config"]) != self.config:
            raise InputError(
                f"{path} belongs to a run with another configuration: give that one (its {CONFIG_FILE} lies beside "
                "it), or another --state folder."
            )
        if int(saved.get("epoch_steps", self.epoch_steps)) != self.epoch_steps:
            raise InputError(
                f"{path} belongs to a run with {saved['epoch_steps']} steps an epoch, {saved['processes']} processes "
                f"and {len(saved['names'])} cases; here an epoch has {self.epoch_steps}, so that its schedule would "
                "jump. Go on with as many processes and the same cases, or begin another run with --init and another "
                "--state."
            )
        self.step, self.seconds = int(saved["step"]), float(saved["seconds"])
        self.names = sorted({*self.names, *saved.get("names", ())})
        self.origin = saved.get("origin", self.origin)
        # They are those of all processes: counted once.
        self.means = Means.from_text(saved.get("means", "{}")) if distributed.rank() == 0 else Means()
        _check_unseen(self.names, self.held_out)
        self.losses = Curves.from_text(saved["losses"])
        self.scores = Curves.from_text(saved["validation"])
        self.learner.restore(saved["learner"])
        log.info("Going on from step %d of %d (%s)", self.step, self.steps, path)

    def save(self) -> None:
        """Write the state, the curves and their picture. Every process has to call it, the first one writes.

        :raises ModelError: where the weights are no numbers any more: then nothing is written.
        """
        self._check_finite(self.learner.is_finite())
        learner, means = self.learner.state(), self._means_of_all()
        if distributed.rank() != 0:
            return
        saved = {"config": self.config.as_dict(), "step": self.step, "seconds": self.seconds, "learner": learner}
        saved.update(losses=self.losses.to_text(), validation=self.scores.to_text(), means=means.to_text())
        saved.update(epoch_steps=self.epoch_steps, processes=distributed.world(), names=self.names, origin=self.origin)
        state.save(self.folder, saved)
        with _let_look():
            self.losses.write(self.folder / LOSSES_FILE)
            self.scores.write(self.folder / VALIDATION_FILE)
            draw(self.losses, self.scores, self.folder / PICTURE_FILE)

    def go(self, stop: StopRequest, progress: Optional[ProgressCallback] = None) -> bool:
        """Train to the end or until asked to stop, saving on the way and at the end; return whether it is complete.

        :raises ModelError: when the training diverges.
        """
        rank, world = distributed.rank(), distributed.world()
        loader = Loader(self.batches, lambda step: step * world + rank, self.step)
        begun, first, saved_at = time.monotonic(), self.step, time.monotonic()
        before = self.seconds
        try:
            while self.step < self.steps:
                epoch = self.step // self.epoch_steps + 1
                if self.step % self.epoch_steps == 0 or self.step == first:
                    self.learner.begin_epoch(epoch, is_new=self.step % self.epoch_steps == 0)
                terms = self.learner.learn(loader.take(), self.step, epoch)
                self.step += 1
                self._check_finite(all(map(math.isfinite, terms.values())))
                self.means.add(terms)
                self.seconds = before + time.monotonic() - begun
                self._note(epoch)
                stopping = distributed.any_process(stop.is_set())
                if stopping:
                    break
                if distributed.any_process(time.monotonic() - saved_at > _SAVE_SECONDS):
                    self.save()
                    saved_at = time.monotonic()
                if progress is not None and rank == 0:
                    left = (self.steps - self.step) * (time.monotonic() - begun) / (self.step - first)
                    progress(Progress("training", self.step, self.steps, left))
        finally:
            loader.close()
        self.save()
        return self.step >= self.steps

    def _check_finite(self, is_finite: bool) -> None:
        """Raise where losses or weights are no numbers any more, in whichever process; each has to call it."""
        if distributed.any_process(not is_finite):
            raise ModelError(
                f"The training diverged by step {self.step}: its numbers are not finite any more. What was saved "
                f"before is kept in {self.folder}: go on from there, or begin anew with a lower learning_rate."
            )

    def _means_of_all(self) -> Means:
        """Return the means over the steps of all processes, each of which has to call it."""
        return Means.together(distributed.gather(self.means.to_text()))

    def _note(self, epoch: int) -> None:
        """Add a row to the curves where it is due; validate where it is due."""
        if self.step % _ROW_EVERY == 0:
            row = {"step": self.step, "epoch": epoch, "seconds": self.seconds, **self._means_of_all().take()}
            self.means = Means()
            self.losses.add(row)
            log.info(
                "step %d/%d, epoch %d: %s",
                self.step,
                self.steps,
                epoch,
                ", ".join(f"{k} {v:.4g}" for k, v in row.items()),
            )
        every = self.config.validate_every
        if self.validation is not None and self.step % every == 0 and distributed.rank() == 0:
            scores = self.validation.psnr(self.learner.shipped)
            self.scores.add({"step": self.step, **scores})
            log.info(
                "step %d, PSNR dB: %s", self.step, ", ".join(f"{pair} {value:.2f}" for pair, value in scores.items())
            )
            with _let_look():
                self.validation.picture(self.learner.shipped, self.folder / f"slices-{self.step:07d}.png")


def _is_paired(case: Case) -> bool:
    return US in case.modalities and len(case.modalities) > 1


@contextmanager
def _let_look() -> Iterator[None]:
    """Warn where a file that is only looked at cannot be written, as while a program has it open: training goes on."""
    try:
        yield
    except (OSError, OutputError) as error:
        log.warning("The curves or pictures could not be written this time: %s", error)


def _check_origin(init: Start, saved: Mapping[str, Any], path: Path) -> None:
    """Refuse to pass over weights that a run did not begin from; one that says nothing of it is gone on with."""
    if "origin" in saved and saved["origin"].get("digest") != init.digest:
        raise InputError(
            f"{path} did not begin from those weights ({init.name}): choose another --state, or leave --init out to go "
            "on with it."
        )


def _check_unseen(names: Sequence[str], held_out: Sequence[str]) -> None:
    """Refuse to go on from weights that have seen what they are to be judged on."""
    both = sorted(set(names) & set(held_out))
    if both:
        raise InputError(
            f"{', '.join(both)} {'was' if len(both) == 1 else 'were'} trained on already and cannot be held out: "
            "name other cases in the configuration's data.held_out, or start from other weights."
        )


def train(
    data: Path,
    folder: Path,
    config: TrainingConfig,
    init: Optional[Start] = None,
    minutes: Optional[float] = None,
    device: str = "cpu",
    progress: Optional[ProgressCallback] = None,
    cancel: Optional[CancelFlag] = None,
) -> Tuple[Run, bool]:
    """Read the cases, go on with the run in ``folder`` (or begin it), and stop at its end or when asked.

    :param data: The data folder; see :mod:`.cases`.
    :param minutes: Time limit, reading the cases included.
    :return: The run, and whether it is complete.
    :raises InputError: when the data or the state cannot be used.
    :raises OutputError: when another run is at work in ``folder``.
    :raises ModelError: when the training diverges; the state that was saved before stays.
    """
    stop = StopRequest(minutes, cancel)
    # Denormal numbers at the start of training cost a factor of 25 on a CPU.
    torch.set_flush_denormal(True)
    where = distributed.local_device(device)
    distributed.start(where)
    with stop.signals(), only_one(folder) if distributed.rank() == 0 else nullcontext():
        to_train, held_out = case_folders.split(case_folders.find(data, config.data.folders), config.data)
        run = Run(config, _read(to_train, config), _read(held_out, config), folder, where, init)
        return run, run.go(stop, progress)


def _read(folders: Sequence[Path], config: TrainingConfig) -> List[Case]:
    return case_folders.load_all(folders, config.data)
