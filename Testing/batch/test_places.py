"""What is the user's stays, wherever the results are put."""

import dataclasses
import errno
import json
import logging
import os
import pathlib

import numpy as np
import pytest

pytest.importorskip("torch")

from MMHVAESynthesisLib.__main__ import main  # noqa: E402
from MMHVAESynthesisLib.batch import case_folder, work  # noqa: E402
from MMHVAESynthesisLib.batch.cases import Case  # noqa: E402
from MMHVAESynthesisLib.batch.folder import find_cases  # noqa: E402
from MMHVAESynthesisLib.batch.runner import run_batch  # noqa: E402
from MMHVAESynthesisLib.batch.table import read_table  # noqa: E402
from MMHVAESynthesisLib.errors import InputError, OutputError  # noqa: E402
from MMHVAESynthesisLib.volumes.files import write  # noqa: E402
from synthesis.making import fan  # noqa: E402


@pytest.fixture
def patients(tmp_path):
    """A folder of two patients' data with their table."""
    folder = tmp_path / "b1"
    for seed, name in enumerate(("Case1", "Case2")):
        (folder / name).mkdir(parents=True)
        write(fan(4, seed=seed), folder / name / "us.nii.gz")
        (folder / name / "notes.txt").write_text("of the surgeon")
    (folder / "cases.csv").write_text("case,us\nCase1,Case1/us.nii.gz\nCase2,Case2/us.nii.gz\n", encoding="utf-8")
    return folder


@pytest.fixture
def case(tmp_path):
    (tmp_path / "in").mkdir()
    return Case("A", {"us": str(write(fan(4), tmp_path / "in" / "us.nrrd"))})


def states(result):
    return [outcome.state for outcome in result.outcomes]


def everything(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def made_by_the_batch(folder):
    return {name for name in everything(folder) if name in ("report.html", "report.csv")}


@pytest.mark.parametrize("linked", [False, True])
def test_data_of_patients_are_not_replaced_by_their_results(tmp_path, patients, settings, capsys, linked):
    output = patients
    if linked:
        output = tmp_path / "results"
        try:
            output.symlink_to(patients, target_is_directory=True)
        except OSError:
            pytest.skip("no links here")
    before = everything(patients)
    words = ["batch", "--manifest", str(patients / "cases.csv"), "--output-dir", str(output)]
    words += ["--model", settings.model, "--targets", "t2", "--device", "cpu"]
    assert main([*words, "--list", "--json"]) == 9
    listed = json.loads(capsys.readouterr().out)["result"]["cases"]
    assert all("us.nii.gz lies in " in each["problem"] and "--output-dir" in each["problem"] for each in listed)
    assert everything(patients) == before
    assert main([*words, "--overwrite"]) == 9
    assert "0 done, 0 finished before, 2 failed." in capsys.readouterr().out
    after = everything(patients)
    assert {name: after.pop(name) for name in made_by_the_batch(patients)} and after == before


def test_a_link_to_the_folder_of_the_cases_is_that_folder(tmp_path, patients):
    link = tmp_path / "results"
    try:
        link.symlink_to(patients, target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    for folder, results in ((patients, link), (link, patients)):
        with pytest.raises(InputError, match="cannot lie in one folder"):
            find_cases(folder, results=results)
    (patients / "more").symlink_to(tmp_path / "out", target_is_directory=True)
    write(fan(4), (tmp_path / "out" / "Case9").mkdir(parents=True) or tmp_path / "out" / "Case9" / "us.nrrd")
    assert [each.name for each in find_cases(patients, results=tmp_path / "out")] == ["Case1", "Case2"]


@pytest.mark.parametrize("there", ["a file in it", "a provenance of another software", "a file"])
def test_a_folder_that_holds_no_results_is_not_replaced(tmp_path, case, settings, there):
    out = tmp_path / "out"
    out.mkdir()
    if there == "a file":
        (out / "A").write_text("the user's")
    else:
        (out / "A").mkdir()
        (out / "A" / "segmentation.mrk.json").write_text("the user's")
    if there == "a provenance of another software":
        (out / "A" / "provenance.json").write_text('{"made": "by hand"}')
    before = everything(out)
    other = dataclasses.replace(case, name="B")
    result = run_batch([case, other], settings, out, overwrite=True)
    assert states(result) == ["failed", "done"]
    reason = result.outcomes[0].reason
    assert "is there already" in reason and "move it away" in reason and "earlier run" not in reason
    assert {name: content for name, content in everything(out).items() if name in before} == before


def test_an_empty_folder_is_taken(tmp_path, case, settings, caplog):
    (tmp_path / "out" / "A").mkdir(parents=True)
    (tmp_path / "out" / "A" / ".DS_Store").write_text("of a file manager")
    with caplog.at_level("WARNING"):
        assert states(run_batch([case], settings, tmp_path / "out")) == ["done"]
    assert "Kept in" not in caplog.text and "damaged" not in caplog.text
    assert (tmp_path / "out" / "A" / ".DS_Store").is_file()


def test_an_input_among_the_results_of_a_case_keeps_it_from_being_done_anew(tmp_path, case, settings):
    out = tmp_path / "out"
    assert states(run_batch([case], settings, out)) == ["done"]
    made = out / "A" / "A_synthetic-T2.nrrd"
    before = made.read_bytes()
    write(fan(4, seed=9), case.inputs["us"])
    result = run_batch([case, Case("B", {"t2": str(made)})], settings, out)
    assert states(result)[0] == "failed" and f"{made} lies in {out / 'A'}" in result.outcomes[0].reason
    assert made.read_bytes() == before


@pytest.mark.parametrize("damaged", [False, True])
def test_what_the_user_added_to_results_stays_when_they_are_made_anew(tmp_path, case, settings, caplog, damaged):
    out = tmp_path / "out"
    run_batch([case], settings, out)
    (out / "A" / "tumour.seg.nrrd").write_text("drawn by hand")
    (out / "A" / "more").mkdir()
    (out / "A" / "more" / "A_synthetic-T2.nrrd").write_text("a copy")
    if damaged:
        (out / "A" / "provenance.json").write_text('{"format"')
    write(fan(4, seed=9), case.inputs["us"])
    with caplog.at_level("WARNING"):
        assert states(run_batch([case], settings, out)) == ["done"]
    assert (out / "A" / "tumour.seg.nrrd").read_text() == "drawn by hand"
    assert (out / "A" / "more" / "A_synthetic-T2.nrrd").read_text() == "a copy"
    said = [text for text in caplog.messages if "Kept in" in text]
    assert len(said) == 1 and said[0].startswith("A: ") and said[0].endswith(": more, tumour.seg.nrrd.")
    assert ("provenance.json was damaged" in said[0]) is damaged
    assert states(run_batch([case], settings, out)) == ["kept"]
    names = {path.name for path in (out / "A").iterdir()} - {"tumour.seg.nrrd", "more"}
    run_batch([case], settings, tmp_path / "fresh")
    assert names == {path.name for path in (tmp_path / "fresh" / "A").iterdir()}
    assert sorted(path.name for path in out.iterdir()) == ["A", "report.csv", "report.html"]


def test_results_that_are_no_longer_made_go_and_a_file_of_the_same_name_stays(tmp_path, case, settings):
    out = tmp_path / "out"
    run_batch([case], settings, out)
    theirs = out / "A" / "A_synthetic-FLAIR.nrrd"
    theirs.write_text("the user's")
    other = dataclasses.replace(settings, targets=("flair",))
    assert states(run_batch([case], other, out, overwrite=True)) == ["done"]
    names = {path.name for path in (out / "A").iterdir()}
    assert "A_synthetic-T2.nrrd" not in names and theirs.read_bytes() != b"the user's"
    assert (out / "A" / "former-1-A_synthetic-FLAIR.nrrd").read_text() == "the user's"


def test_what_a_killed_run_left_aside_loses_nothing_of_the_users(tmp_path, case, settings):
    out = tmp_path / "out"
    run_batch([case], settings, out)
    aside = out / f".A.{'0' * 32}.old"
    os.replace(out / "A", aside)
    (aside / "tumour.seg.nrrd").write_text("drawn by hand")
    run_batch([case], settings, tmp_path / "new")
    os.replace(tmp_path / "new" / "A", out / "A")
    assert states(run_batch([case], settings, out)) == ["kept"]
    assert not aside.exists() and (out / "A" / "tumour.seg.nrrd").read_text() == "drawn by hand"


def test_what_cannot_be_put_back_is_not_deleted_and_said(tmp_path, monkeypatch, caplog):
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "tumour.seg.nrrd").write_text("drawn by hand")
    replace = os.replace

    def refuse(source, target):
        if "tumour" in str(source):
            raise PermissionError(13, "somebody holds it open")
        replace(source, target)

    monkeypatch.setattr(case_folder.os, "replace", refuse)
    folder = case_folder.CaseFolder(tmp_path, "A")
    with caplog.at_level(logging.WARNING), folder as part:
        (part / "new.txt").write_text("new")
        folder.publish({})
    (aside,) = (path for path in tmp_path.iterdir() if path.name != "A")
    assert (aside / "tumour.seg.nrrd").read_text() == "drawn by hand" and f"still in {aside}" in caplog.text


def test_what_a_linked_folder_leads_to_can_still_be_found(tmp_path, monkeypatch, caplog):
    disk = tmp_path / "other disk"
    disk.mkdir()
    (disk / "tumour.seg.nrrd").write_text("drawn by hand")
    (tmp_path / "out").mkdir()
    try:
        (tmp_path / "out" / "A").symlink_to(disk, target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    replace = os.replace

    def refuse(source, target):
        if "tumour" in str(source):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(case_folder.os, "replace", refuse)
    folder = case_folder.CaseFolder(tmp_path / "out", "A")
    with caplog.at_level(logging.WARNING), folder as part:
        (part / "new.txt").write_text("new")
        folder.publish({})
    (aside,) = (path for path in (tmp_path / "out").iterdir() if path.name != "A")
    assert f"still in {aside}: tumour.seg.nrrd." in caplog.text
    assert (aside / "tumour.seg.nrrd").read_text() == (disk / "tumour.seg.nrrd").read_text() == "drawn by hand"


def test_what_another_run_has_just_put_back_is_not_said_to_be_left(tmp_path, monkeypatch, caplog):
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "tumour.seg.nrrd").write_text("drawn by hand")
    replace = os.replace

    def late(source, target):
        replace(source, target)
        if "tumour" in str(source):
            raise FileNotFoundError(2, "another run was faster")

    monkeypatch.setattr(case_folder.os, "replace", late)
    folder = case_folder.CaseFolder(tmp_path, "A")
    with caplog.at_level(logging.WARNING), folder as part:
        (part / "new.txt").write_text("new")
        folder.publish({})
    assert [path.name for path in tmp_path.iterdir()] == ["A"] and not caplog.messages
    assert (tmp_path / "A" / "tumour.seg.nrrd").read_text() == "drawn by hand"


def test_a_result_that_cannot_be_deleted_does_not_hold_back_what_is_the_users(tmp_path, monkeypatch):
    folder = case_folder.CaseFolder(tmp_path, "A")
    (tmp_path / "A").mkdir()
    for name in ("A_synthetic-T2.nrrd", "provenance.json", "tumour.seg.nrrd"):
        (tmp_path / "A" / name).write_text(f"former {name}")
    unlink = pathlib.Path.unlink

    def refuse(path, **options):
        if path.name == "A_synthetic-T2.nrrd":
            raise PermissionError(13, "it is read-only")
        unlink(path, **options)

    monkeypatch.setattr(pathlib.Path, "unlink", refuse)
    with folder as part:
        (part / "new.txt").write_text("new")
        folder.publish({})
    assert (tmp_path / "A" / "tumour.seg.nrrd").read_text() == "former tumour.seg.nrrd"
    (aside,) = (path for path in tmp_path.iterdir() if path.name != "A")
    # The next run still knows what is a result of a batch.
    assert sorted(path.name for path in aside.iterdir()) == ["A_synthetic-T2.nrrd", "provenance.json"]


@pytest.mark.parametrize("name", ["report.csv", "report.html"])
@pytest.mark.parametrize("more", [["--list"], []])
def test_a_table_is_not_replaced_by_the_report(tmp_path, patients, settings, capsys, name, more):
    out = tmp_path / "out"
    out.mkdir()
    table = out / name
    table.write_text(f"case,us\nA,{patients / 'Case1' / 'us.nii.gz'}\n", encoding="utf-8")
    before = table.read_bytes()
    words = ["batch", "--manifest", str(table), "--output-dir", str(out), "--model", settings.model, "--device", "cpu"]
    assert main([*words, *more, "--json"]) == OutputError.exit_code
    error = json.loads(capsys.readouterr().out)["error"]
    assert str(table) in error and "give the file another name" in error
    assert table.read_bytes() == before and len(list(out.iterdir())) == 1


@pytest.mark.parametrize("saved", ["as it was", "by a spreadsheet", "sorted out"])
def test_a_report_is_known_again(tmp_path, case, settings, saved):
    out = tmp_path / "out"
    run_batch([case], settings, out)
    text = (out / "report.csv").read_text(encoding="utf-8-sig")
    if saved == "by a spreadsheet":
        (out / "report.csv").write_text(text.replace(",", ";"), encoding="utf-8")
    if saved == "sorted out":
        (out / "report.csv").unlink()
    assert states(run_batch([case], settings, out)) == ["kept"]


def test_names_of_results_are_known_without_their_provenance(tmp_path, settings):
    spacing = (1.2, 1.2, 1.2)
    us = str(write(fan(20, 32, spacing), tmp_path / "us.nrrd"))
    t2 = str(write(fan(24, 36, spacing, np.int16, seed=3, origin=(-3, -3, -3)), tmp_path / "t2.nii.gz"))
    with_all = dataclasses.replace(settings, targets=None, register=True, engine="mattes", starts=1)
    for name, chosen, preoperative in (("a (1)", with_all, {"t2": t2}), ("b", settings, {"t2": t2})):
        result = run_batch([Case(name, {"us": us}, preoperative)], chosen, tmp_path / "out")
        assert states(result) == ["done"], result.outcomes
        folder = tmp_path / "out" / name
        known = case_folder.own_files(folder, name)
        (folder / "provenance.json").write_bytes(b"")
        assert case_folder.own_files(folder, name) == known == {path.name for path in folder.iterdir()}
        assert case_folder.own_files(folder, "other") < known


def test_a_table_still_reads_beside_its_results(tmp_path, patients, settings):
    """Results in a folder of their own beside the patients' are the usual thing."""
    result = run_batch(read_table(patients / "cases.csv"), settings, patients / "results")
    assert states(result) == [work.DONE, work.DONE]
