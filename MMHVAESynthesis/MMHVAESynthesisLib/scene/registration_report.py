"""How good a registration is, as attributes of its transform node and as a small table.

Attributes, all ``MMHVAE.``: ``registration`` ("1"), ``similarityBefore``, ``similarityAfter`` (mean LNCC, -1 to 1),
``contrasts`` (JSON, the same for each, and whether it was ``completed``), ``confidence`` (mm), ``moved`` (mm),
``overlap`` (0 to 1), ``keptStart``, ``landmarkErrorBefore`` and ``landmarkErrorAfter`` (JSON: mean, median, largest in
mm; where landmarks were given), and the provenance: ``engine``, ``kind``, ``fixed``, ``moving``, ``us``, ``carried``,
``seconds``, ``version``, ``run`` and more; ``refinedOn`` where the engine followed one of several contrasts;
where contrasts were completed, ``completed``, ``completedFrom`` (JSON, modalities) and ``completionModel``.
"""

import dataclasses
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

from ..modalities import label
from ..registration.landmarks import TargetRegistrationError, target_registration_error
from . import provenance

COLUMNS = ("Measure", "Before", "After", "Unit")

Landmarks = Tuple[np.ndarray, np.ndarray]
"""(N, 3) LPS mm in the ultrasound, and the same in the MR."""

Errors = Tuple[TargetRegistrationError, TargetRegistrationError]
"""Before and after."""


def errors_at(result: Any, landmarks: Optional[Landmarks]) -> Optional[Errors]:
    """Return the landmarks' errors before and after, None without landmarks."""
    if landmarks is None:
        return None
    return (
        target_registration_error(sitk.Transform(3, sitk.sitkIdentity), *landmarks),
        target_registration_error(result.fixed_to_moving, *landmarks),
    )


def attributes(result: Any, errors: Optional[Errors], names: Mapping[str, Any]) -> Dict[str, str]:
    """Return what to note on the transform node, without the prefix.

    :param result: A ``RegistrationResult``.
    :param names: ``fixed``, ``moving``, ``us`` and ``carried``: what the user calls the nodes.
    """
    facts: Dict[str, Any] = {
        **{name: fact for name, fact in result.provenance.items() if (name, fact) != ("completed", [])},
        **names,
        "registration": "1",
        "similarity_before": result.metric_before,
        "similarity_after": result.metric_after,
        "contrasts": [dataclasses.asdict(contrast) for contrast in result.contrasts],
        "confidence": result.confidence,
        "moved": result.moved,
        "overlap": result.overlap,
        "kept_start": result.kept_start,
    }
    if errors is not None:
        facts["landmark_error_before"], facts["landmark_error_after"] = map(_summary, errors)
    noted = provenance.of_run(facts)
    # of_run() is made for synthetic volumes, and a transform is none.
    del noted["synthetic"]
    return noted


def rows(result: Any, errors: Optional[Errors]) -> List[Tuple[str, str, str, str]]:
    """Return the lines of the table, as :data:`COLUMNS`."""
    lines = [
        (f"Similarity of {each.title(result.provenance)} (LNCC)", f"{each.before:.3f}", f"{each.after:.3f}", "")
        for each in result.contrasts
    ]
    if "refined_on" in result.provenance:
        lines.append(("Refined on this contrast alone", "", label(result.provenance["refined_on"]), ""))
    lines.append(("Similarity, mean (LNCC)", f"{result.metric_before:.3f}", f"{result.metric_after:.3f}", ""))
    if errors is not None:
        before, after = map(_summary, errors)
        count = len(errors[0].distances)
        of = f"of {count} point{'s' if count != 1 else ''}"
        lines += [
            (f"Landmark error, {name} {of}", f"{before[name]:.2f}", f"{after[name]:.2f}", "mm") for name in before
        ]
    lines.append(("Confidence: typical error of the placement", "", f"{result.confidence:.2f}", "mm"))
    lines.append(("Displacement, median over the field of view", "", f"{result.moved:.2f}", "mm"))
    lines.append(("Field of view inside the MR", "", f"{100 * result.overlap:.0f}", "%"))
    return lines


def table_node(name: str, lines: List[Tuple[str, str, str, str]]) -> Any:
    """Return a table node of these lines, not yet in the scene."""
    node = slicer.vtkMRMLTableNode()
    node.SetName(name)
    for index, title in enumerate(COLUMNS):
        column = vtk.vtkStringArray()
        column.SetName(title)
        for line in lines:
            column.InsertNextValue(line[index])
        node.AddColumn(column)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    return node


def _summary(error: TargetRegistrationError) -> Dict[str, float]:
    return {"mean": error.mean, "median": error.median, "largest": error.largest}
