import json
import os

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.__main__ import main
from MMHVAESynthesisLib.errors import OutputError
from MMHVAESynthesisLib.volumes import files
from MMHVAESynthesisLib.volumes.files import read, write


def head(folder):
    k, j, i = np.indices((40, 60, 60), dtype=np.float32) * 2
    inside = ((k - 40) / 36) ** 2 + ((j - 60) / 55) ** 2 + ((i - 60) / 55) ** 2 < 1
    image = sitk.GetImageFromArray(np.where(inside, 300 + 100 * np.sin(i / 5) * np.cos(j / 7), 0).astype(np.int16))
    image.SetSpacing((2, 2, 2))
    return write(image, folder / "t2.nii.gz")


def test_a_sweep_of_files(tmp_path, capsys):
    arguments = ["simulate", "--t2", str(head(tmp_path)), "--output-dir", str(tmp_path / "out"), "--spacing", "1"]
    assert main([*arguments, "--seed", "3", "--json"]) == 0
    outputs = json.loads(capsys.readouterr().out)["result"]["outputs"]
    us, field = (sitk.GetArrayFromImage(read(outputs[name])) for name in ("us", "field"))
    np.testing.assert_array_equal(us > 0, field > 0)
    assert us.std() > 1
    assert main(arguments) == 6 and main([*arguments, "--overwrite"]) == 0


@pytest.mark.parametrize(
    "more",
    [[], ["--phantom", "--t2", "t2.nii.gz"], ["--t2", "absent.nii.gz"], ["--phantom", "--seed", "-1"]],
)
def test_nothing_or_too_much_to_simulate_from(tmp_path, more, capsys):
    assert main(["simulate", "--output-dir", str(tmp_path / "out"), *more]) == 3
    assert not os.path.exists(tmp_path / "out")


def test_nothing_is_left_where_one_of_the_files_cannot_be_written(tmp_path, monkeypatch):
    t2, whole = head(tmp_path), files.write

    def full(image, target, *more):
        if target.name.startswith("field"):
            raise OutputError("the disk is full")
        return whole(image, target, *more)

    monkeypatch.setattr(files, "write", full)
    out = tmp_path / "out"
    assert main(["simulate", "--t2", str(t2), "--output-dir", str(out), "--spacing", "2"]) == 6
    assert not out.exists()


def test_where_one_of_the_files_cannot_be_replaced_all_stay(tmp_path, monkeypatch, capsys):
    t2, out, replace = head(tmp_path), tmp_path / "out", os.replace
    out.mkdir()
    for name in ("us.nii.gz", "field.nii.gz"):
        (out / name).write_text("former")

    def refused(source, target):
        if out / "field.nii.gz" in (source, target):
            raise PermissionError(13, "in use")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refused)
    words = ["simulate", "--t2", str(t2), "--output-dir", str(out), "--spacing", "2", "--overwrite", "--json"]
    assert main(words) == 6 and "field.nii.gz could not be written: in use" in capsys.readouterr().out
    assert {path.name: path.read_text() for path in out.iterdir()} == dict.fromkeys(
        ("us.nii.gz", "field.nii.gz"), "former"
    )


def test_a_file_that_would_be_taken_for_the_result_is_in_the_way(tmp_path, capsys):
    t2, out = head(tmp_path), tmp_path / "out"
    out.mkdir()
    (out / "us.nii").write_bytes(b"")
    arguments = ["simulate", "--t2", str(t2), "--output-dir", str(out), "--overwrite", "--json"]
    assert main(arguments) == 6
    assert "other programs would take for those of us.nii.gz" in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize("value", [256, 255, 5, -1, 0.5])
def test_a_label_that_is_no_segmentation_is_refused_and_no_folder_is_left(tmp_path, capsys, value):
    t2 = head(tmp_path)
    label = sitk.Cast(read(t2), sitk.sitkFloat32) * 0 + value
    arguments = ["simulate", "--t2", str(t2), "--label", str(write(label, tmp_path / "label.nrrd"))]
    assert main([*arguments, "--output-dir", str(tmp_path / "new" / "out"), "--json"]) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert "must be 0, 1 (necrosis), 2 (oedema), 3 or 4 (enhancing tumour)" in error and f"it has {value:g}." in error
    assert not (tmp_path / "new").exists()


def test_a_label_elsewhere_is_refused_and_no_folder_is_left(tmp_path, capsys):
    t2 = head(tmp_path)
    label = sitk.Cast(read(t2) > 0, sitk.sitkUInt8)
    label.SetOrigin((1000, 0, 0))
    arguments = ["simulate", "--t2", str(t2), "--label", str(write(label, tmp_path / "label.nrrd"))]
    assert main([*arguments, "--output-dir", str(tmp_path / "out"), "--json"]) == 3
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("elsewhere", ["flair", "t2"])
def test_a_contrast_elsewhere_is_refused_and_no_folder_is_left(tmp_path, capsys, elsewhere):
    t2 = head(tmp_path)
    flair = read(t2)
    moved = read(t2)
    moved.SetOrigin((5000, 0, 0))
    files_of = {"t2": t2, "flair": write(flair, tmp_path / "flair.nrrd")}
    files_of[elsewhere] = write(moved, tmp_path / "moved.nrrd")
    words = [word for modality, file in files_of.items() for word in (f"--{modality}", str(file))]
    assert main(["simulate", *words, "--output-dir", str(tmp_path / "out"), "--json"]) == 3
    said = json.loads(capsys.readouterr().out)["error"]
    assert said.startswith("The FLAIR volume shows nothing where T2 lies: check that both belong to one patient")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("others", [[], ["--t2", "t2.nii.gz", "--label"]])
def test_an_input_is_never_replaced(tmp_path, capsys, monkeypatch, others):
    monkeypatch.chdir(tmp_path)
    mine = write(sitk.Cast(read(head(tmp_path)) > 0, sitk.sitkUInt8), tmp_path / "us.nii.gz")
    content = mine.read_bytes()
    words = ["simulate", *(others or ["--t2"]), "us.nii.gz", "--output-dir", str(tmp_path), "--overwrite", "--json"]
    assert main(words) == 6 and mine.read_bytes() == content
    assert "us.nii.gz is one of the inputs: choose another folder" in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize("low", [0, -500])
def test_a_skull_that_is_still_on_is_warned_of(tmp_path, capsys, low):
    array = np.random.default_rng(0).integers(1, 400, (40, 60, 60)).astype(np.int16)
    array[0, 0, 0] = 0
    image = sitk.GetImageFromArray((array + low).astype(np.int16))
    image.SetSpacing((2, 2, 2))
    t2 = write(image, tmp_path / "whole.nii.gz")
    for file, said in ((t2, 1), (head(tmp_path), 0)):
        arguments = ["simulate", "--t2", str(file), "--output-dir", str(tmp_path / "out"), "--spacing", "2"]
        assert main([*arguments, "--overwrite", "--json"]) == 0
        warnings = json.loads(capsys.readouterr().out)["result"]["warnings"]
        assert len(warnings) == said and all("T2 has hardly any background" in each for each in warnings)
