"""The panel: its sections put together, and what its buttons do."""

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import qt
import slicer
from slicer.i18n import tr as _

from ..modalities import MODALITIES
from ..models import catalogue, licences
from ..request import ONE_DIRECTION
from ..scene.provenance import ROLE_IMAGE, noted
from . import consent, pytorch
from . import options as options_
from .inputs import Inputs
from .machine import Machine
from .options import Options
from .outputs import Outputs
from .process import Start
from .registration import Registration
from .results import Results
from .texts import duration
from .work import Work, copy


class Panel:
    """What stands between the widgets and the work.

    :param ui: The widgets of the .ui file, as attributes.
    :param start: Starts the command line in a child.
    """

    def __init__(self, ui: Any, start: Start):
        self.ui, self._start = ui, start
        self._parameters: Optional[Any] = None
        self._torch, self._is_due = "", False
        self.inputs, self.outputs = Inputs(ui), Outputs(ui)
        self.options = Options(ui, self.update)
        self.work = Work(ui, self.update)
        self.results = Results(ui, self.repeat)
        self._models: Dict[str, Tuple[Optional[str], Any]] = {}
        self.registration = Registration(
            ui,
            self.work,
            lambda arguments: self._start(arguments),
            self.options.device,
            lambda: self._torch,
            self._model_of,
            self.update_soon,
        )
        self.machine = Machine(ui, self.options, lambda arguments: self._start(arguments), self._on_torch)
        # CTK may show what was hidden while a section was folded: on unfolding everything is shown as it should be.
        for section in (ui.inputsButton, ui.outputsButton, ui.settingsButton, ui.advancedButton, ui.registrationButton):
            section.connect("contentsCollapsed(bool)", self.update)
        ui.applyButton.connect("clicked(bool)", self.on_apply)
        ui.previewButton.connect("clicked(bool)", self.on_preview)
        ui.downloadButton.connect("clicked(bool)", self.on_download)
        ui.copyButton.connect("clicked(bool)", self.on_copy)
        ui.installButton.connect("clicked(bool)", self.on_install)

    def bind(self, parameters: Optional[Any]) -> None:
        """Work on a parameter node from now on; None on none."""
        self._parameters = parameters
        for section in (self.options, self.outputs, self.registration, self.inputs):
            section.bind(parameters)
        if parameters is not None:
            self._torch = pytorch.problem()
            self.results.follow()
            self.results.update()
        self.update()

    def on_scene_close(self) -> None:
        """Stop what is running for the scene, whose result would find another one, and forget what was shown of it."""
        self.work.abandon()
        self.results.forget()
        self.registration.forget()

    def let_go(self, node: Any, names: Sequence[str]) -> None:
        """Choose nothing wherever a node is chosen that is about to leave the scene.

        :param names: Of the parameters that could be that node.
        """
        chosen = [name for name in names if getattr(self._parameters, name) is node]
        if chosen:
            with slicer.util.NodeModify(self._parameters.parameterNode):
                for name in chosen:
                    setattr(self._parameters, name, None)
                self.inputs.note()

    def on_added(self, node: Any) -> None:
        """Take note that a node came into the scene."""
        if node.IsA("vtkMRMLScalarVolumeNode"):
            self.inputs.guess_soon(node)
        self._list_soon(node)

    def on_removed(self, node: Any) -> None:
        """Take note that a node left the scene, by whatever hand, also while the panel is not open."""
        self.work.on_removed(node)
        if self._parameters is None:
            return
        if node.IsA("vtkMRMLScalarVolumeNode") and noted(node).get("role") == ROLE_IMAGE:
            self.results.update()
        self._list_soon(node)

    def _list_soon(self, node: Any) -> None:
        if node.IsA("vtkMRMLDisplayableNode"):
            self.update_soon()

    def update_soon(self, *_args) -> None:
        """Show everything as it is once the work that goes on in the scene is done, however much it is."""
        if not self._is_due:
            self._is_due = True
            qt.QTimer.singleShot(0, self._update_now)

    def _update_now(self) -> None:
        self._is_due = False
        # Meanwhile the panel may have been left, or have gone away.
        if self._parameters is not None:
            # Runs are made in the console too.
            self.results.update()
            self.update()

    def close(self) -> None:
        """End what is running, and follow nothing in the scene any more: the panel goes away."""
        self.registration.bind(None)
        self.work.stop()
        self.machine.close()

    def update(self, *_args) -> None:
        """Show everything as it is now."""
        if self._parameters is None:
            self.work.show("")
            self.ui.applyButton.enabled = self.ui.previewButton.enabled = False
            self.registration.update()
            return
        self.inputs.update()
        self.outputs.update()
        self.options.update()
        self.results.let_repeat(not self.work.is_running)
        self.registration.update()
        if self.work.shown_for not in (None, self.inputs.nodes()):
            self.work.forget()
        self.work.show(self.missing(), offer_install=bool(self._torch))

    def missing(self) -> str:
        """Return what Apply still waits for, as a sentence for the user; empty when it can start."""
        if self._torch:
            return f"{self._torch} {_('The button Install PyTorch does it for you, after asking.')}"
        return self.inputs.problem() or self.outputs.problem(self.inputs.nodes()) or self.options.problem()

    def on_apply(self, *_args) -> None:
        """Start, or stop what is running."""
        if self.work.is_running:
            self.work.cancel()
        elif self._may_overwrite():
            self._synthesize(preview=False)

    def _may_overwrite(self) -> bool:
        """Ask before a volume is overwritten that this software did not make: it may be a patient's only copy."""
        names = ", ".join(f"'{node.GetName()}'" for node in self.outputs.of_others())
        question = _(
            "Chosen as output, but not made by this software: {names}. Apply replaces all voxels there by synthetic "
            "ones, which cannot be undone. Overwrite?"
        )
        return not names or slicer.util.confirmOkCancelDisplay(question.format(names=names), _("Overwrite a volume"))

    def on_preview(self, *_args) -> None:
        """Synthesise one slice."""
        self._synthesize(preview=True)

    def on_download(self, *_args) -> None:
        """Download the chosen model, after the user agreed to a licence that restricts its use."""
        from .jobs import LastingJob

        name = self.options.model_to_download()
        if not consent.agrees(name):
            return

        def done(job) -> str:
            self.options.reload_models()
            return _("The model '{name}' is here, and verified.").format(name=name)

        restricted = licences.restriction(catalogue.find(name))
        arguments = ["models", "download", name, *(["--accept-licence"] if restricted else [])]
        self.work.begin(lambda: LastingJob(arguments, self._start), done, of_scene=False)

    def on_copy(self, *_args) -> None:
        """Copy a report to the clipboard."""
        copy(self.report())

    def report(self) -> str:
        """Return versions, settings and log, without the names of volumes."""
        return self.work.diagnostics(options_.facts(self.options))

    def on_install(self, *_args) -> None:
        """Install PyTorch, after asking."""
        works, said = pytorch.install()
        self._torch = "" if works else pytorch.problem()
        if said:
            self.work.say(said, torch_works=works)
        if works:
            self.machine.look_again()

    def _on_torch(self, problem: str) -> None:
        self._torch = problem
        self.update()

    def repeat(self, run: Any) -> None:
        """Set the panel to a run's inputs and settings and start it again, into new volumes."""
        inputs = run.inputs()
        gone = [name for modality, name in run.input_names().items() if modality not in inputs]
        if gone:
            self.work.say(_("{names} left the scene: this run cannot be repeated.").format(names=", ".join(gone)))
        elif not self._choose_model_of(run):
            name = run.noted.get("model", "")
            self.work.say(_("Choose the model '{name}' first: this run was made with it.").format(name=name))
        elif not self.work.is_running:
            try:
                self._numbers_from(run)
            except ValueError as error:
                text = _("The panel cannot set what this run had ({error}): repeat it in the Python console.")
                self.work.say(text.format(error=error))
                return
            self._parameters_from(run, inputs)
            directions = int(run.setting("directions", ONE_DIRECTION))
            half = bool(run.setting("halfPrecision", False))
            self._synthesize(preview=False, directions=directions, half_precision=half)

    def _choose_model_of(self, run: Any) -> bool:
        if self._remembers(run.id):
            return self.options.choose_model(self._models[run.id][0])
        return self.options.choose_same_model(run.noted.get("model", ""), run.noted.get("modelDigest", ""))

    def _model_of(self, run: str) -> Optional[str]:
        """Return the model of a run of this session, by its ID; None for the default, and where it is not known."""
        return self._models[run][0] if self._remembers(run) else None

    def _remembers(self, run: str) -> bool:
        """Return whether a run's model is known and its file is still the one that the run was made with."""
        return run in self._models and self._models[run][1] == catalogue.stamp(self._models[run][0])

    def _numbers_from(self, run: Any) -> None:
        """Set what may lie outside the panel's ranges, as the console allows: then ValueError, and nothing is set."""
        parameters = self._parameters
        before = parameters.samples, parameters.seed
        samples = int(run.setting("samples", 1))
        try:
            parameters.seed = int(run.setting("seed", 0))
            parameters.samples = samples if samples > 1 else parameters.samples
        except ValueError:
            parameters.samples, parameters.seed = before
            raise
        parameters.uncertainty = samples > 1

    def _parameters_from(self, run: Any, inputs: Mapping[str, Any]) -> None:
        parameters = self._parameters
        with slicer.util.NodeModify(parameters.parameterNode):
            for modality in MODALITIES:
                setattr(parameters, f"{modality}Volume", inputs.get(modality))
                setattr(parameters, f"{modality}Target", modality in run.setting("targets", []))
                setattr(parameters, f"{modality}Output", None)
            parameters.temperature = float(run.setting("temperature", parameters.temperature))
            parameters.sharedNoise = run.noted.get("noise") == "shared"

    def _synthesize(self, preview: bool, directions: Optional[int] = None, half_precision: bool = False) -> None:
        """Start, once the user agreed to the model's licence.

        :param directions: Those of the run that is repeated; None leaves them to the user's choice.
        :param half_precision: That of the run that is repeated, which only the console has.
        """
        from ..scene.work import prepare
        from .synthesis import SynthesisJob

        model = self.options.model()
        if not consent.agrees(model):
            return
        self.inputs.decide()
        used = model, catalogue.stamp(model)
        prepared: List[Any] = []

        def make():
            parameters = self._parameters
            work = prepare(
                self.inputs.nodes(),
                self.outputs.targets(),
                # A preview writes into no volume, and so needs none.
                None if preview else self.outputs.nodes(),
                model=model,
                temperature=parameters.temperature,
                samples=self.outputs.samples(),
                seed=parameters.seed,
                device=self.options.device(),
                noise="shared" if parameters.sharedNoise else "independent",
                directions=directions or (None if parameters.allDirections else ONE_DIRECTION),
                workers=self.options.workers(),
                half_precision=half_precision,
            )
            job = SynthesisJob(work.request, self._start, preview)
            # The images are in files now: only the nodes are needed from here on.
            prepared.append(work.without_images())
            return job

        def done(job) -> str:
            return self._show_preview(prepared[0], job.made) if preview else self._add(prepared[0], job.made, used)

        self.work.begin(make, done, needs=lambda: prepared[0].needed())

    def _show_preview(self, work: Any, shown: Any) -> str:
        from .preview import show

        if self._parameters is not None and self.inputs.nodes() != work.sources:
            return _("The inputs were changed while the preview was computed: it is not shown. Preview again.")
        self.work.shown_for = work.sources
        self.work.warn([*shown.warnings, *work.input_warnings()])
        return show(self.ui.previewPicture, shown, self.work.seconds)

    def _add(self, work: Any, result: Any, used: Tuple[Optional[str], Any]) -> str:
        nodes = work.add(result)
        self.results.update()
        made = next(iter(nodes.values()))
        self.work.warn_of(made)
        run = self.results.run_of(made)
        self._models[run.id] = used
        self.results.show(run)
        self.registration.propose_where_empty()
        names = ", ".join(node.GetName() for node in nodes.values())
        return _("Done in {time}: {names}.").format(time=duration(self.work.seconds), names=names)
