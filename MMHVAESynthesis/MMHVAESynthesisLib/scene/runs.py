"""The runs of a scene, found again from what is noted on the volumes that they made."""

from dataclasses import dataclass
from typing import Any, Dict, List

import slicer

from ..modalities import MODALITIES
from . import provenance
from .removal import remove

_FOLDER = "MMHVAE synthesis"
"""In the names of the folders that this software made for runs; others are the user's."""


@dataclass(frozen=True)
class Run:
    """One run.

    :param id: The same for all of its volumes.
    :param created: UTC, ISO 8601.
    :param outputs: ``{modality: synthetic volume}``, those that are still in the scene.
    :param noted: What is noted on them: ``model``, ``temperature``, ``samples``, ``seed``, ``inputs`` (JSON) and more.
    """

    id: str
    created: str
    outputs: Dict[str, Any]
    noted: Dict[str, str]

    def inputs(self) -> Dict[str, Any]:
        """Return ``{modality: input volume}``, those that are still in the scene."""
        first = next(iter(self.outputs.values()))
        nodes = {m: first.GetNodeReference(provenance.INPUT + m) for m in MODALITIES}
        return {modality: node for modality, node in nodes.items() if node is not None}

    def input_names(self) -> Dict[str, str]:
        """Return the names of the inputs at the time of the run, by modality."""
        return provenance.parsed(self.noted.get("inputs"), {})

    def setting(self, name: str, otherwise: Any = None) -> Any:
        """Return a setting of the run as the number, list or text that it was."""
        return provenance.parsed(self.noted.get(name), otherwise)

    def delete(self) -> None:
        """Remove the run's volumes and uncertainty maps, and its folder once that is empty; clones stay, marked."""
        folders = {_folder_of(node) for node in self.outputs.values()}
        for node in list(self.outputs.values()):
            for each in (provenance.uncertainty_node(node), node):
                if each is not None:
                    remove(each)
        for clone in _volumes_of(self.id):
            # No run of its own: what is deleted must not come back under another name.
            clone.RemoveAttribute(provenance.PREFIX + "run")
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        for folder in folders:
            if _FOLDER in hierarchy.GetItemName(folder) and hierarchy.GetNumberOfItemChildren(folder) == 0:
                hierarchy.RemoveItem(folder, False, False)


def _volumes_of(run: str) -> List[Any]:
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [node for node in volumes if provenance.noted(node).get("run") == run]


def _folder_of(node: Any) -> int:
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    return hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))


def runs() -> List[Run]:
    """Return the scene's runs, the last first."""
    found: Dict[str, Run] = {}
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        noted = provenance.noted(node)
        if noted.get("run") and noted.get("role") == provenance.ROLE_IMAGE:
            run = found.setdefault(noted["run"], Run(noted["run"], noted.get("created", ""), {}, noted))
            # A clone has its original's notes, and comes after it: it is the user's own.
            run.outputs.setdefault(noted.get("modality", ""), node)
    # Of runs of the same second the later one stands later in the scene.
    return sorted(reversed(list(found.values())), key=lambda run: run.created, reverse=True)
