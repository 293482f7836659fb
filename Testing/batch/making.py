"""A cohort of tiny cases made for the tests, three of them broken, and the comparison of two folders of results."""

import csv
import io
import json

import numpy as np

from MMHVAESynthesisLib.volumes.files import write
from synthesis.making import array, fan, volume_like

BROKEN = {"broken absent": "does not exist", "broken NaN": "not numbers", "broken cut": "damaged, cut off"}


def cohort(folder, good):
    """Write cases with names of all sorts and their table; return the table's file."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [["case", "us", "t2", "preoperative_t2"]]
    for number in range(good):
        name = f"Fall {number:02d} Größe"
        us = write(fan(planes=4, seed=number), folder / f"{name}-US.nii.gz")
        t2 = write(fan(planes=4, seed=number + 100, dtype=np.int16), folder / f"{name}-T2.nrrd") if number % 3 else ""
        rows.append(
            [name, us.name, t2 and t2.name if number % 3 == 1 else "", t2 and t2.name if number % 3 == 2 else ""]
        )
    rows[2:2] = [[name, f"{name}.nrrd", "", ""] for name in BROKEN]
    image = fan(planes=4, dtype=np.float32)
    values = array(image)
    values[1, 16, 16] = np.nan
    write(volume_like(image, values), folder / "broken NaN.nrrd")
    whole = write(fan(planes=4), folder / "broken cut.nrrd")
    whole.write_bytes(whole.read_bytes()[:-200])
    table = folder / "Fälle.csv"
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=";").writerows(rows)
    table.write_bytes(text.getvalue().encode("utf-8-sig"))
    return table


def contents(folder):
    """Return ``{file: content}`` of all files, hidden ones too, without times."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = _timeless(path)
    return found


def _timeless(path):
    if path.name == "provenance.json":
        content = json.loads(path.read_text(encoding="utf-8"))
        assert content.pop("seconds") >= 0 and content.pop("created")
        return content
    if path.name == "report.csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
        return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    if path.name == "report.html":
        # The table above says the seconds; its other figures stand in the CSV too.
        return path.read_text(encoding="utf-8").split("</table>")[1]
    return path.read_bytes()
