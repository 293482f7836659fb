"""The panel's section Registration: pre-operative MR to the ultrasound, through the synthetic MR."""

from typing import Any, Callable, Dict, List, Optional

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ..errors import MMHVAEError, ModelError
from ..modalities import MODALITIES, MR, US
from ..request import AFFINE, ENGINES, RIGID
from ..scene.provenance import INPUT, is_synthetic, mr_behind, noted
from ..scene.registrations import registrations
from . import consent, settings
from .guess import guess
from .process import Start
from .work import Work

_LNCC, _MATTES, _BRAINSFIT = "lncc", "mattes", "brainsfit"

_POINT_EVENTS = (
    "PointAddedEvent",
    "PointRemovedEvent",
    "PointPositionDefinedEvent",
    "PointPositionUndefinedEvent",
)
_CARRIED = ("vtkMRMLVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLModelNode", "vtkMRMLMarkupsNode")


class Registration(VTKObservationMixin):
    """Which synthetic MR against which pre-operative MR, what else moves along, and the result.

    :param ui: The widgets.
    :param work: Runs the job.
    :param start: Starts the command line in a child.
    :param device: Returns where to compute.
    :param torch_problem: Returns what is wrong with PyTorch, in a sentence; empty where nothing is known to be.
    :param model_of: Returns the model that was chosen for a run of this session, by the run's ID; else None.
    :param update_soon: Has the panel updated, once for many changes of the scene.
    """

    def __init__(
        self,
        ui: Any,
        work: Work,
        start: Start,
        device: Callable[[], str],
        torch_problem: Callable[[], str],
        model_of: Callable[[str], Optional[str]],
        update_soon: Callable[..., None],
    ):
        super().__init__()
        self._ui, self._work, self._start = ui, work, start
        self._device, self._torch_problem, self._model_of = device, torch_problem, model_of
        self._update_soon = update_soon
        self._parameters: Optional[Any] = None
        self._listed: List[Any] = []
        self._moving: List[Any] = []
        self._watched: List[Any] = []
        self._names: List[str] = []
        self._doubts: List[str] = []
        self._note, self._undo_tip = "", ui.undoButton.toolTip
        self._fill()
        ui.engineSelector.connect("currentIndexChanged(int)", self._on_engine)
        ui.lookSelector.connect("currentIndexChanged(int)", self.look)
        ui.beforeCheckBox.connect("toggled(bool)", self.look)
        ui.registrationButton.connect("contentsCollapsed(bool)", self.propose_where_empty)
        ui.proposeButton.connect("clicked(bool)", self.propose)
        ui.registerButton.connect("clicked(bool)", self.on_register)
        ui.undoButton.connect("clicked(bool)", self.on_undo)
        ui.fadeSlider.connect("valueChanged(double)", self.on_fade)

    def _fill(self) -> None:
        titles = (_("Automatic"), _("LNCC (PyTorch)"), _("Mattes MI"), _("BRAINSFit"))
        for title in titles:
            self._ui.engineSelector.addItem(title)
        kept = settings.text(settings.ENGINE, ENGINES[0])
        self._ui.engineSelector.currentIndex = ENGINES.index(kept) if kept in ENGINES else 0
        for title in (_("Fade"), _("Checkerboard")):
            self._ui.lookSelector.addItem(title)

    def _on_engine(self, _index) -> None:
        settings.keep(settings.ENGINE, self._engine())
        self.update()

    def _engine(self) -> str:
        return ENGINES[max(0, self._ui.engineSelector.currentIndex)]

    def bind(self, parameters: Optional[Any]) -> None:
        """Work on a parameter node from now on; None on none."""
        self._parameters, self._note = parameters, ""
        self._watch([])
        if parameters is not None:
            self._follow()

    def _follow(self) -> None:
        """Say of the look what the views show: a scene just loaded, or one registration fewer, shows none of it."""
        from ..scene import registration_view

        kind, before = registration_view.looked_at()
        for widget in (self._ui.lookSelector, self._ui.beforeCheckBox):
            widget.blockSignals(True)
        self._ui.lookSelector.currentIndex = int(kind == registration_view.CHECKERBOARD)
        self._ui.beforeCheckBox.checked = before
        for widget in (self._ui.lookSelector, self._ui.beforeCheckBox):
            widget.blockSignals(False)

    def forget(self) -> None:
        """List nothing that could move along: the scene goes away, and all of it."""
        self._list([])

    def propose(self, *_args) -> None:
        """Choose the last run's synthetic MR, and the loaded MR whose names or DICOM tags speak for its contrasts."""
        from ..scene.loaded import loaded_volumes
        from ..scene.runs import runs

        made = runs()
        outputs = made[0].outputs if made else {}
        # MR that they were made from would be found to lie right, wherever it lies: registering it is refused. The
        # ultrasound says who the patient is.
        sources = [output.GetNodeReference(INPUT + m) for output in outputs.values() for m in MODALITIES]
        found = guess(loaded_volumes(), MR, taken=[node for node in sources if node is not None])
        with slicer.util.NodeModify(self._parameters.parameterNode):
            for modality in MR:
                volume = found.chosen.get(modality)
                setattr(self._parameters, f"{modality}Synthetic", outputs.get(modality))
                setattr(self._parameters, f"{modality}Preop", None if volume is None else volume.node)
        said = _("Proposed by the last run and the names of what is loaded: please check.")
        self._note = " ".join(filter(None, [said, found.sentence()]))
        self.update()

    def propose_where_empty(self, *_args) -> None:
        """Propose, unless something is chosen already, the section is folded, or nothing was synthesised yet."""
        from ..scene.runs import runs

        folded = self._ui.registrationButton.collapsed
        if self._parameters is not None and not folded and not self._chosen("Synthetic") and not self._chosen("Preop"):
            if runs():
                self.propose()

    def update(self) -> None:
        """Show what is missing, and what else could move along."""
        if self._parameters is None:
            self._ui.registerButton.enabled = self._ui.undoButton.enabled = False
            return
        self._list(self._others())
        last = self._last()
        if last is not None:
            self._follow()
        self._watch([each for each in dict.fromkeys([*self._landmarks(), *self._listed, last]) if each is not None])
        self._ui.completionCheckBox.enabled = self._engine() not in (_MATTES, _BRAINSFIT) and not self._torch_problem()
        missing = self.problem()
        self._ui.registerButton.enabled = not missing and not self._work.is_running
        doubts = [f"⚠ {doubt}" for doubt in self._doubts]
        said = "\n".join(filter(None, [missing or self._figures(), *doubts, self._note]))
        self._ui.registrationState.setText(said)
        self._ui.registrationState.setVisible(bool(said))
        is_made = last is not None
        self._ui.undoButton.enabled = is_made and not self._work.is_running
        self._ui.undoButton.toolTip = f"'{last.GetName()}': {self._undo_tip}" if is_made else self._undo_tip
        for widget in (self._ui.lookSelector, self._ui.beforeCheckBox):
            widget.enabled = is_made
        self._ui.fadeSlider.enabled = is_made and self._ui.lookSelector.currentIndex == 0

    def problem(self) -> str:
        """Return what Register waits for, in a sentence; empty where it can start, whatever there is to be doubted."""
        self._doubts = []
        synthetic, moving = self._chosen("Synthetic"), self._chosen("Preop")
        if not any(modality in moving for modality in synthetic):
            return _("Choose a synthetic MR and the pre-operative MR of the same contrast.")
        try:
            self._doubts = self._plan().warnings
            if self._engine() == _BRAINSFIT:
                _brainsfit()
        except MMHVAEError as error:
            return str(error)
        if self._engine() == _LNCC and self._torch_problem():
            return _("{problem} Or choose another engine.").format(problem=self._torch_problem())
        return ""

    def on_register(self, *_args) -> None:
        """Register, in a child or with BRAINSFit in Slicer."""
        from ..scene import registration
        from .brainsfit_job import BrainsfitJob
        from .registration_job import RegistrationJob

        planned: List[Any] = []
        self._note = ""

        def make():
            planned.append(self._plan())
            kind = AFFINE if self._parameters.affine else RIGID
            starts = {} if self._parameters.search else {"starts": 1}
            request = planned[0].request(
                kind=kind,
                engine=self._engine(),
                device=self._device(),
                completion=bool(self._parameters.completion),
                model=self._model(),
                **starts,
            )
            if request.engine == _BRAINSFIT:
                return BrainsfitJob(request, _brainsfit())
            self._check_licence(request)
            return RegistrationJob(request, self._start)

        def done(job) -> str:
            transform = registration.add(job.made, planned[0])
            self._work.warn_of(transform)
            self._ui.beforeCheckBox.checked = False
            self.look()
            confidence = f"{job.made.confidence:.1f}"
            said = _("Registered: '{name}'; repeats lie {confidence} mm apart. The section Registration says more.")
            if job.made.kept_start:
                said = _("Left where it was: '{name}' moves nothing; no better placement was found that holds.")
            return said.format(name=transform.GetName(), confidence=confidence)

        self._work.begin(make, done, needs=lambda: planned[0].needed())

    def _check_licence(self, request: Any) -> None:
        """Ask for the user's consent to the licence of the model that completes a registration, where one does.

        :raises ModelError: when it is refused.
        """
        if request.to_complete and not self._torch_problem() and not consent.agrees(request.model):
            what = self._ui.completionCheckBox.text
            raise ModelError(
                _(
                    "The registration was not started, since the licence of its model was not agreed to. Without "
                    "'{what}' it needs no model."
                ).format(what=what)
            )

    def on_undo(self, *_args) -> None:
        """Take the last registration back."""
        from ..scene import registration

        last = self._last()
        if last is not None:
            try:
                registration.undo(last)
                self._follow()
                self._work.say(_("The registration was taken back."))
            except MMHVAEError as error:
                self._work.fail(error)

    def on_fade(self, value) -> None:
        """Fade from the synthetic to the pre-operative MR in the views that show both, and in no others."""
        from ..scene import registration_view

        last = self._last()
        if last is not None:
            registration_view.fade(last, float(value))

    def look(self, *_args) -> None:
        """Show the last registration in the slice views, as chosen: fade or checkerboard, before or after."""
        from ..scene import registration_view

        last, ui = self._last(), self._ui
        if last is None:
            return
        kind = registration_view.CHECKERBOARD if ui.lookSelector.currentIndex else registration_view.FADE
        try:
            both = registration_view.show(last, kind, bool(ui.beforeCheckBox.checked), float(ui.fadeSlider.value))
        except MMHVAEError as error:
            self._work.fail(error)
            return
        names = [node.GetName() for node in both]
        ui.fadeSlider.toolTip = _("From '{synthetic}' to '{mr}'.").format(synthetic=names[0], mr=names[1])
        self.update()

    def _watch(self, nodes: List[Any]) -> None:
        """Follow these nodes and no others: which points they have, and what they are called."""
        self._names = [node.GetName() for node in nodes]
        if _are_same(nodes, self._watched):
            return
        self.removeObservers()
        self._watched = nodes
        for node in nodes:
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._on_modified)
            for event in _POINT_EVENTS if node.IsA("vtkMRMLMarkupsNode") else ():
                self.addObserver(node, getattr(node, event), self._update_soon)

    def _on_modified(self, *_event) -> None:
        # Whatever else changes of a node, as at each move of a point, is nothing to the panel.
        if [node.GetName() for node in self._watched] != self._names:
            self._update_soon()

    def _landmarks(self) -> List[Any]:
        return [self._parameters.fixedLandmarks, self._parameters.movingLandmarks]

    def _chosen(self, kind: str) -> Dict[str, Any]:
        nodes = {modality: getattr(self._parameters, f"{modality}{kind}") for modality in MR}
        return {modality: node for modality, node in nodes.items() if node is not None}

    def _model(self) -> Optional[str]:
        """Return the model that was chosen for the synthetic MR, a file too; None where that is not known any more."""
        made = {noted(node).get("run", "") for node in self._chosen("Synthetic").values()}
        return self._model_of(made.pop()) if len(made) == 1 else None

    def _plan(self) -> Any:
        from ..scene.registration_plan import plan

        synthetic = self._chosen("Synthetic")
        first = next(iter(synthetic.values()))
        return plan(
            synthetic,
            self._chosen("Preop"),
            us=first.GetNodeReference(INPUT + US),
            also=self._checked(),
            fixed_landmarks=self._parameters.fixedLandmarks,
            moving_landmarks=self._parameters.movingLandmarks,
        )

    def _list(self, nodes: List[Any]) -> None:
        """List what else could move along, what the user checked still checked."""
        items = self._ui.alsoList
        shown = [items.item(row).text() for row in range(items.count)]
        moving = list(self._chosen("Preop").values()) if self._parameters is not None else []
        is_known = _are_same(nodes, self._listed) and [node.GetName() for node in nodes] == shown
        if is_known and _are_same(moving, self._moving):
            return
        checked, listed, before = self._checked(), self._listed, self._moving
        items.clear()
        self._listed, self._moving = nodes, moving
        for node in nodes:
            item = qt.QListWidgetItem(node.GetName())
            follows, followed = _is_made_from(node, moving), _is_made_from(node, before) and _is_among(node, listed)
            # What was made from the MR is ticked once that is chosen, and no longer once it is not.
            is_checked = _is_among(node, checked) if follows == followed else follows
            item.setCheckState(qt.Qt.Checked if is_checked else qt.Qt.Unchecked)
            items.addItem(item)

    def _others(self) -> List[Any]:
        taken = [*self._chosen("Synthetic").values(), *self._chosen("Preop").values()]
        taken += [node.GetNodeReference(INPUT + US) for node in self._chosen("Synthetic").values()]
        taken += self._landmarks()
        return [
            node
            for kind in _CARRIED
            for node in slicer.util.getNodesByClass(kind)
            if not node.GetHideFromEditors()
            # What was made from MR lies on that and goes with it; what was made from the ultrasound stays.
            and (mr_behind(node) or not is_synthetic(node))
            and not _is_among(node, taken)
        ]

    def _checked(self) -> List[Any]:
        items = self._ui.alsoList
        states = [items.item(row).checkState() == qt.Qt.Checked for row in range(items.count)]
        return [node for node, checked in zip(self._listed, states) if checked and node.GetScene() is not None]

    def _last(self) -> Optional[Any]:
        made = registrations()
        return made[-1] if made else None

    def _figures(self) -> str:
        """Say how good the last registration is: its name, and the lines of its table, one below the other."""
        from ..scene.registration import TABLE

        last = self._last()
        table = None if last is None else last.GetNodeReference(TABLE)
        if table is None:
            return ""
        # What is chosen meanwhile may be another's.
        lines = [f"'{last.GetName()}':"]
        for row in range(table.GetNumberOfRows()):
            what, before, after, unit = (table.GetCellText(row, column) for column in range(4))
            change = f"{before} → {after}" if before else after
            lines.append(f"{what}: {change} {unit}".strip())
        return "\n".join(lines)


def _are_same(nodes: List[Any], others: List[Any]) -> bool:
    # Not by IDs: those of another scene's nodes are the same.
    return len(nodes) == len(others) and all(new is old for new, old in zip(nodes, others))


def _is_among(node: Any, nodes: List[Any]) -> bool:
    return any(node is each for each in nodes)


def _is_made_from(node: Any, mr: List[Any]) -> bool:
    return any(_is_among(source, mr) for source in mr_behind(node))


def _brainsfit() -> Any:
    """Return what runs BRAINSFit; raises DependencyError, with a sentence, in a Slicer without it."""
    from ..scene import brainsfit

    return brainsfit.runner()
