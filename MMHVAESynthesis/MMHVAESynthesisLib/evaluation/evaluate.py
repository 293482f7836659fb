"""The whole evaluation of a model on held-out cases: tables, baselines, pictures, and one file of figures."""

import json
import logging
import math
from pathlib import Path
from typing import Any, Collection, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from ..errors import InputError
from ..modalities import US
from ..models.loading import Model
from ..progress import CancelFlag, ProgressCallback, Reporter
from ..training import cases as case_folders
from ..training import config as configurations
from ..training.cases import Case
from ..training.config import DataConfig, TrainingConfig
from ..training.pictures import save_grid, synthesis
from ..training.running import TEMPERATURE, run
from . import baselines, pictures, results
from .metrics import Perceptual
from .samples import Sample, mr_only, plain, simulated
from .table import Table, input_sets, violations
from .verdicts import WORSE_DB, verdicts

log = logging.getLogger(__name__)

_SWEEPS = 2
_SLICES_NOTE = "Slices are {0} x {0} windows of evenly spaced planes that are filled to a tenth or more."
_OWN_NOTE = (
    "What is given is drawn from its own expert alone, as in use: further inputs leave its figures as they are, and "
    "the mean over all sets holds them as often."
)
_SSIM_NOTE = "SSIM is the ordinary 2D one; the published call treats rows as channels."


def training_configuration(model: Model) -> TrainingConfig:
    """Return the configuration that a model was trained with; for a foreign one the published, at its spacing."""
    saved = model.header.training.get("config")
    if saved:
        return configurations.from_dict(saved)
    return TrainingConfig(sizes=model.header.sizes, data=DataConfig(spacing=model.header.spacing))


def names_to_judge_on(model: Model, chosen: Sequence[str] = ()) -> List[str]:
    """Return the names of the cases that a model may be judged on: the chosen ones, else those its training held out.

    :raises InputError: when the model was trained on one of them.
    """
    training = model.header.training
    names = list(chosen) or training.get("held_out") or list(training_configuration(model).data.held_out)
    leaked = sorted(set(training.get("cases", ())) & set(names))
    if leaked:
        raise InputError(f"The model was trained on {', '.join(leaked)}: evaluate it on cases that it has not seen.")
    return list(names)


class Evaluation:
    """One evaluation.

    :param model: What is evaluated.
    :param held_out: The cases it is evaluated on.
    :param to_train: Cases that the polynomial is fitted on; the model's own training cases.
    :param folder: Where tables and pictures go; made where it is absent.
    :param planes: At most so many slices a sweep and head.
    :param reporter: Counts the sets of inputs; asked before each sample and baseline whether to stop.
    """

    def __init__(
        self,
        model: Model,
        config: TrainingConfig,
        held_out: Sequence[Case],
        to_train: Sequence[Case],
        folder: Path,
        planes: int,
        reporter: Reporter,
    ):
        self.network, self.config, self.folder, self._reporter = model.network, config, folder, reporter
        self.perceptual = Perceptual()
        self.sweeps = _present(
            [sweep for number, case in enumerate(held_out) for sweep in self._sweeps(case, planes, 1000 * number)]
        )
        self.heads = _present([mr_only(case, config, planes) for case in held_out])
        real = [case for case in held_out if case.modalities == (US,) and US in config.sizes.modalities]
        self.real = _present([plain(case, config, planes) for case in real])
        self.fitting = [sample.batch for sample in _present([mr_only(case, config, planes) for case in to_train])]
        self.swept = _present(
            [self._swept(case, planes, 1000 * number + 500) for number, case in enumerate(to_train)]
            if self.sweeps
            else []
        )

    def _sweeps(self, case: Case, planes: int, seed: int) -> List[Optional[Sample]]:
        """Return planes with iUS and MR: real ones where the case has both, else of simulated sweeps over its MR.

        The second sweep of a case looks anywhere, the first at its tumour; each has a probe and looks of its own. Seeds
        go by a case's place among the held-out ones: with other cases beside it its sweeps are others, so that figures
        compare only where the same cases are held out. From one contrast alone no iUS is simulated, as in training.
        """
        self._reporter.check()
        mr = set(case.modalities) - {US}
        if US not in self.config.sizes.modalities or not mr & set(self.config.sizes.modalities):
            return []
        if US in case.modalities:
            return [plain(case, self.config, planes)]
        if len(mr) < 2:
            return []
        return [simulated(case, self.config, planes, seed + n, at_tumour=n == 0) for n in range(_SWEEPS)]

    def _swept(self, case: Case, planes: int, seed: int) -> Optional[Sample]:
        """Return planes of one simulated sweep over a training case; None where it has too little MR for one."""
        self._reporter.check()
        if US in case.modalities or len(case.modalities) < 2 or US not in self.config.sizes.modalities:
            return None
        return simulated(case, self.config, planes, seed, at_tumour=True)

    @property
    def simulated(self) -> Set[int]:
        """Numbers of the sweeps whose iUS is simulated."""
        return {number for number, sample in enumerate(self.sweeps) if sample.depth is not None}

    @property
    def with_real_us(self) -> List[Sample]:
        """The samples with real iUS: of cases that have nothing else, and of those that have MR too."""
        return [*self.real, *(sample for sample in self.sweeps if sample.depth is None)]

    def table(self, samples: Sequence[Sample], name: str) -> Table:
        """Evaluate all sets of inputs on some samples; write ``<name>.csv`` and ``<name>.md``.

        Below the table stands what the figures are of, and which samples have simulated iUS.
        """
        table = Table()
        present = {m for sample in samples for m in sample.batch.inputs}
        for inputs in input_sets(self.config.sizes.modalities):
            if not set(inputs) <= present:
                # They are counted where the total is: nothing is left to wait for.
                if name == results.SWEEPS or US not in inputs:
                    self._reporter.step()
                continue
            for number, sample in enumerate(samples):
                if set(inputs) <= set(sample.batch.inputs):
                    self._reporter.check()
                    images = run(self.network, sample.batch, inputs, seed=number).images
                    for target, wanted in sample.batch.targets.items():
                        table.add(inputs, target, wanted, images[target], self.perceptual, number)
            self._reporter.step()
        table.write_csv(self.folder / f"{name}.csv")
        slices = _SLICES_NOTE.format(self.config.sizes.size)
        own = _OWN_NOTE if self.network.sizes.reconstruction == "own" else ""
        note = " ".join(filter(None, [slices, _origin_of_us(samples), own, _SSIM_NOTE, self.perceptual.reason]))
        text = f"{table.to_markdown()}\n{note} T = {TEMPERATURE}.\n"
        (self.folder / f"{name}.md").write_text(text, encoding="utf-8")
        return table

    def polynomials(self) -> Dict[str, Table]:
        """Judge polynomials from one MR to another on the heads: fitted on training cases, and on the volume itself."""
        trained, itself = Table(), Table()
        modalities = [name for name in self.config.sizes.modalities if name != US]
        for source, target in baselines.pairs(modalities):
            self._reporter.check()
            fitting = [batch for batch in self.fitting if {source, target} <= set(batch.inputs)]
            general = baselines.Polynomial.fit(fitting, (source,), target) if fitting else None
            for sample in self.heads:
                if not {source, target} <= set(sample.batch.inputs):
                    continue
                own = baselines.Polynomial.fit([sample.batch], (source,), target)
                for table, polynomial in ((trained, general), (itself, own)):
                    if polynomial is not None:
                        wanted = sample.batch.targets[target]
                        table.add((source,), target, wanted, polynomial(sample.batch), self.perceptual)
        return {"training cases": trained, "volume itself": itself}

    def depth_profiles(self) -> Dict[str, Table]:
        """Judge images that depend on depth alone on the sweeps: fitted on training cases, and on the sweep itself."""
        trained, itself = Table(), Table()
        swept = [(sample.batch, sample.depth) for sample in self.swept]
        for name in self.config.sizes.modalities:
            self._reporter.check()
            fitting = [(batch, depth) for batch, depth in swept if name in batch.targets]
            general = baselines.DepthProfile.fit(fitting, US, name) if fitting else None
            for sample in self.sweeps:
                if sample.depth is None or name not in sample.batch.targets:
                    continue
                own = baselines.DepthProfile.fit([(sample.batch, sample.depth)], US, name)
                for table, profile in ((trained, general), (itself, own)):
                    if profile is not None:
                        image = profile(sample.batch, sample.depth)
                        table.add((US,), name, sample.batch.targets[name], image, self.perceptual)
        return {"training cases": trained, "sweep itself": itself}

    def draw(self) -> Dict[str, Any]:
        """Write the pictures; return the correlations of the latents of different inputs."""
        correlations = {}
        network, from_us = self.network, (US,)
        for case, sample in _titled(self.real):
            self._reporter.check()
            places = _spread(sample.batch.size, 4)
            rows = synthesis(network, sample.batch, places, from_us)
            titles = pictures.titles_of_synthesis(network, sample.batch, places, from_us)
            save_grid(rows, self.folder / results.REAL.format(case), *titles)
        for case, sample in _titled(self.with_real_us):
            self._reporter.check()
            rows = pictures.temperature(network, sample.batch, sample.batch.size // 2, from_us)
            titles = pictures.titles_of_temperature(network, from_us)
            save_grid(rows, self.folder / results.TEMPERATURE.format(case), *titles)
        for number, sample in enumerate(self.sweeps):
            self._reporter.check()
            places, middle = _spread(sample.batch.size, 3), sample.batch.size // 2
            rows = synthesis(network, sample.batch, places, from_us)
            titles = pictures.titles_of_synthesis(network, sample.batch, places, from_us)
            save_grid(rows, self.folder / results.SWEEP.format(number, sample.case), *titles)
            figure = pictures.latents(network, sample.batch, middle)
            if figure is not None:
                titles = pictures.titles_of_latents(sample.batch)
                save_grid(figure[0], self.folder / results.LATENTS.format(number, sample.case), *titles)
                correlations[f"{number} {sample.case}"] = np.round(figure[1], 3).tolist()
        return correlations


def _with_simulated_us(samples: Sequence[Sample]) -> List[str]:
    """Return number and case of each sample whose iUS is simulated."""
    return [f"{number} {sample.case}" for number, sample in enumerate(samples) if sample.depth is not None]


def _origin_of_us(samples: Sequence[Sample]) -> str:
    """Return a sentence that says of how many samples, and of which, the iUS is simulated; nothing without iUS."""
    count = sum(US in sample.batch.inputs for sample in samples)
    simulated = _with_simulated_us(samples)
    if not count:
        return ""
    which = f" ({', '.join(simulated)})" if simulated else ""
    return f"The iUS of {len(simulated)} of {count} sweeps is simulated{which}."


def _titled(samples: Sequence[Sample]) -> List[Tuple[str, Sample]]:
    """Return each sample with what its pictures are called after."""
    return list(zip(results.titles([sample.case for sample in samples]), samples))


def _present(samples: Sequence[Optional[Sample]]) -> List[Sample]:
    return [sample for sample in samples if sample is not None]


def _usable(folders: Sequence[Path], data: DataConfig) -> List[Case]:
    """Return the cases that can be read: what baselines are fitted on may lack one."""
    cases: List[Case] = []
    for folder in folders:
        try:
            cases += case_folders.load_all([folder], data)
        except InputError as error:
            log.warning("no baseline is fitted on %s: %s", folder.name, error)
    return cases


def _search(data: Path, config: DataConfig, chosen: Sequence[str]) -> Tuple[List[Path], str]:
    """Return the case folders, and in words where they were sought.

    In the folders of the training; in all below ``data`` where cases are chosen by name, or none of those is there.
    """
    if chosen or not any((data / name).is_dir() for name in config.folders):
        return case_folders.find(data), "any folder below it"
    return case_folders.find(data, config.folders), f"{', '.join(config.folders)} (the folders of the model's training)"


def _to_fit_on(found: Sequence[Path], data: Path, config: DataConfig, seen: Collection[str]) -> List[Path]:
    """Return the folders of the model's own training cases; all where nothing is known of them."""
    there = {data / name for name in config.folders if (data / name).is_dir()}
    return [case for case in found if (case.name in seen or not seen) and (case.parent in there or not there)]


def _spread(count: int, wanted: int) -> List[int]:
    """Return ``wanted`` places spread over the inner part of ``count``."""
    return sorted({int(place) for place in np.linspace(0, count - 1, wanted + 2)[1:-1].round()})


def _finite(value: Any) -> Any:
    """Return a tree of figures with NaN as None, so that it is JSON."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def evaluate(
    model: Model,
    data: Path,
    folder: Path,
    planes: int = 24,
    held_out: Sequence[str] = (),
    progress: Optional[ProgressCallback] = None,
    cancel: Optional[CancelFlag] = None,
    overwrite: bool = False,
) -> Dict[str, Any]:
    """Evaluate a model on the held-out cases of a data folder and write everything to ``folder``: all of it, or
    nothing.

    :param held_out: Names of the cases to evaluate on, in whichever folder; none means those that the model was not
        trained on on purpose, in the folders of its training.
    :param overwrite: Whether to put it in place of former results.
    :return: The figures and verdicts, as written to ``figures.json``.
    :raises InputError: when the data hold none of the held-out cases, or the model was trained on one of them.
    :raises OutputError: when results are there and may not be overwritten, or a file cannot be.
    """
    config = training_configuration(model)
    names = names_to_judge_on(model, held_out)
    found, where = _search(data, config.data, held_out)
    unknown = sorted(set(held_out) - {case.name for case in found})
    if unknown:
        raise InputError(f"{data} holds no case called {', '.join(unknown)} in {where}: look at --held-out.")
    tested = case_folders.load_all([case for case in found if case.name in names], config.data)
    if not tested:
        raise InputError(
            f"{data} holds none of the held-out cases {', '.join(names)} in {where}: name others with --held-out."
        )
    trained = _to_fit_on(found, data, config.data, model.header.training.get("cases", ()))
    fitting = _usable([case for case in trained if case.name not in names], config.data)
    sets = [input_sets(config.sizes.modalities), input_sets([m for m in config.sizes.modalities if m != US])]
    reporter = Reporter("evaluating", sum(map(len, sets)), progress, cancel)
    with results.put_in_place(folder, overwrite) as part:
        evaluation = Evaluation(model, config, tested, fitting, part, planes, reporter)
        pictured = evaluation.sweeps, evaluation.real, evaluation.with_real_us
        cases = ([sample.case for sample in samples] for samples in pictured)
        results.check_absent((folder / name for name in results.picture_names(*cases)), overwrite)
        return _evaluate(model, evaluation)


def _evaluate(model: Model, evaluation: Evaluation) -> Dict[str, Any]:
    """Evaluate a model on cases; write tables, pictures and figures."""
    sweeps = evaluation.table(evaluation.sweeps, results.SWEEPS)
    heads = evaluation.table(evaluation.heads, results.HEADS)
    figures: Dict[str, Any] = {
        "model": model.header.name,
        "digest": model.header.digest,
        "reconstruction": model.header.sizes.reconstruction,
        "temperature": TEMPERATURE,
        "cases": {
            "sweeps": [sample.case for sample in evaluation.sweeps],
            "heads": [sample.case for sample in evaluation.heads],
            "real iUS": [sample.case for sample in evaluation.real],
        },
        "simulated_us": {
            "sweeps": len(evaluation.simulated),
            "of": len(evaluation.sweeps),
            "which": _with_simulated_us(evaluation.sweeps),
        },
        "verdicts": verdicts(
            sweeps, heads, evaluation.polynomials(), evaluation.depth_profiles(), sweeps.only(evaluation.simulated)
        ),
        "more_inputs_worse": {"sweeps": violations(sweeps, WORSE_DB), "heads": violations(heads, WORSE_DB)},
        "latent_correlations": evaluation.draw(),
        "lpips": evaluation.perceptual.reason or "computed",
    }
    (evaluation.folder / results.FIGURES).write_text(json.dumps(_finite(figures), indent=2) + "\n", encoding="utf-8")
    return _finite(figures)
