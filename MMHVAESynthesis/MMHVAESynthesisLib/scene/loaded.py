"""The volumes of the scene that could be an input: what they are, by their DICOM tags, and whose."""

from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List

import slicer

from .provenance import is_synthetic

_TAGS = {
    "Modality": "0008,0060",
    "SeriesDescription": "0008,103E",
    "ProtocolName": "0018,1030",
    "ContrastBolusAgent": "0018,0010",
}
_INSTANCES = "DICOM.instanceUIDs"


@dataclass(frozen=True)
class Loaded:
    """A volume of the scene: its node, its name, and its DICOM tags by keyword as far as they are known.

    :param patient: As :func:`patient_of`.
    """

    node: Any
    name: str
    dicom: Dict[str, str] = field(default_factory=dict)
    patient: str = ""


def loaded_volumes() -> List[Loaded]:
    """Return the scene's scalar volumes that have voxels, are not hidden and not synthetic, in the scene's order."""
    return [
        Loaded(node, node.GetName() or "", dicom_tags(node), patient_of(node))
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        if node.GetClassName() == "vtkMRMLScalarVolumeNode"
        and not node.GetHideFromEditors()
        and not is_synthetic(node)
        and node.GetImageData() is not None
    ]


def colour_volumes() -> List[Any]:
    """Return the scene's vector volumes, as which colour ultrasound is loaded: those with voxels, not hidden."""
    return [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLVectorVolumeNode")
        if not node.GetHideFromEditors() and node.GetImageData() is not None
    ]


def dicom_tags(node: Any) -> Dict[str, str]:
    """Return what is known of a volume's series: node attributes ``DICOM.<tag>``, then its hierarchy item, then files.

    :return: ``{keyword: value}`` of Modality, SeriesDescription, ProtocolName, ContrastBolusAgent; without what is not
        known.
    """
    tags = {}
    for keyword in _TAGS:
        value = node.GetAttribute(f"DICOM.{keyword}") or _of_item(node, keyword) or _of_file(node, keyword)
        if value:
            tags[keyword] = value
    return tags


def patient_of(node: Any) -> str:
    """Return the ID, else the name, of the subject hierarchy's patient that a node lies under; "" where of none."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    level = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMLevelPatient()
    patient = hierarchy.GetItemAncestorAtLevel(item, level) if item else 0
    return (hierarchy.GetItemAttribute(patient, "DICOM.PatientID") or hierarchy.GetItemName(patient)) if patient else ""


def of_several_patients(nodes: Iterable[Any]) -> List[str]:
    """Return a warning where volumes of the scene that are used together are known to be of different patients."""
    # Not by name: two of them may be called alike.
    known = [(node.GetName(), patient) for node, patient in ((each, patient_of(each)) for each in nodes) if patient]
    if len({patient for _, patient in known}) < 2:
        return []
    whose = ", ".join(f"'{name}' ({patient})" for name, patient in dict.fromkeys(known))
    return [f"These volumes belong to different patients: {whose}. Is that meant?"]


def _of_item(node: Any, keyword: str) -> str:
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    return hierarchy.GetItemAttribute(item, f"DICOM.{keyword}") if item else ""


def _of_file(node: Any, keyword: str) -> str:
    database, instances = getattr(slicer, "dicomDatabase", None), (node.GetAttribute(_INSTANCES) or "").split()
    if database is None or not instances or not database.isOpen:
        return ""
    return database.instanceValue(instances[0], _TAGS[keyword])
