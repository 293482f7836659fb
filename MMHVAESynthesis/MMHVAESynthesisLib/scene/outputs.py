"""Results into the scene: all of them or none."""

from contextlib import ExitStack
from typing import Any, Dict, Mapping, Optional, Sequence

import SimpleITK as sitk
import slicer

from ..errors import InputError
from ..modalities import MODALITIES, label, labels
from . import display, placement, provenance
from .nodes import copy_grid, found, set_voxels
from .registrations import is_registration
from .removal import remove


def checked(
    given: Optional[Mapping[str, Any]], inputs: Mapping[str, Any], targets: Optional[Sequence[str]] = None
) -> Dict[str, Any]:
    """Return the output nodes that the user gave as ``{modality: node}``, checked before any work is done.

    :param given: ``{modality: node, or name or ID of one}``; None stands for a new volume.
    :param inputs: ``{modality: node}``; an input cannot be an output.
    :param targets: The modalities that will be synthesised, where that is known.
    :raises InputError: when a node cannot take a result.
    """
    unknown = [str(modality) for modality in given or {} if modality not in MODALITIES]
    if unknown:
        raise InputError(
            f"An output volume is chosen for {', '.join(unknown)}, which is no contrast: {', '.join(MODALITIES)} are."
        )
    nodes: Dict[str, Any] = {}
    for modality, node in (given or {}).items():
        if node is None:
            continue
        what = f"The output volume for {label(modality)}"
        node = found(node, what)
        if node.GetClassName() != "vtkMRMLScalarVolumeNode":
            raise InputError(f"{what}, '{node.GetName()}', must be a scalar volume: choose one, or a new volume.")
        if any(node is source for source in inputs.values()):
            raise InputError(f"{what}, '{node.GetName()}', is an input of this run: choose another, or a new volume.")
        if provenance.is_map(node):
            raise InputError(
                f"{what}, '{node.GetName()}', is a map that goes with another volume or with a registration: choose "
                "another, or a new volume."
            )
        browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
        if any(browser.IsProxyNodeID(node.GetID()) for browser in browsers):
            raise InputError(
                f"{what}, '{node.GetName()}', shows frames of a sequence, of which one would be overwritten, or take "
                "the result's place at the next: choose another, or a new volume."
            )
        moved_by = _registration_over(node, inputs)
        if moved_by is not None:
            raise InputError(
                f"{what}, '{node.GetName()}', lies under the registration '{moved_by.GetName()}', which a result would "
                "not: take that back first, or choose another, or a new volume."
            )
        if any(node is other for other in nodes.values()):
            raise InputError(f"The output volume '{node.GetName()}' is chosen twice: choose a new volume for one.")
        nodes[modality] = node
    if targets is not None:
        _check_are_made(nodes, targets)
    return nodes


def _registration_over(node: Any, inputs: Mapping[str, Any]) -> Optional[Any]:
    """Return a registration that moves a volume; None where there is none, or the results will lie under it too."""
    reference = next((inputs[modality] for modality in MODALITIES if modality in inputs), None)
    if reference is not None and reference.GetTransformNodeID() == node.GetTransformNodeID():
        return None
    return next((over for over in placement.above(node) if is_registration(over)), None)


def _check_are_made(given: Mapping[str, Any], targets: Sequence[str]) -> None:
    surplus = [modality for modality in given if modality not in targets]
    if surplus:
        raise InputError(f"An output volume is chosen for {labels(surplus)}, which is not synthesised in this run.")


def add(result: Any, inputs: Mapping[str, Any], given: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
    """Add a result to the scene and return ``{modality: node}``.

    New volumes lie on the grid and under the parent transform of the run's reference input, in a folder of the run
    beside it in the subject hierarchy. A node in ``given`` (from :func:`checked`) is overwritten in its place and keeps
    its name and display; the uncertainty map that it had leaves the scene. So does where it was read from, unless this
    software had made it: Slicer's Save would propose to put the synthesis into the file of a patient's scan. The map
    of a returned node is found with :func:`provenance.uncertainty_node`; it is always a new volume. When anything
    fails, the scene is left as it was.

    :param result: A ``SynthesisResult``.
    :param inputs: ``{modality: node}``, the reference among them; of the others some may have left the scene meanwhile.
    :raises InputError: when the reference or a given node left it, or a node is given for what was not synthesised.
    """
    given = dict(given or {})
    _check_are_made(given, list(result.images))
    for node in [inputs[result.reference], *given.values()]:
        if node.GetScene() is None:
            raise InputError(f"'{node.GetName()}' left the scene during the synthesis: nothing was added.")
    inputs = {modality: node for modality, node in inputs.items() if node.GetScene() is not None}
    former = [provenance.uncertainty_node(node) for node in given.values()]
    scans = [node for node in given.values() if not provenance.is_synthetic(node)]
    with ExitStack() as undo:
        nodes = _Run(result, inputs, given, undo).add()
        undo.pop_all()
    _remove_unused(former)
    for node in scans:
        _forget_file(node)
    return nodes


def _forget_file(node: Any) -> None:
    """Let a volume belong to no file, so that it is saved under a name that is asked for."""
    storage = node.GetStorageNode()
    if storage is not None:
        node.SetAndObserveStorageNodeID(None)
        slicer.mrmlScene.RemoveNode(storage)


def _remove_unused(maps: Sequence[Optional[Any]]) -> None:
    """Remove the maps that no volume has any more; a clone of an image has the same one."""
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    used = [provenance.uncertainty_node(node) for node in volumes]
    for each in maps:
        if each is not None and not any(each is other for other in used):
            remove(each)


class _Run:
    """One result on its way into the scene; every change leaves its reversal on ``undo``."""

    def __init__(self, result: Any, inputs: Mapping[str, Any], given: Mapping[str, Any], undo: ExitStack):
        self.result, self.inputs, self.given, self.undo = result, inputs, given, undo
        self.reference = inputs[result.reference]
        self.attributes = provenance.of_run(result.provenance)
        self.names = _Names(self.reference.GetName(), list(result.images))
        self.folder: Optional[int] = None

    def add(self) -> Dict[str, Any]:
        images = self._add_all(self.result.images, provenance.ROLE_IMAGE, display.GREY, self.given)
        maps = self._add_all(self.result.uncertainty, provenance.ROLE_UNCERTAINTY, display.HOT, {})
        for modality, node in maps.items():
            images[modality].SetNodeReferenceID(provenance.UNCERTAINTY, node.GetID())
        return images

    def _add_all(self, images: Mapping[str, sitk.Image], role: str, colours: str, given: Mapping[str, Any]):
        window = display.common_window(images.values())
        nodes = {}
        for modality, image in images.items():
            node = given.get(modality)
            if node is None:
                node = self._new(image, self.names.of(modality, role))
            else:
                self._remember(node)
                set_voxels(node, image, self.reference)
            node.SetAndObserveTransformNodeID(self.reference.GetTransformNodeID())
            if node.GetDisplayNode() is None:
                node.CreateDefaultDisplayNodes()
                self.undo.callback(slicer.mrmlScene.RemoveNode, node.GetDisplayNode())
                display.show(node.GetDisplayNode(), window, colours)
            attributes = {**self.attributes, "modality": modality, "role": role}
            provenance.note(node, attributes, self.inputs)
            nodes[modality] = node
        return nodes

    def _new(self, image: sitk.Image, name: str) -> Any:
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetName(name)
        set_voxels(node, image, self.reference)
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        folder = self._folder_in(hierarchy)
        slicer.mrmlScene.AddNode(node)
        self.undo.callback(slicer.mrmlScene.RemoveNode, node)
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), folder)
        return node

    def _folder_in(self, hierarchy: Any) -> int:
        if self.folder is None:
            beside = hierarchy.GetItemByDataNode(self.reference)
            parent = hierarchy.GetItemParent(beside) if beside else hierarchy.GetSceneItemID()
            self.folder = hierarchy.CreateFolderItem(parent, self.names.folder)
            self.undo.callback(hierarchy.RemoveItem, self.folder, False, False)
        return self.folder

    def _remember(self, node: Any) -> None:
        """Leave on ``undo`` what puts a node of the user's back as it is now."""
        grid = slicer.vtkMRMLScalarVolumeNode()
        copy_grid(grid, node)
        attributes, references = provenance.noted(node), provenance.references(node)
        data, transform = node.GetImageData(), node.GetTransformNodeID()

        def put_back():
            copy_grid(node, grid)
            node.SetAndObserveImageData(data)
            node.SetAndObserveTransformNodeID(transform)
            provenance.note(node, attributes, {})
            for role, node_id in references.items():
                node.SetNodeReferenceID(role, node_id)

        self.undo.callback(put_back)


class _Names:
    """Names of a run's volumes and of its folder, with the same number where an earlier run took them without one."""

    def __init__(self, reference: str, modalities: Sequence[str]):
        self._reference, self._suffix = reference or "Volume", ""
        number = 1
        while any(self._taken(modality) for modality in modalities):
            number += 1
            self._suffix = f" {number}"

    def _taken(self, modality: str) -> bool:
        names = (self.of(modality, role) for role in (provenance.ROLE_IMAGE, provenance.ROLE_UNCERTAINTY))
        return any(slicer.mrmlScene.GetFirstNodeByName(name) is not None for name in names)

    def of(self, modality: str, role: str) -> str:
        noun = f"{label(modality)} uncertainty" if role == provenance.ROLE_UNCERTAINTY else label(modality)
        return f"{self._reference} synthetic {noun} (MMHVAE){self._suffix}"

    @property
    def folder(self) -> str:
        return f"{self._reference}: MMHVAE synthesis{self._suffix}"
