"""The panel's section Inputs: four selectors, what each volume is, and guesses that say that they are guesses."""

from typing import Any, Dict, List, Optional

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import InputError
from ..modalities import MODALITIES, US, label, labels, other_modality
from . import colours, texts
from .guess import guess


class Inputs:
    """The four input selectors.

    :param ui: The widgets.
    """

    def __init__(self, ui: Any):
        self._ui = ui
        self._parameters: Optional[Any] = None
        self._known: Dict[str, Optional[str]] = {}
        self._marked: List[str] = []
        self._added: List[Any] = []
        self._guessing = False
        ui.guessButton.connect("clicked(bool)", lambda *_: self.guess())

    def bind(self, parameters: Optional[Any]) -> None:
        """Work on a parameter node from now on; None on none."""
        self._parameters = parameters
        if parameters is not None:
            self._take_note()
            self._say("")
            if any(modality not in self._guessed() for modality in self.nodes()):
                self.decide()
            elif not parameters.inputsChosen:
                self.guess(quietly=True)

    def nodes(self) -> Dict[str, Any]:
        """Return the chosen volumes by modality."""
        chosen = {modality: getattr(self._parameters, f"{modality}Volume") for modality in MODALITIES}
        return {modality: node for modality, node in chosen.items() if node is not None}

    def note(self) -> None:
        """Take what is chosen as it is now for no choice of the user's: a volume leaves the scene."""
        # In the same change: another panel would take the one without the other for a choice.
        self._parameters.guessed = ",".join(modality for modality in self._guessed() if modality in self.nodes())
        self._take_note()

    def decide(self) -> None:
        """Take what is chosen, and what is left empty, for what the user wants in this scene."""
        self._parameters.inputsChosen = True

    def guess_soon(self, node: Any) -> None:
        """Guess once the loading of a volume is done, unless the inputs of this scene are decided."""
        if not self._added:
            qt.QTimer.singleShot(0, self._guess_now)
        self._added.append(node)

    def _guess_now(self) -> None:
        from ..scene.loaded import loaded_volumes

        added, self._added = self._added, []
        if self._parameters is None or self._parameters.inputsChosen:
            return
        # Not for hidden volumes, nor for synthetic ones, which are marked only after they were added.
        if any(volume.node is node for volume in loaded_volumes() for node in added):
            self.guess(quietly=True)

    def guess(self, quietly: bool = False) -> None:
        """Fill the empty selectors where a volume speaks clearly for its modality; until inputs are decided, all anew.

        :param quietly: Say nothing where nothing was found.
        """
        from ..scene.loaded import loaded_volumes

        if self._parameters is None:
            return
        anew = [] if self._parameters.inputsChosen else self._guessed()
        chosen = {modality: node for modality, node in self.nodes().items() if modality not in anew}
        wanted = [modality for modality in MODALITIES if modality not in chosen]
        found = guess(loaded_volumes(), wanted, list(chosen.values()), beside_ultrasound=US in chosen)
        self._guessing = True
        try:
            with slicer.util.NodeModify(self._parameters.parameterNode):
                kept = [modality for modality in self._guessed() if modality in chosen]
                self._parameters.guessed = ",".join([*kept, *found.chosen])
                for modality in wanted:
                    volume = found.chosen.get(modality)
                    setattr(self._parameters, f"{modality}Volume", None if volume is None else volume.node)
        finally:
            self._guessing = False
        self._take_note()
        nothing = _("No loaded volume's name or DICOM tags speak clearly for an empty selector.")
        said = found.sentence() or ("" if quietly or found.chosen or not wanted else nothing)
        # Where nothing at all is chosen, the panel says it anyway.
        colour = _colour_problem() if self.nodes() and US not in self.nodes() else ""
        self._say(" ".join(filter(None, [said, colour])))
        self.update()

    def update(self) -> None:
        """Show what each chosen volume is; a guess that the user changed is none any more."""
        if self._parameters is None or self._guessing:
            return
        ids = self._ids()
        # Where the marks changed too, another panel over this scene guessed.
        is_guess = self._guessed() != self._marked
        changed = [modality for modality in MODALITIES if not is_guess and ids[modality] != self._known.get(modality)]
        self._take_note()
        if changed:
            self.decide()
        guessed = [modality for modality in self._guessed() if modality not in changed and ids[modality]]
        if guessed != self._guessed():
            self._parameters.guessed = ",".join(guessed)
            self._marked = self._guessed()
        for modality, node in ((m, getattr(self._parameters, f"{m}Volume")) for m in MODALITIES):
            self._show(modality, node, modality in guessed)
        # CTK shows everything anew when a section is unfolded.
        self._ui.guessState.setVisible(bool(self._ui.guessState.text))

    def problem(self) -> str:
        """Return why the inputs cannot be used, in a sentence; empty where they can."""
        nodes = self.nodes()
        if not nodes:
            return " ".join(filter(None, [_("Choose at least one input volume first."), _colour_problem()]))
        for modality, node in nodes.items():
            problem = _problem(f"The {label(modality)}", node)
            if problem:
                return problem
        for node in nodes.values():
            same = [other for other in nodes if nodes[other] is node]
            if len(same) > 1:
                return _("'{name}' is chosen as {modalities}: choose another volume for one of them, or none.").format(
                    name=node.GetName(), modalities=labels(same)
                )
        return ""

    def _say(self, text: str) -> None:
        self._ui.guessState.setText(text)
        self._ui.guessState.setVisible(bool(text))

    def _take_note(self) -> None:
        self._known, self._marked = self._ids(), self._guessed()

    def _ids(self) -> Dict[str, Optional[str]]:
        nodes = {modality: getattr(self._parameters, f"{modality}Volume") for modality in MODALITIES}
        return {modality: None if node is None else node.GetID() for modality, node in nodes.items()}

    def _guessed(self) -> List[str]:
        return [modality for modality in self._parameters.guessed.split(",") if modality in MODALITIES]

    def _show(self, modality: str, node: Any, guessed: bool) -> None:
        state = getattr(self._ui, f"{modality}State")
        state.setVisible(node is not None)
        if node is None:
            state.setText("")
            return
        problem = _problem(f"The {label(modality)}", node)
        other = other_modality(modality, node.GetName() or "")
        state.setText(problem or _described(node, guessed, other))
        state.setStyleSheet(colours.wrong() if problem else colours.doubtful() if guessed or other else "")


def _colour_problem() -> str:
    """Return why a colour volume of the scene is not there to be chosen, in a sentence; empty where there is none."""
    from ..scene.loaded import colour_volumes

    return next(filter(None, (_problem("The volume", node) for node in colour_volumes())), "")


def _problem(what: str, node: Any) -> str:
    """Return why a volume cannot serve, in a sentence that begins with what it is for; empty where it can."""
    from ..scene.nodes import check

    try:
        check(node, what)
    except InputError as error:
        return str(error)
    return ""


def _described(node: Any, guessed: bool, other: Optional[str]) -> str:
    parts = [texts.grid(node.GetImageData().GetDimensions(), node.GetSpacing())]
    if node.GetParentTransformNode() is not None:
        parts.append(_("under '{name}'").format(name=node.GetParentTransformNode().GetName()))
    if other is not None:
        parts.insert(0, _("Looks like {modality} by its name").format(modality=label(other)))
    if guessed:
        parts.insert(0, _("Guessed, please check"))
    return " · ".join(parts)
