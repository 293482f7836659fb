"""Names that are not in UTF-8, as Linux allows them: SimpleITK would end the process, and the batch with it."""

import csv
import json
import sys

import pytest

pytest.importorskip("torch")

from MMHVAESynthesisLib.__main__ import main  # noqa: E402
from MMHVAESynthesisLib.batch import case_folder, figures, report  # noqa: E402
from MMHVAESynthesisLib.batch.cases import Case, checked_name  # noqa: E402
from MMHVAESynthesisLib.batch.table import read_table  # noqa: E402
from MMHVAESynthesisLib.errors import InputError  # noqa: E402
from MMHVAESynthesisLib.volumes.files import write  # noqa: E402
from synthesis.making import fan  # noqa: E402

LATIN_1, SHOWN = "caf\udce9", "caf\\udce9"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no other system has such names")


def words(tmp_path, model, *more):
    return ["batch", "--output-dir", str(tmp_path / "out"), "--model", model, "--targets", "t2", "--device", "cpu",
            "--json", *more]  # fmt: skip


def put(folder, name):
    """Put an ultrasound where SimpleITK cannot write it."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write(fan(4), folder / "written.nrrd").rename(folder / name)


def answer(capsys):
    return json.loads(capsys.readouterr().out)["result"]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    for name in ("1/us.nrrd", "2/us.nrrd", f"2/notes {LATIN_1}.nrrd", f"3/us {LATIN_1}.nrrd", f"{LATIN_1} 4/us.nrrd"):
        put(folder, name)
    return folder


def test_such_a_name_is_the_problem_of_its_case_and_the_pages_show_it(tmp_path, folder, model, capsys):
    assert main([*words(tmp_path, model, "--folder", str(folder)), "--list"]) == 9
    problems = {case["name"]: case["problem"] for case in answer(capsys)["cases"]}
    assert {name for name, problem in problems.items() if problem} == {"3", f"{SHOWN} 4"}
    for again in (False, True):
        assert main(words(tmp_path, model, "--folder", str(folder))) == 9
        result = answer(capsys)
        assert result["kept" if again else "done"] == ["1", "2"]
        assert list(result["failed"]) == ["3", f"{SHOWN} 4"]
        assert all(SHOWN in reason and "rename" in reason for reason in result["failed"].values())
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count(f"notes {SHOWN}.nrrd") and page.count(f"us {SHOWN}.nrrd")
    with open(tmp_path / "out" / "report.csv", encoding="utf-8-sig", newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert f"notes {SHOWN}.nrrd" in rows["2"]["notes"] and rows["3"]["state"] == "failed"


def test_a_table_in_a_folder_of_such_a_name_has_cases_that_cannot_be_done(tmp_path, model, capsys):
    put(tmp_path, f"{LATIN_1}/us.nrrd")
    (tmp_path / "good").mkdir()
    good = write(fan(4), tmp_path / "good" / "us.nrrd")
    table = tmp_path / LATIN_1 / "t.csv"
    table.write_text(f"case,us\nA,us.nrrd\nB,{good}\n", encoding="utf-8")
    assert main(words(tmp_path, model, "--manifest", str(table))) == 9
    result = answer(capsys)
    assert result["done"] == ["B"] and SHOWN in result["failed"]["A"] and "rename" in result["failed"]["A"]


@pytest.mark.parametrize("more", [(), ("--list",)])
def test_results_in_a_folder_of_such_a_name_are_refused_before_any_work(tmp_path, model, capsys, more):
    put(tmp_path / "in", "1/us.nrrd")
    out = ("--output-dir", str(tmp_path / LATIN_1))
    assert main([*words(tmp_path, model, "--folder", str(tmp_path / "in")), *out, *more]) == 6
    assert SHOWN in json.loads(capsys.readouterr().out)["error"] and not (tmp_path / LATIN_1).exists()


def test_a_case_of_such_a_name_is_refused_and_one_that_is_there_is_shown(tmp_path):
    with pytest.raises(InputError, match=r"caf\\udce9 has letters"):
        checked_name(LATIN_1)
    about = {"format": 1, "inputs": {}, "preoperative": {}, "model": {"digest": "d"}, "settings": {}}
    other = case_folder.CaseFolder(tmp_path, LATIN_1)
    with other:
        other.publish(about)
    page, table = report.write([Case("A")], [], tmp_path)
    assert [case.name for case in figures.others([Case("A")], tmp_path)] == [LATIN_1]
    assert SHOWN in page.read_text(encoding="utf-8") and SHOWN in table.read_text(encoding="utf-8-sig")


def test_a_home_of_nobody_holds_no_table_and_no_volume(tmp_path):
    with pytest.raises(InputError, match="The table ~nobody-here.t.csv cannot be read"):
        read_table("~nobody-here/t.csv")
    (tmp_path / "t.csv").write_text("case,us\nA,~nobody-here/us.nrrd\n", encoding="utf-8")
    (case,) = read_table(tmp_path / "t.csv")
    assert case.inputs == {"us": str(tmp_path / "~nobody-here" / "us.nrrd")}
