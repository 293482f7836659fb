"""A case's folder is put in place whole, or the former one stays."""

import hashlib
import json
import os

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib import paths
from MMHVAESynthesisLib.batch import case_folder
from MMHVAESynthesisLib.errors import OutputError

ABOUT = {"format": 1, "inputs": {}, "preoperative": {}, "model": {"digest": "d"}, "settings": {}}


def voxels(seed):
    return sitk.GetImageFromArray(np.random.default_rng(seed).integers(0, 200, (4, 8, 8)).astype(np.uint8))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_the_digest_of_a_header_alone_is_of_its_voxels_too(tmp_path, ending, compressed):
    file = tmp_path / f"us{ending}"
    digests = []
    for seed in (1, 2, 1):
        sitk.WriteImage(voxels(seed), str(file), compressed)
        digests.append(case_folder.described({"us": str(file)})["us"]["sha256"])
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii", ".nii.gz"])
def test_the_digest_of_a_volume_in_one_file_is_that_of_the_file(tmp_path, ending):
    file = tmp_path / f"us{ending}"
    sitk.WriteImage(voxels(1), str(file))
    expected = hashlib.sha256(file.read_bytes()).hexdigest()
    assert case_folder.described({"us": str(file)})["us"] == {"file": str(file), "sha256": expected}


def test_former_results_stay_where_new_ones_cannot_be_put_in_place(tmp_path, monkeypatch):
    (tmp_path / "Case1").mkdir()
    (tmp_path / "Case1" / "former.txt").write_text("former")
    replace = os.replace

    def refuse(source, target):
        if str(source).endswith(".part"):
            raise PermissionError(13, "somebody holds it open")
        replace(source, target)

    folder = case_folder.CaseFolder(tmp_path, "Case1")
    monkeypatch.setattr(case_folder.os, "replace", refuse)
    with pytest.raises(OutputError, match="somebody holds it open"), folder as part:
        (part / "new.txt").write_text("new")
        folder.publish({})
    assert [path.name for path in tmp_path.iterdir()] == ["Case1"]
    assert (tmp_path / "Case1" / "former.txt").read_text() == "former"


def test_former_results_that_a_killed_run_moved_aside_come_back(tmp_path):
    aside = tmp_path / f".Case1.{'0' * 32}.old"
    aside.mkdir()
    (aside / "former.txt").write_text("former")
    with pytest.raises(RuntimeError), case_folder.CaseFolder(tmp_path, "Case1"):
        raise RuntimeError("the new run fails as well")
    assert [path.name for path in tmp_path.iterdir()] == ["Case1"]
    assert (tmp_path / "Case1" / "former.txt").read_text() == "former"


def test_it_is_said_where_former_results_are_when_they_cannot_be_put_back(tmp_path, monkeypatch):
    (tmp_path / "Case1").mkdir()
    (tmp_path / "Case1" / "former.txt").write_text("former")
    replace = os.replace

    def refuse(source, target):
        if target == tmp_path / "Case1":
            raise PermissionError(13, "somebody holds it open")
        replace(source, target)

    monkeypatch.setattr(case_folder.os, "replace", refuse)
    with pytest.raises(OutputError, match=r"The former ones are in .*\.old\."):
        folder = case_folder.CaseFolder(tmp_path, "Case1")
        with folder as part:
            (part / "new.txt").write_text("new")
            folder.publish({})
    (aside,) = tmp_path.iterdir()
    assert (aside / "former.txt").read_text() == "former"


def results(folder, text, whole=True):
    """Make a folder of results of one volume, or what is left of one that was being deleted."""
    folder.mkdir()
    digest = hashlib.sha256(text.encode()).hexdigest()
    (folder / "provenance.json").write_text(json.dumps({**ABOUT, "outputs": {"volume.nrrd": digest}}))
    if whole:
        (folder / "volume.nrrd").write_text(text)


@pytest.mark.parametrize("place", ["empty", "of the user", "damaged"])
def test_former_results_are_not_deleted_before_whole_ones_are_in_place(tmp_path, place):
    aside = tmp_path / f".A.{'0' * 32}.old"
    results(aside, "former")
    (aside / "tumour.seg.nrrd").write_text("drawn by hand")
    if place == "damaged":
        results(tmp_path / "A", "new", whole=False)
    else:
        (tmp_path / "A").mkdir()
    if place == "of the user":
        (tmp_path / "A" / "notes.txt").write_text("of the surgeon")
    with pytest.raises(RuntimeError), case_folder.CaseFolder(tmp_path, "A"):
        raise RuntimeError("the new run fails as well")
    assert [path for path in tmp_path.rglob("volume.nrrd") if path.read_text() == "former"]
    folder = case_folder.CaseFolder(tmp_path, "A")
    with folder as part:
        (part / "volume.nrrd").write_text("new")
        folder.publish(ABOUT)
    assert [path.name for path in tmp_path.iterdir()] == ["A"]
    assert (tmp_path / "A" / "volume.nrrd").read_text() == "new"
    assert (tmp_path / "A" / "tumour.seg.nrrd").read_text() == "drawn by hand"


@pytest.mark.parametrize("half", ["0", "2"])
def test_of_several_former_results_whole_ones_come_back(tmp_path, half):
    results(tmp_path / f".A.{half * 32}.old", "being deleted", whole=False)
    results(tmp_path / f".A.{'1' * 32}.old", "latest")
    older = tmp_path / f".A.{'3' * 32}.old"
    results(older, "older")
    os.utime(older, (0, 0))
    case_folder.CaseFolder(tmp_path, "A").clear()
    assert [path.name for path in tmp_path.iterdir()] == ["A"]
    assert (tmp_path / "A" / "volume.nrrd").read_text() == "latest"


def test_it_is_said_where_former_results_are_when_something_else_took_their_place(tmp_path, monkeypatch):
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "former.txt").write_text("former")
    replace = os.replace

    def taken(source, target):
        if str(source).endswith(".part"):
            (tmp_path / "A").write_text("a file of the user's")
        replace(source, target)

    monkeypatch.setattr(case_folder.os, "replace", taken)
    folder = case_folder.CaseFolder(tmp_path, "A")
    with pytest.raises(OutputError, match=r"The former ones are in .*\.old\."), folder as part:
        (part / "new.txt").write_text("new")
        folder.publish({})


@pytest.fixture
def scanned(tmp_path, monkeypatch):
    """Let a virus scanner of Windows refuse so many renames of the new folder; return how many are left."""
    replace, left = os.replace, [2]

    def refused(source, target):
        if str(source).endswith(".part") and left[0]:
            left[0] -= 1
            raise PermissionError(13, "in use")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refused)
    monkeypatch.setattr(paths, "_PATIENCE", 60.0)
    return left


def test_what_was_computed_waits_for_a_scanner(tmp_path, scanned):
    results(tmp_path / "A", "former", whole=False)
    folder = case_folder.CaseFolder(tmp_path, "A")
    with folder as part:
        (part / "volume.nrrd").write_text("new")
        folder.publish(ABOUT)
    assert [path.name for path in tmp_path.iterdir()] == ["A"] and scanned == [0]
    assert (tmp_path / "A" / "volume.nrrd").read_text() == "new"


def test_results_of_another_run_are_seen_while_a_scanner_is_waited_for(tmp_path, scanned, monkeypatch):
    folder = case_folder.CaseFolder(tmp_path, "A")
    monkeypatch.setattr(paths.time, "sleep", lambda _: results(tmp_path / "A", "of another run"))
    with folder as part:
        (part / "volume.nrrd").write_text("new")
        scanned[0] = 10**9
        folder.publish(ABOUT)
    assert (tmp_path / "A" / "volume.nrrd").read_text() == "of another run"
    assert 10**9 - scanned[0] == 2, "no longer than until they were there"


def test_names_that_are_not_in_utf_8_go_through_the_provenance(tmp_path):
    folder = case_folder.CaseFolder(tmp_path, "A")
    about = {**ABOUT, "notes": ["Not used: caf\udce9.nrrd."]}
    with folder as part:
        (part / "volume.nrrd").write_text("new")
        folder.publish(about)
    assert case_folder.read_provenance(tmp_path / "A")["notes"] == about["notes"]
