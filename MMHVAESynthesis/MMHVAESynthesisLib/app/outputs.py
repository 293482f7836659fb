"""The panel's section Outputs: which contrasts, where to, with uncertainty or without."""

from typing import Any, Dict, List, Mapping, Optional

from slicer.i18n import tr as _

from ..errors import InputError
from ..modalities import MODALITIES
from ..scene.provenance import is_synthetic


class Outputs:
    """The check boxes and selectors of the results.

    :param ui: The widgets.
    """

    def __init__(self, ui: Any):
        self._ui = ui
        self._parameters: Optional[Any] = None

    def bind(self, parameters: Optional[Any]) -> None:
        """Work on a parameter node from now on; None on none."""
        self._parameters = parameters

    def targets(self) -> List[str]:
        """Return the modalities to synthesise."""
        return [modality for modality in MODALITIES if getattr(self._parameters, f"{modality}Target")]

    def nodes(self) -> Dict[str, Any]:
        """Return the volumes that the user chose for results, by modality, of those that are synthesised."""
        chosen = {modality: getattr(self._parameters, f"{modality}Output") for modality in self.targets()}
        return {modality: node for modality, node in chosen.items() if node is not None}

    def of_others(self) -> List[Any]:
        """Return those of the chosen volumes whose voxels this software did not make."""
        chosen = self.nodes().values()
        return [node for node in chosen if node.GetImageData() is not None and not is_synthetic(node)]

    def samples(self) -> int:
        """Return how many samples to draw; 1 without uncertainty."""
        return self._parameters.samples if self._parameters.uncertainty else 1

    def problem(self, inputs: Mapping[str, Any]) -> str:
        """Return why the outputs cannot be made, in a sentence; empty where they can."""
        from ..scene.outputs import checked

        targets = self.targets()
        if not targets:
            return _("No output is chosen: choose at least one contrast to synthesise.")
        try:
            checked(self.nodes(), inputs, targets)
        except InputError as error:
            return str(error)
        return ""

    def update(self) -> None:
        """Let a selector be used where its contrast is synthesised."""
        for modality in MODALITIES:
            getattr(self._ui, f"{modality}Output").enabled = bool(getattr(self._parameters, f"{modality}Target"))
