"""The report's page, with its style and the few lines that sort its table. It loads nothing."""

TITLE = "MMHVAE batch report"

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 1.5em; color: #1c2026; background: #fff; }}
h1 {{ font-size: 1.5em; margin: 0 0 .3em; }}
h2 {{ font-size: 1.15em; margin: 0 0 .4em; }}
.notice {{ border-left: 4px solid #b06a00; padding: .3em .8em; background: #fff6e6; max-width: 60em; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; margin: 1em 0; }}
th, td {{ border: 1px solid #ccd2da; padding: .25em .6em; text-align: left; white-space: nowrap; }}
th {{ background: #eef1f5; white-space: normal; vertical-align: bottom; }}
th:first-child, td:first-child {{ position: sticky; left: 0; }}
td:first-child {{ background: #fff; }}
small {{ color: #5a6472; }}
th button {{ all: unset; cursor: pointer; font-weight: 600; }}
th button:focus-visible {{ outline: 2px solid #0b5cad; }}
th[aria-sort="ascending"] button::after {{ content: " \\25B2"; }}
th[aria-sort="descending"] button::after {{ content: " \\25BC"; }}
td.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
tr.failed td, tr.done-but-gone td {{ background: #fdecea; }}
tr.not-done td {{ background: #f3f3f3; }}
section {{ border-top: 1px solid #ccd2da; padding: 1em 0; }}
.pictures {{ display: flex; flex-wrap: wrap; align-items: flex-start; gap: .8em; }}
figure {{ margin: 0; background: #000; color: #fff; padding: 4px; }}
figcaption {{ font-size: .85em; padding: .2em 0; text-align: center; }}
img {{ display: block; image-rendering: auto; }}
.warning {{ margin: .2em 0; color: #7a4a00; }}
.warning::before {{ content: "\\26A0  "; }}
.note {{ margin: .2em 0; color: #5a6472; }}
.reason {{ color: #a1160a; }}
.reason li {{ margin: .2em 0; }}
.files {{ font-size: .85em; color: #555; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{summary}</p>
{failed}
<p class="notice">Synthetic images are computed, not acquired: for research, not for treatment. Each picture shows the
axial, coronal and sagittal plane through the middle of the field of view, the patient's right on the left; the
checkerboard shows planes along the axes of the reference volume, such as an oblique ultrasound's own. Synthetic
images run from 0 to 255, uncertainty (standard deviation over the samples) is white from {white}. A click on a
column's name sorts by it.</p>
<div class="scroll"><table id="figures">
{table}
</table></div>
{cases}
<script>
"use strict";
const table = document.getElementById("figures");
function key(row, column) {{
  const cell = row.cells[column];
  return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
}}
function compare(a, b) {{
  if ((a === "") !== (b === "")) return a === "" ? 1 : -1;  // what is not known comes last, either way
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, {{ numeric: true }});
}}
table.tHead.addEventListener("click", (event) => {{
  const head = event.target.closest("th");
  if (!head) return;
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = Array.from(table.tBodies[0].rows, (row) => [key(row, head.cellIndex), row]);
  rows.sort(([a], [b]) => (a === "" || b === "" ? compare(a, b) : (down ? -1 : 1) * compare(a, b)));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}});
</script>
</body>
</html>
"""
