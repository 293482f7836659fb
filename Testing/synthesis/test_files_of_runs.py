"""Several runs into one folder: what may be there, what is recorded of it, and what none of them may replace."""

import json
import os
import shutil
import sys

import pytest

pytest.importorskip("torch")

from MMHVAESynthesisLib.__main__ import main  # noqa: E402
from MMHVAESynthesisLib.synthesis import engine  # noqa: E402
from MMHVAESynthesisLib.volumes.files import write  # noqa: E402

from .making import fan, model_file  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return model_file(tmp_path_factory.mktemp("model"))


@pytest.fixture
def us(tmp_path):
    return write(fan(), tmp_path / "us.nrrd")


@pytest.fixture
def synthesize(tmp_path, us, model):
    """Return a call of the command that gives its exit code, into the folder ``out``."""

    def call(*more, source=us):
        words = ["synthesize", "--us", source, "--model", model, "--output-dir", tmp_path / "out", "--device", "cpu"]
        return main([str(word) for word in (*words, *more)])

    return call


def recorded(tmp_path, name="us"):
    return json.loads((tmp_path / "out" / f"{name}_synthetic.json").read_text(encoding="utf-8"))


def said(capsys):
    return json.loads(capsys.readouterr().out)["error"]


def test_another_contrast_joins_the_first_and_both_stay_recorded(tmp_path, synthesize):
    assert synthesize("--targets", "t2", "--samples", "2", "--seed", "1") == 0
    before = recorded(tmp_path)
    assert "earlier" not in before
    assert synthesize("--targets", "cet1", "--seed", "2") == 0
    record = recorded(tmp_path)
    assert record["targets"] == ["cet1"] and record["seed"] == 2, "the last run is where it was"
    assert record["files"] == ["us_synthetic-ceT1.nrrd"]
    assert record["earlier"] == [before]
    assert before["files"] == ["us_synthetic-T2.nrrd", "us_synthetic-T2-uncertainty.nrrd"] and before["seed"] == 1
    assert synthesize("--targets", "flair", "cet1") == 6, "ceT1 is there"
    assert recorded(tmp_path) == record


def test_what_was_replaced_is_recorded_no_more_and_its_uncertainty_goes(tmp_path, synthesize):
    assert synthesize("--targets", "t2", "flair", "--samples", "2") == 0
    assert synthesize("--targets", "t2", "--overwrite") == 0
    flair = ["us_synthetic-FLAIR.nrrd", "us_synthetic-FLAIR-uncertainty.nrrd"]
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*flair, "us_synthetic-T2.nrrd", "us_synthetic.json"])
    (earlier,) = recorded(tmp_path)["earlier"]
    assert earlier["files"] == flair and earlier["samples"] == 2
    assert synthesize("--targets", "flair", "--overwrite") == 0
    assert [run["files"] for run in recorded(tmp_path)["earlier"]] == [["us_synthetic-T2.nrrd"]]


def test_a_record_of_before_says_which_volumes_it_is_of(tmp_path, synthesize):
    assert synthesize("--targets", "t2", "--format", ".nii") == 0
    record = recorded(tmp_path)
    del record["files"]
    (tmp_path / "out" / "us_synthetic.json").write_text(json.dumps(record), encoding="utf-8")
    assert synthesize("--targets", "t2") == 0, "another format is another file"
    assert recorded(tmp_path)["earlier"] == [{**record, "files": ["us_synthetic-T2.nii"]}]


@pytest.mark.parametrize(
    "content", ["mine", "[]", "{}", '{"inputs": {}, "reference": "us", "targets": []}', '{"a": 1}']
)
def test_a_file_that_is_no_record_is_in_the_way(tmp_path, synthesize, content):
    (tmp_path / "out").mkdir()
    file = tmp_path / "out" / "us_synthetic.json"
    file.write_text(content)
    assert synthesize("--targets", "t2") == 6 and file.read_text() == content
    assert synthesize("--targets", "t2", "--overwrite") == 0 and "earlier" not in recorded(tmp_path)


def test_an_uncertainty_without_its_volume_is_in_the_way(tmp_path, synthesize, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "us_synthetic-T2-uncertainty.nrrd").write_text("mine")
    assert synthesize("--targets", "t2", "--json") == 6
    assert "us_synthetic-T2-uncertainty.nrrd is there already" in said(capsys)


def test_another_patients_volumes_do_not_join_the_first_ones(tmp_path, synthesize, us, capsys):
    (tmp_path / "other").mkdir()
    other = shutil.copy(us, tmp_path / "other")
    assert synthesize("--targets", "t2") == 0
    capsys.readouterr()
    assert synthesize("--targets", "flair", "--json", source=other) == 6
    assert f"made from another input ({us})" in said(capsys)
    assert synthesize("--targets", "flair", "--overwrite", source=other) == 0
    assert recorded(tmp_path)["earlier"][0]["inputs"] == {"us": str(us)}


def test_each_volume_in_the_way_is_said_to_be_made_from_its_own_input(tmp_path, synthesize, us, capsys):
    (tmp_path / "other").mkdir()
    other = shutil.copy(us, tmp_path / "other")
    assert synthesize("--targets", "t2", "cet1") == 0
    assert synthesize("--targets", "t2", "--overwrite", source=other) == 0
    capsys.readouterr()
    assert synthesize("--targets", "t2", "--json", source=other) == 6
    assert "us_synthetic-T2.nrrd is there already, and 1 more" in said(capsys), "it is of this very input"
    for target, source, made in (("t2", us, other), ("cet1", other, us)):
        assert synthesize("--targets", target, "--json", source=source) == 6
        assert f".nrrd is there already, made from another input ({made})" in said(capsys)
    for source, made in ((us, other), (other, us)):
        assert synthesize("--targets", "flair", "--json", source=source) == 6
        assert f"us_synthetic.json is there already, made from another input ({made})" in said(capsys)


@pytest.mark.parametrize("which", ["T2", "T2-uncertainty", "record", "preview"])
def test_where_one_file_cannot_be_replaced_all_stay(tmp_path, synthesize, capsys, monkeypatch, which):
    preview = ("--preview", "3") if which == "preview" else ()
    assert synthesize("--targets", "flair", "t2", *(preview or ("--samples", "2"))) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    names = {"record": "us_synthetic.json", "preview": "preview-T2.nrrd"}
    open_file, replace = tmp_path / "out" / names.get(which, f"us_synthetic-{which}.nrrd"), os.replace

    def refused(source, target):
        if open_file in (source, target):
            raise PermissionError(13, "in use")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refused)
    monkeypatch.setattr(type(open_file), "unlink", refuse_to_unlink(open_file))
    capsys.readouterr()
    assert synthesize("--targets", "flair", "t2", "--seed", "9", "--overwrite", "--json", *preview) == 6
    assert f"{open_file.name} could not be written: in use" in said(capsys)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def refuse_to_unlink(file):
    unlink = type(file).unlink

    def refused(self, *more, **words):
        if self == file:
            raise PermissionError(13, "in use")
        unlink(self, *more, **words)

    return refused


@pytest.mark.parametrize("more", [(), ("--preview", "3")])
def test_an_input_is_never_replaced(tmp_path, synthesize, us, model, capsys, more):
    (tmp_path / "out").mkdir()
    name = "foo_preview-T2.nrrd" if more else "foo_synthetic-T2.nrrd"
    mine = tmp_path / "out" / name
    shutil.copy(us, mine)
    content = mine.read_bytes()
    words = ("--t2", tmp_path / "out" / ".." / "out" / name, "--name", "foo", "--targets", "t2", "--overwrite", *more)
    assert synthesize(*words, "--json") == 6
    assert f"{name} is one of the inputs: choose another folder, or a name with --name" in said(capsys)
    assert mine.read_bytes() == content


def test_an_uncertainty_that_is_an_input_is_not_removed(tmp_path, synthesize, us, capsys):
    (tmp_path / "out").mkdir()
    mine = shutil.copy(us, tmp_path / "out" / "us_synthetic-T2-uncertainty.nrrd")
    assert synthesize("--t2", mine, "--targets", "t2", "--overwrite", "--json") == 6
    assert "is one of the inputs" in said(capsys) and mine.exists()


@pytest.mark.parametrize("length", [201, 226, 240, 4000])
def test_a_name_that_is_too_long_is_said_before_any_work(tmp_path, synthesize, us, capsys, monkeypatch, length):
    monkeypatch.setattr(engine, "require_torch", lambda: pytest.fail("the work has begun"))
    for more in ((), ("--preview",)):
        assert synthesize("--name", "x" * length, "--json", *more) == 6
        assert "is too long for the names of files: give one of at most 200 bytes with --name" in said(capsys)
    assert not (tmp_path / "out").exists()


def test_an_input_whose_own_name_is_long_needs_another_for_its_results(tmp_path, synthesize, us, capsys):
    long = us.rename(tmp_path / ("x" * 240 + ".nrrd"))
    assert synthesize("--targets", "t2", "--json", source=long) == 6
    assert "--name" in said(capsys)
    assert synthesize("--targets", "t2", "--name", "y" * 200, source=long) == 0
    assert len(os.listdir(tmp_path / "out")) == 2


def test_one_name_in_two_folders_is_two_inputs(tmp_path, synthesize, us, monkeypatch, capsys):
    for place in ("P1", "P2"):
        (tmp_path / place).mkdir()
        shutil.copy(us, tmp_path / place)
    monkeypatch.chdir(tmp_path / "P1")
    assert synthesize("--targets", "t2", source="us.nrrd") == 0
    assert recorded(tmp_path)["inputs"] == {"us": str(tmp_path / "P1" / "us.nrrd")}
    monkeypatch.chdir(tmp_path / "P2")
    capsys.readouterr()
    assert synthesize("--targets", "flair", "--json", source="us.nrrd") == 6
    assert f"made from another input ({tmp_path / 'P1' / 'us.nrrd'})" in said(capsys)
    assert synthesize("--targets", "flair", source=os.path.join("..", "P1", "us.nrrd")) == 0


def test_a_record_of_before_with_a_name_from_somewhere_may_be_of_another_input(
    tmp_path, synthesize, us, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert synthesize("--targets", "t2") == 0
    record = {**recorded(tmp_path), "inputs": {"us": "us.nrrd"}}
    (tmp_path / "out" / "us_synthetic.json").write_text(json.dumps(record), encoding="utf-8")
    capsys.readouterr()
    assert synthesize("--targets", "flair", "--json", source="us.nrrd") == 6
    assert "is there already, made from us.nrrd, which may be another input: " in said(capsys)
    assert synthesize("--targets", "flair", "--overwrite", source="us.nrrd") == 0


def test_a_home_of_nobody_is_an_input_that_does_not_exist(tmp_path, synthesize, capsys):
    assert synthesize("--targets", "t2", "--json", source="~nobody-here/us.nrrd") == 3
    assert f"{os.path.join('~nobody-here', 'us.nrrd')} does not exist" in said(capsys)


def test_a_name_that_is_not_in_utf_8_is_said_before_any_work(tmp_path, synthesize, us, monkeypatch, capsys):
    monkeypatch.setattr(engine, "require_torch", lambda: pytest.fail("the work has begun"))
    for more, source, code in (
        ((), tmp_path / "caf\udce9.nrrd", 3),
        (("--name", "caf\udce9"), us, 6),
        (("--name", "caf\udce9", "--preview"), us, 6),
        (("--output-dir", tmp_path / "caf\udce9"), us, 6),
    ):
        assert synthesize("--json", *more, source=source) == code
        assert "caf\\udce9" in (text := said(capsys)) and "rename" in text
    assert sorted(os.listdir(tmp_path)) == ["us.nrrd"]


@pytest.mark.skipif(sys.platform != "linux", reason="no other system has such names")
def test_a_working_folder_that_is_not_in_utf_8_is_recorded(tmp_path, synthesize, us, monkeypatch):
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    shutil.copy(us, folder)
    monkeypatch.chdir(folder)
    assert synthesize("--targets", "t2", source="us.nrrd") == 0
    assert recorded(tmp_path)["inputs"] == {"us": str(folder / "us.nrrd")}
