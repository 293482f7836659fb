import json
import os
from pathlib import Path

import pytest

from MMHVAESynthesisLib.errors import OutputError
from MMHVAESynthesisLib.evaluation import results

TABLES = ("table-sweeps.csv", "table-sweeps.md", "table-heads.csv", "table-heads.md")


def fill(folder, case):
    cases = {"cases": {"sweeps": [case], "real iUS": []}}
    (folder / "figures.json").write_text(json.dumps(cases), encoding="utf-8")
    for name in (*TABLES, f"sweep-0-{case}.png"):
        (folder / name).write_text(case)


def evaluated(folder, case, overwrite=True):
    with results.put_in_place(folder, overwrite) as part:
        fill(part, case)


def contents(folder):
    return {path.name: path.read_text() if path.is_file() else None for path in folder.iterdir()}


@pytest.fixture
def former(tmp_path):
    fill(tmp_path, "a")
    return contents(tmp_path)


def test_former_results_are_replaced_and_their_pictures_removed(tmp_path, former):
    evaluated(tmp_path, "b")
    assert set(contents(tmp_path)) == {*former, "sweep-0-b.png"} - {"sweep-0-a.png"}
    assert (tmp_path / "table-heads.md").read_text() == "b"


def test_former_results_stay_where_one_of_them_is_open(tmp_path, former, monkeypatch):
    def open_elsewhere(real):
        def call(path, *more, **words):
            if Path(path) == tmp_path / "table-sweeps.csv":
                raise PermissionError(13, "in use")
            return real(path, *more, **words)

        return call

    for owner, name in ((os, "replace"), (Path, "unlink")):
        monkeypatch.setattr(owner, name, open_elsewhere(getattr(owner, name)))
    with pytest.raises(OutputError, match="table-sweeps.csv could not be written: in use"):
        evaluated(tmp_path, "b")
    assert contents(tmp_path) == former


def test_former_results_stay_where_a_folder_is_in_the_way(tmp_path, former):
    (tmp_path / "sweep-0-b.png").mkdir()
    with pytest.raises(OutputError, match="sweep-0-b.png is a folder"):
        evaluated(tmp_path, "b")
    assert contents(tmp_path) == {**former, "sweep-0-b.png": None}


def test_a_picture_that_is_there_is_not_replaced_unasked(tmp_path):
    (tmp_path / "sweep-0-b.png").write_text("mine")
    with pytest.raises(OutputError, match="sweep-0-b.png is there already: .*--overwrite"):
        evaluated(tmp_path, "b", overwrite=False)
    assert contents(tmp_path) == {"sweep-0-b.png": "mine"}
    evaluated(tmp_path, "b")
    assert (tmp_path / "sweep-0-b.png").read_text() == "b"


def test_a_file_elsewhere_is_no_former_picture(tmp_path):
    (tmp_path / "out" / "sweep-0-").mkdir(parents=True)
    (tmp_path / "x.png").write_text("mine")
    cases = {"cases": {"sweeps": ["/../../x"], "real iUS": []}}
    (tmp_path / "out" / "figures.json").write_text(json.dumps(cases), encoding="utf-8")
    assert results.former(tmp_path / "out") == [tmp_path / "out" / "figures.json"]


def test_no_two_cases_have_one_title():
    assert results.titles(["P1", "P1", "P2", "P1"]) == ["P1", "P1-2", "P2", "P1-3"]
    assert len(set(results.titles(["P1", "P1", "P1-2", "P1-2"]))) == 4
