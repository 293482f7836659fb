"""The panel's section Registration: pre-operative MR to the ultrasound, through the synthetic MR."""

from typing import Any, Dict, List, Optional

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import MMHVAEError
from ..modalities import US, label, recognise
from ..request import AFFINE, RIGID
from ..scene.provenance import INPUT, PREFIX, is_synthetic
from .process import Start
from .work import Work

MR = ("t2", "cet1", "flair")
_ENGINES = (("auto", "Automatic"), ("lncc", "LNCC (needs PyTorch)"), ("mattes", "Mattes mutual information"))
_REGISTRATION = PREFIX + "registration"
"""The attribute of scene/registration.py, which is not imported before it is needed: it brings SimpleITK with it."""

_CARRIED = ("vtkMRMLVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLModelNode", "vtkMRMLMarkupsNode")


class Registration:
    """Which synthetic MR against which pre-operative MR, what else moves along, and the result.

    :param ui: The widgets.
    :param work: Runs the job.
    :param start: Starts the command line in a child.
    """

    def __init__(self, ui: Any, work: Work, start: Start):
        self._ui, self._work, self._start = ui, work, start
        self._parameters: Optional[Any] = None
        self._listed: List[Any] = []
        for _key, title in _ENGINES:
            ui.engineSelector.addItem(_(title))
        ui.proposeButton.connect("clicked(bool)", self.propose)
        ui.registerButton.connect("clicked(bool)", self.on_register)
        ui.undoButton.connect("clicked(bool)", self.on_undo)
        ui.fadeSlider.connect("valueChanged(double)", self.on_fade)
        for selector in (ui.fixedLandmarks, ui.movingLandmarks):
            selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda *_args: self.update())

    def bind(self, parameters: Optional[Any]) -> None:
        """Work on a parameter node from now on; None on none."""
        self._parameters = parameters

    def propose(self, *_args) -> None:
        """Choose the last run's synthetic MR, and the loaded MR whose names or DICOM tags speak for its contrasts."""
        from ..scene.loaded import loaded_volumes
        from ..scene.runs import runs

        made = runs()
        outputs = made[0].outputs if made else {}
        volumes = loaded_volumes()
        with slicer.util.NodeModify(self._parameters.parameterNode):
            for modality in MR:
                fits = [volume.node for volume in volumes if recognise(volume.name, volume.dicom) == modality]
                setattr(self._parameters, f"{modality}Synthetic", outputs.get(modality))
                setattr(self._parameters, f"{modality}Preop", fits[0] if len(fits) == 1 else None)
        self._list_others()

    def update(self) -> None:
        """Show what is missing, and what else could move along."""
        if self._parameters is None:
            self._ui.registerButton.enabled = False
            return
        self._list_others()
        missing = self.problem()
        self._ui.registerButton.enabled = not missing and not self._work.is_running
        self._ui.registrationState.setText(missing or self._figures())
        self._ui.undoButton.enabled = self._last() is not None and not self._work.is_running

    def problem(self) -> str:
        """Return what Register waits for, in a sentence; empty where it can start."""
        synthetic, moving = self._chosen("Synthetic"), self._chosen("Preop")
        if not any(modality in moving for modality in synthetic):
            return _("Choose a synthetic MR and the pre-operative MR of the same contrast.")
        try:
            self._plan()
        except MMHVAEError as error:
            return str(error)
        return ""

    def on_register(self, *_args) -> None:
        """Register in a child."""
        from ..scene import registration
        from .registration_job import RegistrationJob

        planned: List[Any] = []

        def make():
            planned.append(self._plan())
            engine = _ENGINES[max(0, self._ui.engineSelector.currentIndex)][0]
            kind = AFFINE if self._parameters.affine else RIGID
            return RegistrationJob(planned[0].request(kind=kind, engine=engine), self._start)

        def done(job) -> str:
            self._work.warn(job.made.warnings)
            transform = registration.add(job.made, planned[0])
            self._show_both(planned[0])
            return _("Registered: '{name}'. {figures}").format(name=transform.GetName(), figures=self._figures())

        self._work.begin(make, done)

    def on_undo(self, *_args) -> None:
        """Take the last registration back."""
        from ..scene import registration

        last = self._last()
        if last is not None:
            try:
                registration.undo(last)
                self._work.say(_("The registration was taken back."))
            except MMHVAEError as error:
                self._work.fail(error)

    def on_fade(self, value) -> None:
        """Fade from the synthetic to the pre-operative MR in the views that show both."""
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if composite.GetForegroundVolumeID():
                composite.SetForegroundOpacity(float(value))

    def _chosen(self, kind: str) -> Dict[str, Any]:
        nodes = {modality: getattr(self._parameters, f"{modality}{kind}") for modality in MR}
        return {modality: node for modality, node in nodes.items() if node is not None}

    def _plan(self) -> Any:
        from ..scene.registration_plan import plan

        synthetic = self._chosen("Synthetic")
        first = next(iter(synthetic.values()))
        return plan(
            synthetic,
            self._chosen("Preop"),
            us=first.GetNodeReference(INPUT + US),
            also=self._checked(),
            fixed_landmarks=self._ui.fixedLandmarks.currentNode(),
            moving_landmarks=self._ui.movingLandmarks.currentNode(),
        )

    def _list_others(self) -> None:
        """List what else could move along, what the user checked still checked."""
        nodes = self._others()
        if [node.GetID() for node in nodes] == [node.GetID() for node in self._listed]:
            return
        checked = self._checked()
        items = self._ui.alsoList
        items.clear()
        self._listed = nodes
        for node in nodes:
            item = qt.QListWidgetItem(node.GetName())
            is_checked = any(node is each for each in checked)
            item.setCheckState(qt.Qt.Checked if is_checked else qt.Qt.Unchecked)
            items.addItem(item)

    def _others(self) -> List[Any]:
        taken = [*self._chosen("Synthetic").values(), *self._chosen("Preop").values()]
        taken += [node.GetNodeReference(INPUT + US) for node in self._chosen("Synthetic").values()]
        taken += [self._ui.fixedLandmarks.currentNode(), self._ui.movingLandmarks.currentNode()]
        return [
            node
            for kind in _CARRIED
            for node in slicer.util.getNodesByClass(kind)
            if not node.GetHideFromEditors() and not is_synthetic(node) and not any(node is each for each in taken)
        ]

    def _checked(self) -> List[Any]:
        items = self._ui.alsoList
        states = [items.item(row).checkState() == qt.Qt.Checked for row in range(items.count)]
        return [node for node, checked in zip(self._listed, states) if checked and node.GetScene() is not None]

    def _last(self) -> Optional[Any]:
        nodes = slicer.util.getNodesByClass("vtkMRMLLinearTransformNode")
        made = [node for node in nodes if node.GetAttribute(_REGISTRATION) == "1"]
        return made[-1] if made else None

    def _figures(self) -> str:
        """Say how good the last registration is: the lines of its table."""
        from ..scene.registration import TABLE

        last = self._last()
        table = None if last is None else last.GetNodeReference(TABLE)
        if table is None:
            return ""
        lines = []
        for row in range(table.GetNumberOfRows()):
            what, before, after, unit = (table.GetCellText(row, column) for column in range(4))
            change = f"{before} → {after}" if before else after
            lines.append(f"{what}: {change} {unit}".strip())
        return "; ".join(lines)

    def _show_both(self, planned: Any) -> None:
        modality = next(each for each in planned.synthetic if each in planned.moving)
        slicer.util.setSliceViewerLayers(
            background=planned.synthetic[modality],
            foreground=planned.moving[modality],
            foregroundOpacity=float(self._ui.fadeSlider.value),
        )
        self._ui.fadeSlider.toolTip = _("From the synthetic {label} to the pre-operative one.").format(
            label=label(modality)
        )
