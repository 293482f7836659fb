"""The report of a batch: one HTML file that needs nothing else, and its figures as CSV."""

import base64
import csv
import html
import io
import logging
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, List, Mapping, Optional, Sequence, Tuple

from .. import SOFTWARE, __version__
from ..modalities import label, labels
from ..paths import move, part_of, printable
from . import figures
from .case_folder import REPORT, TABLE
from .cases import Case
from .page import PAGE, TITLE
from .pictures import UNCERTAINTY_WHITE
from .quality import PREOPERATIVE
from .work import Outcome

log = logging.getLogger(__name__)

_SHORT = {PREOPERATIVE: "pre-op"}


def write(cases: Sequence[Case], outcomes: Sequence[Outcome], folder: Path) -> Tuple[Optional[Path], Optional[Path]]:
    """Write report and table of a batch into its folder of results.

    Cases of other batches whose results are in that folder are in them too, without their figures.

    :return: Both files; None for one that cannot be written, which is logged.
    """
    cases = [*cases, *figures.others(cases, folder)]
    known = figures.provenances(cases, outcomes, folder)
    there = {**known, **figures.earlier(cases, outcomes, folder)}
    by_case = {outcome.case: outcome for outcome in outcomes}
    rows = [figures.row(case, by_case.get(case.name), there.get(case.name)) for case in cases]
    sections = [_section(case, row, known.get(case.name), folder) for case, row in zip(cases, rows)]
    page = PAGE.format(
        title=TITLE,
        summary=_summary(rows, known),
        failed=_failed(rows),
        table=_table(rows),
        cases="\n".join(sections),
        white=f"{UNCERTAINTY_WHITE:g}",
    )
    # Excel takes a CSV for UTF-8 only behind this mark.
    table = printable(_csv(rows)).encode("utf-8-sig")
    return _put(folder / REPORT, printable(page).encode("utf-8")), _put(folder / TABLE, table)


def _put(path: Path, content: bytes) -> Optional[Path]:
    part = part_of(path, path.suffix)
    try:
        part.write_bytes(content)
        move(part, path)
        return path
    except OSError as error:
        log.warning(
            "Cannot write %s: %s. Is it open in another program, or the disk full? Once it is not, start the same "
            "command again: it writes the report anew and leaves alone what is finished.",
            path,
            error.strerror or error,
        )
        return None
    finally:
        with suppress(OSError):
            part.unlink()


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, figures.columns(rows), restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _escaped(text: Any) -> str:
    return html.escape(str(text))


def _summary(rows: Sequence[Mapping[str, Any]], known: Mapping[str, Mapping[str, Any]]) -> str:
    states = [row["state"] for row in rows]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states)))
    written = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    models = {(entry["model"]["name"], entry["model"]["digest"]) for entry in known.values()}
    named = "; ".join(f"{name} (digest {digest[:12]})" for name, digest in sorted(models))
    lines = [f"{len(rows)} cases: {counts}.", f"Model: {named}." if named else "", _settings(known)]
    lines.append(f"Written {written} by {SOFTWARE} {__version__}.")
    return "<br>".join(_escaped(line) for line in lines if line)


def _settings(known: Mapping[str, Mapping[str, Any]]) -> str:
    """Say how the cases that are done were done; one batch does all alike."""
    if not known:
        return ""
    settings = next(iter(known.values()))["settings"]
    parts = [f"temperature {settings['temperature']:g}", f"samples {settings['samples']}", f"seed {settings['seed']}"]
    if settings["targets"]:
        parts.insert(0, f"targets {labels(settings['targets'])}")
    registration = settings.get("registration")
    parts.append(f"{registration['kind']} registration, {registration['engine']}" if registration else "")
    return f"Settings: {', '.join(filter(None, parts))}."


def _failed(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the list of what failed and why, to stand where nobody overlooks it."""
    lines = [
        f'<li><a href="#{_anchor(row["case"])}">{_escaped(row["case"])}</a>: {_escaped(row["reason"])}</li>'
        for row in rows
        if row.get("reason")
    ]
    return f'<ul class="reason">{"".join(lines)}</ul>' if lines else ""


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = [name for name in figures.columns(rows) if not name.startswith(figures.IN_THE_CSV_ALONE)]
    head = "".join(
        f'<th aria-sort="none" title="{_escaped(figures.explanation(name))}"><button>{_escaped(_title(name))}'
        "</button></th>"
        for name in columns
    )
    body = "\n".join(
        f'<tr class="{_escaped(row["state"].replace(" ", "-"))}">{"".join(_cell(row, name) for name in columns)}</tr>'
        for row in rows
    )
    return f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>"


def _title(column: str) -> str:
    column = column.replace("lncc", "LNCC")
    name, _, target = column.rpartition("_")
    is_target = name in figures.EXPLANATIONS and column not in figures.EXPLANATIONS
    return f"{name.replace('_', ' ')} {label(target)}" if is_target else column.replace("_", " ")


def _cell(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column, "")
    if column == "case":
        return f'<td><a href="#{_anchor(value)}">{_escaped(value)}</a></td>'
    if column == "warnings" and value != "":
        value = value.count(" | ") + 1
    elif column == "warnings" and row["state"] == "done":
        value = 0
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        real = (
            row.get(column.replace("correlation_", "compared_with_"), "") if column.startswith("correlation_") else ""
        )
        what = f" <small>{_escaped(_SHORT.get(real, real))}</small>" if real else ""
        return f'<td class="number" data-value="{value!r}">{figures.number(column, value)}{what}</td>'
    return f"<td>{_escaped(value)}</td>"


def _anchor(case: str) -> str:
    return "case-" + printable(case).encode("utf-8").hex()


def _section(case: Case, row: Mapping[str, Any], provenance, folder: Path) -> str:
    parts: List[str] = [f"<h2>{_escaped(case.name)}</h2>"]
    if provenance is None:
        parts.append(f'<p class="reason">{_escaped(row["state"].capitalize())}. {_escaped(row.get("reason", ""))}</p>')
    else:
        parts += [f'<p class="warning">{_escaped(text)}</p>' for text in provenance["warnings"]]
        parts += [f'<p class="note">{_escaped(text)}</p>' for text in provenance.get("notes", ())]
        parts.append(_of_registration(row))
        parts.append('<div class="pictures">')
        parts += [_figure(folder / case.name / picture["file"], picture["title"]) for picture in provenance["pictures"]]
        parts.append("</div>")
        parts.append(f'<p class="files">{"<br>".join(_files(provenance))}</p>')
    return f'<section id="{_anchor(case.name)}">{"".join(parts)}</section>'


def _of_registration(row: Mapping[str, Any]) -> str:
    if "confidence_mm" not in row:
        return ""
    text = (
        f"Registration: confidence {row['confidence_mm']:.1f} mm, moved by {row['moved_mm']:.1f} mm, local correlation "
        f"{row['lncc_before']:.2f} before and {row['lncc_after']:.2f} after, {row['overlap']:.0%} of the field covered."
    )
    if row.get("refined_on"):
        text += f" Refined on {row['refined_on']} alone: this engine follows one contrast."
    if row.get("completed"):
        text += f" {row['completed']}: synthesised from the pre-operative MR as well."
    return f"<p>{_escaped(text)}</p>"


def _figure(file: Path, title: str) -> str:
    try:
        data = base64.b64encode(file.read_bytes()).decode("ascii")
    except OSError:  # somebody took it away
        return ""
    shown = " ".join(label(word) for word in title.split(" "))
    return (
        f'<figure><img alt="{_escaped(shown)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{_escaped(shown)}</figcaption></figure>"
    )


def _files(provenance: Mapping[str, Any]) -> List[str]:
    named = [
        f"{kind} {label(modality)}: {entry['file']}"
        for kind, entries in (("Input", provenance["inputs"]), ("Pre-operative", provenance["preoperative"]))
        for modality, entry in entries.items()
    ]
    return [_escaped(line) for line in named]
