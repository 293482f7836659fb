"""One row of figures a case, from its provenance: what the report's table and the CSV show."""

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ..modalities import MODALITIES, label, labels
from .case_folder import read_provenance
from .cases import Case, folder_identity
from .work import DONE, FAILED, Outcome

NOT_DONE = "not done"
EARLIER = "earlier results (not checked)"
"""States of a case that a run did not come to, without and with results of an earlier one."""

GONE = "done but gone"
"""State of a case whose results somebody took away since."""

_WHERE = (
    "Its results were put in place and then moved, deleted or damaged: put them back where they were, or start the "
    "same command again to make them anew."
)

_FIRST = ("case", "state", "reason", "warnings", "notes", "inputs", "seconds")
_OF_A_TARGET = ("uncertainty", "uncertainty_p95", "correlation", "compared_with", "share")
_OF_REGISTRATION = ("lncc_before", "lncc_after", "confidence_mm", "moved_mm", "overlap")

_COMPLETED, _KEPT_START, _REFINED_ON = "completed", "kept_start", "refined_on"

IN_THE_CSV_ALONE = ("reason", "notes", "uncertainty_p95", "compared_with", "share", _COMPLETED, _REFINED_ON)
"""Columns that the page leaves to the CSV, for want of room; reasons and what was compared with stand elsewhere."""

FORMATS = {"seconds": ".1f", "uncertainty": ".1f", "confidence_mm": ".1f", "moved_mm": ".1f", "warnings": "d"}
"""How the page writes numbers; the others with two decimals."""

EXPLANATIONS = {
    "state": "done (but gone: its results were then moved or deleted), failed, or not done because the batch was "
    "cancelled; earlier results: those of a run before it, of "
    "these or of other cases; a run with the case in it will find out whether they are finished, and show them",
    "seconds": "to compute the case",
    "uncertainty": "mean standard deviation over the samples, 0 to 255",
    "uncertainty_p95": "95th percentile of the standard deviation over the samples, 0 to 255",
    "correlation": "Pearson correlation of synthetic and real image where both are, -1 to 1; pre-op: MR that the "
    "network has not seen; input: one that it has",
    "compared_with": "pre-operative: MR that the network has not seen; input: one that it has",
    "share": "part of the synthetic volume that the real one covers, 0 to 1",
    "lncc_before": "local correlation of synthetic and pre-operative MR before registration, -1 to 1",
    "lncc_after": "local correlation of synthetic and pre-operative MR after registration, -1 to 1",
    "confidence_mm": "root mean square distance of repeated registrations, a typical error of the placement",
    "moved_mm": "median displacement by the registration",
    "overlap": "part of the field of view inside the pre-operative MR, 0 to 1",
    _KEPT_START: "yes where the registration was given up and the MR left where it was; see the warnings",
    _REFINED_ON: "the one contrast of several that the engine followed",
    _COMPLETED: "contrasts of which both sides are synthetic; they count in lncc_before and lncc_after",
    "warnings": "how many",
}


def row(case: Case, outcome: Optional[Outcome], provenance: Optional[Mapping[str, Any]]) -> Dict[str, Any]:
    """Return a case's figures by column; what there is none of is left out.

    :param provenance: Of the results that are in its folder; None where there are none.
    """
    if outcome is None:
        return {"case": case.name, "state": NOT_DONE if provenance is None else EARLIER}
    if outcome.state == FAILED:
        return {"case": case.name, "state": FAILED, "reason": outcome.reason, "inputs": labels(case.inputs)}
    if provenance is None:
        return {"case": case.name, "state": GONE, "reason": _WHERE, "inputs": labels(case.inputs)}
    figures: Dict[str, Any] = {
        "case": case.name,
        "state": DONE,
        "inputs": labels(provenance["inputs"]),
        "seconds": provenance["seconds"],
        "warnings": " | ".join(provenance["warnings"]),
        "notes": " | ".join(provenance.get("notes", ())),
    }
    for target, found in provenance["quality"]["targets"].items():
        uncertainty, similarity = found["uncertainty"] or {}, found["similarity"] or {}
        values = (uncertainty.get("mean"), uncertainty.get("p95"), *map(similarity.get, ("correlation", "to", "share")))
        figures.update({f"{name}_{target}": value for name, value in zip(_OF_A_TARGET, values) if value is not None})
    registration = provenance["quality"]["registration"] or {}
    figures.update({name: registration[name] for name in _OF_REGISTRATION if name in registration})
    if _KEPT_START in registration:
        figures[_KEPT_START] = "yes" if registration[_KEPT_START] else "no"
    if registration.get("completed"):
        figures[_COMPLETED] = labels(registration["completed"])
    if _REFINED_ON in registration:
        figures[_REFINED_ON] = label(registration[_REFINED_ON])
    return figures


def columns(rows: Sequence[Mapping[str, Any]]) -> List[str]:
    """Return the columns that some row fills, in their order."""
    filled = set().union(*rows) if rows else set()
    per_target = [f"{name}_{target}" for target in _targets(filled) for name in _OF_A_TARGET]
    order = [*_FIRST, *_OF_REGISTRATION, _KEPT_START, _REFINED_ON, _COMPLETED, *per_target]
    return [name for name in order if name in filled]


def _targets(filled) -> List[str]:
    found = {name[len("share_") :] for name in filled if name.startswith("share_")} | {
        name[len("uncertainty_") :] for name in filled if name.startswith("uncertainty_") and "_p95" not in name
    }
    return [m for m in MODALITIES if m in found] + sorted(found - set(MODALITIES))


def explanation(column: str) -> str:
    """Return what a column means, for people."""
    return _of(EXPLANATIONS, column, "")


def number(column: str, value: float) -> str:
    """Return a number as the page writes it.

    >>> number("uncertainty_t2", 3.14159), number("correlation_t2", -0.001), number("warnings", 2)
    ('3.1', '0.00', '2')
    """
    text = format(value, _of(FORMATS, column, ".2f"))
    return text if float(text) else text.lstrip("-")


def _of(entries: Mapping[str, str], column: str, otherwise: str) -> str:
    """Return the entry of a column, or of what it is called before the target's name."""
    names = (name for name in sorted(entries, key=len, reverse=True) if column == name or column.startswith(name + "_"))
    return next((entries[name] for name in names), otherwise)


def provenances(cases: Sequence[Case], outcomes: Sequence[Outcome], folder: Path) -> Dict[str, Mapping[str, Any]]:
    """Return ``{case: provenance}`` of the cases that are done, and still there."""
    done = {outcome.case for outcome in outcomes if outcome.state != FAILED}
    return _there([case for case in cases if case.name in done], folder)


def earlier(cases: Sequence[Case], outcomes: Sequence[Outcome], folder: Path) -> Dict[str, Mapping[str, Any]]:
    """Return ``{case: provenance}`` of the cases that have no outcome, but results of an earlier run."""
    reached = {outcome.case for outcome in outcomes}
    return _there([case for case in cases if case.name not in reached], folder)


def _there(cases: Sequence[Case], folder: Path) -> Dict[str, Mapping[str, Any]]:
    found = {case.name: read_provenance(folder / case.name) for case in cases}
    return {name: provenance for name, provenance in found.items() if provenance is not None}


def others(cases: Sequence[Case], folder: Path) -> List[Case]:
    """Return the cases that are none of this batch, but have results in its folder, by name."""
    own = {folder_identity(case.name) for case in cases}
    try:
        found = [path.name for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    except OSError:  # it was taken away, or its disk is gone
        return []
    return [Case(name) for name in found if folder_identity(name) not in own and read_provenance(folder / name)]
