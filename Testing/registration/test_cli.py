import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib import SOFTWARE
from MMHVAESynthesisLib.errors import InputError, ModelError, OutputError
from MMHVAESynthesisLib.registration import cli, figures, landmarks, transforms
from MMHVAESynthesisLib.registration.result import RegistrationResult

from . import phantom

MOTION = phantom.motion((3, -2, 4), (3, -2, 2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    head = phantom.head()
    sitk.WriteImage(phantom.field(head), str(folder / "synthetic.nrrd"))
    sitk.WriteImage(sitk.Cast(phantom.carried(head, MOTION), sitk.sitkInt16), str(folder / "T2 pre.nii.gz"))
    fixed = np.array([[0.0, 0, 0], [10, 5, 0], [0, 10, -8]]) + phantom.CENTRE
    moving = fixed @ MOTION[:3, :3].T + MOTION[:3, 3]
    rows = np.hstack([moving, fixed]) * [-1, -1, 1, -1, -1, 1]
    text = "\n".join(" ".join(f"{number:.6f}" for number in row) + ' ""' for row in rows)
    (folder / "L.tag").write_text(f"MNI Tag Point File\nVolumes = 2;\nPoints =\n{text};\n", encoding="utf-8")
    return folder


def run(folder, *more, output="T.h5", overwrite=True):
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    given = {"--synthetic-t2": folder / "synthetic.nrrd", "--t2": folder / "T2 pre.nii.gz", "--output": folder / output}
    words = [word for option in given if option not in more for word in (option, given[option])]
    words += ["--overwrite"] if overwrite else []
    return cli.run(parser.parse_args([str(word) for word in [*words, "--starts", 1, *more]]))


def test_everything_is_written_and_agrees(folder, tmp_path):
    result = run(
        folder, "--landmarks", folder / "L.tag", "--resampled-dir", tmp_path, "--displacement", tmp_path / "mm.nrrd",
        "--checkerboard", tmp_path / "c.png",
    )  # fmt: skip
    json.dumps(result)
    transform = transforms.read(result["outputs"]["transform"])
    assert phantom.error(transform, MOTION) < 0.5
    assert result["tre"]["before"]["mean_mm"] > 3 and result["tre"]["after"]["largest_mm"] < 0.5
    fixed = sitk.ReadImage(str(folder / "synthetic.nrrd"))
    resampled = sitk.ReadImage(result["outputs"]["resampled_t2"])
    assert resampled.GetSize() == fixed.GetSize() and resampled.GetPixelID() == sitk.sitkInt16
    seen = sitk.GetArrayViewFromImage(fixed) > 0
    values = [sitk.GetArrayViewFromImage(image)[seen] for image in (fixed, resampled)]
    assert np.corrcoef(*values)[0, 1] > 0.97
    moved = sitk.GetArrayFromImage(sitk.ReadImage(result["outputs"]["displacement"]))[seen]
    assert np.median(moved) == pytest.approx(result["moved_mm"], abs=0.3)
    assert Path(result["outputs"]["checkerboard"]).stat().st_size > 500
    said = cli.describe(result)
    assert f"Moved {result['moved_mm']:.1f} mm" in said and f"{result['confidence_mm']:.1f} mm (confidence)" in said
    assert "Similarity of T2 (LNCC)" in said and f"to {result['tre']['after']['mean_mm']:.2f} mm" in said
    assert "Mean error of 3 landmarks: " in said
    assert figures.LINEAR_ONLY in said and result["outputs"]["transform"] in said.splitlines()
    kept = {**result, "kept_start": True, "outputs": {"transform": "T.h5"}}
    assert "Left where it was" in cli.describe(kept) and figures.LINEAR_ONLY not in cli.describe(kept)


def test_figures_count_from_the_initial_transform(folder, tmp_path):
    away = phantom.motion((0, 0, 0), (40, 0, 0))
    initial = transforms.transform_of(away @ MOTION, phantom.CENTRE)
    # The same head a long way off, nearly brought back by the initial transform.
    moving = phantom.carried(sitk.ReadImage(str(folder / "T2 pre.nii.gz")), away)
    sitk.WriteImage(moving, str(tmp_path / "far.nrrd"))
    near = transforms.transform_of(phantom.motion((0, 0, 0), (41, 1, 0)) @ MOTION, phantom.CENTRE)
    transforms.write(near, tmp_path / "near.h5")
    fixed = np.array([[0.0, 0, 0], [10, 5, 0], [0, 10, -8]]) + phantom.CENTRE
    lists = {}
    for name, points in (("fixed", fixed), ("moving", [initial.TransformPoint(point.tolist()) for point in fixed])):
        rows = "".join(f"{n},{','.join(map(str, point))}\n" for n, point in enumerate(points))
        lists[name] = tmp_path / f"{name}.fcsv"
        lists[name].write_text("# CoordinateSystem = LPS\n" + rows, encoding="utf-8")
    points = ("--fixed-landmarks", lists["fixed"], "--moving-landmarks", lists["moving"])
    result = run(folder, "--t2", tmp_path / "far.nrrd", "--initial", tmp_path / "near.h5", *points)
    assert result["tre"]["before"]["mean_mm"] == pytest.approx(np.sqrt(2), abs=0.05)
    assert result["tre"]["after"]["mean_mm"] < 0.3 and 1 < result["moved_mm"] < 2
    said = cli.describe(result)
    assert f"from where {tmp_path / 'near.h5'} puts it" in said
    assert f"Left where {tmp_path / 'near.h5'} puts it" in cli.describe({**result, "kept_start": True})


def test_wrong_outputs_are_refused_before_any_work(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "register", lambda *_: pytest.fail("work was started"))
    with pytest.raises(OutputError, match="must end with"):
        run(folder, output="T.nrrd")
    for name in ("", ".", os.sep):
        with pytest.raises(OutputError, match="must end with one of"):
            run(folder, "--output", name)
    with pytest.raises(OutputError, match=r"\.png"):
        run(folder, "--checkerboard", tmp_path / "c.gif")
    with pytest.raises(OutputError):
        run(folder, "--displacement", tmp_path / "mm.png")
    with pytest.raises(OutputError, match="one of the inputs"):
        run(folder, "--displacement", folder / "synthetic.nrrd")
    with pytest.raises(OutputError, match="one of the inputs"):
        run(folder, "--us", folder / "us.nrrd", "--displacement", folder / "us.nrrd")
    with pytest.raises(OutputError, match="one of the inputs"):
        run(folder, "--initial", folder / "T.h5")


@pytest.mark.parametrize("which", ["T.h5", "T.json", "mm.nrrd", "c.png", "T2 pre_registered-T2.nrrd"])
def test_results_that_are_there_stay_unless_told_otherwise(folder, tmp_path, monkeypatch, which):
    monkeypatch.setattr(cli, "register", lambda *_: pytest.fail("work was started"))
    (tmp_path / which).write_text("mine")
    named = {"--displacement": "mm.nrrd", "--checkerboard": "c.png", "--resampled-dir": ""}
    words = [word for option, name in named.items() for word in (option, tmp_path / name)]
    with pytest.raises(OutputError, match=f"{which} is there already: .* give --overwrite"):
        run(folder, *words, output=tmp_path / "T.h5", overwrite=False)
    assert (tmp_path / which).read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_two_results_of_one_name_are_refused_before_any_work(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "register", lambda *_: pytest.fail("work was started"))
    both = tmp_path / "T2 pre_registered-T2.nrrd"
    with pytest.raises(OutputError, match="the name of two of the results"):
        run(folder, "--displacement", both, "--resampled-dir", tmp_path, output=tmp_path / "T.h5")


def test_a_file_that_would_be_taken_for_a_result_is_in_the_way(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "register", lambda *_: pytest.fail("work was started"))
    (tmp_path / "mm.nii").write_text("mine")
    with pytest.raises(OutputError, match=r"would take for those of mm\.nii\.gz"):
        run(folder, "--displacement", tmp_path / "mm.nii.gz", output=tmp_path / "T.h5")


def test_a_displacement_that_its_format_cannot_hold_is_refused_before_any_work(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "register", lambda *_: pytest.fail("work was started"))
    far = sitk.ReadImage(str(folder / "synthetic.nrrd"))
    far.SetOrigin((100000.123, -99999.877, 3.0))
    sitk.WriteImage(far, str(tmp_path / "far.nrrd"))
    with pytest.raises(OutputError, match=r"\.nii\.gz cannot hold this volume's geometry"):
        run(folder, "--us", tmp_path / "far.nrrd", "--displacement", tmp_path / "mm.nii.gz", output=tmp_path / "T.h5")


def test_a_call_that_is_refused_leaves_no_folder_behind(folder, tmp_path):
    for more in (("--t2", tmp_path / "absent.nrrd"), ("--landmarks", tmp_path / "absent.tag")):
        with pytest.raises(InputError):
            run(folder, *more, "--resampled-dir", tmp_path / "r", output=tmp_path / "a" / "b" / "T.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_slice_of_dicom_is_no_volume(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "register", lambda *_: pytest.fail("work was started"))
    (tmp_path / "1.2.3").write_bytes(bytes(128) + b"DICM")
    for option in ("--t2", "--us"):
        with pytest.raises(InputError, match="is a DICOM file.*load a DICOM series in Slicer and save it as .nrrd"):
            run(folder, option, tmp_path / "1.2.3")


def test_wrong_landmarks_are_refused_before_any_work(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "register", lambda *_: pytest.fail("work was started"))
    lists = {}
    for name, count in (("a", 2), ("b", 3)):
        lists[name] = tmp_path / f"{name}.fcsv"
        rows = "".join(f"{n},1,2,3\n" for n in range(count))
        lists[name].write_text("# CoordinateSystem = LPS\n" + rows, encoding="utf-8")
    with pytest.raises(InputError, match="2 landmarks in the ultrasound and 3 in the MR"):
        run(folder, "--fixed-landmarks", lists["a"], "--moving-landmarks", lists["b"])
    with pytest.raises(InputError, match="one volume only"):
        run(folder, "--fixed-landmarks", lists["a"])


def lists_of_landmarks(folder, **labels):
    """Write the points of ``L.tag`` as one list of the ultrasound and one of the MR, in the order of its labels."""
    moving, fixed = landmarks.read_tag(folder / "L.tag")
    paths = {}
    for name, points in (("fixed", fixed), ("moving", moving)):
        rows = [f"{name},{','.join(map(str, points['ABC'.index(each)]))}{',0' * 7},{each}" for each in labels[name]]
        paths[name] = folder / f"{name}.fcsv"
        paths[name].write_text("\n".join(["# CoordinateSystem = LPS", *rows]) + "\n", encoding="utf-8")
    return "--fixed-landmarks", paths["fixed"], "--moving-landmarks", paths["moving"]


def test_landmarks_in_another_order_are_paired_by_their_labels_and_that_is_said(folder, tmp_path):
    expected = run(folder, "--landmarks", folder / "L.tag", output=tmp_path / "T.h5")
    result = run(folder, *lists_of_landmarks(folder, fixed="ABC", moving="CAB"), output=tmp_path / "T.h5")
    for when in ("before", "after"):
        assert result["tre"][when] == pytest.approx(expected["tre"][when], abs=1e-4)
    assert landmarks.BY_LABEL in result["provenance"]["warnings"]
    in_order = run(folder, *lists_of_landmarks(folder, fixed="ABC", moving="ABC"), output=tmp_path / "T.h5")
    assert in_order["tre"] == result["tre"] and landmarks.BY_LABEL not in in_order["provenance"]["warnings"]


def test_landmarks_that_share_some_labels_only_are_warned_of(folder, tmp_path):
    lists = lists_of_landmarks(folder, fixed="ABC", moving="ABC")
    text = lists[3].read_text(encoding="utf-8")
    lists[3].write_text(text.replace(",C\n", ",D\n"), encoding="utf-8")
    result = run(folder, *lists, output=tmp_path / "T.h5")
    (warning,) = (each for each in result["provenance"]["warnings"] if "share some of their labels only" in each)
    assert "'C' in the ultrasound was paired with 'D' in the MR" in warning


def test_one_list_of_landmarks_for_both_volumes_is_refused_before_any_work(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "register", lambda *_: pytest.fail("work was started"))
    (tmp_path / "L.fcsv").write_text("# CoordinateSystem = LPS\n1,1,2,3\n", encoding="utf-8")
    both = ("--fixed-landmarks", tmp_path / "L.fcsv", "--moving-landmarks", tmp_path / "x" / ".." / "L.fcsv")
    with pytest.raises(InputError, match="as the landmarks in the ultrasound and as those in the MR: give two lists"):
        run(folder, *both)


@pytest.mark.parametrize("engine", ["lncc", "mattes"])
def test_a_model_that_is_none_is_told_before_any_work(folder, monkeypatch, engine):
    monkeypatch.setattr(cli, "register", lambda *_: pytest.fail("work was started"))
    with pytest.raises(ModelError, match="no model named 'nosuch'"):
        run(folder, "--model", "nosuch", "--engine", engine)


def test_the_record_beside_the_transform_says_all_that_the_result_says(folder, tmp_path, monkeypatch):
    initial = transforms.write(sitk.TranslationTransform(3, (1.0, 0, 0)), folder / "near.tfm")
    (folder / "us.nrrd").write_bytes((folder / "synthetic.nrrd").read_bytes())
    monkeypatch.chdir(folder)
    more = ("--us", "us.nrrd", "--t2", "T2 pre.nii.gz", "--initial", "near.tfm", "--engine", "mattes")
    result = run(Path("."), *more, "--landmarks", "L.tag", "--checkerboard", tmp_path / "c.png", output="found.tfm")
    assert result["outputs"] == {
        "checkerboard": str(tmp_path / "c.png"),
        "record": str(folder / "found.json"),
        "transform": str(folder / "found.tfm"),
    }
    assert json.loads((folder / "found.json").read_text(encoding="utf-8")) == json.loads(json.dumps(result))
    made = result["provenance"]
    assert made["software"] == SOFTWARE and result["initial"] == made["initial"] == str(initial)
    assert made["us"] == str(folder / "us.nrrd") and made["fixed"] == {"t2": str(folder / "synthetic.nrrd")}
    assert made["moving"] == {"t2": str(folder / "T2 pre.nii.gz")}
    assert (made["completion"], made["completed"]) == (True, [])
    assert str(folder / "found.json") in cli.describe(result).splitlines()


def test_a_record_that_is_an_input_is_not_replaced(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "register", lambda *_: pytest.fail("work was started"))
    (tmp_path / "L.json").write_text("mine")
    both = ("--fixed-landmarks", tmp_path / "L.json", "--moving-landmarks", tmp_path / "M.mrk.json")
    with pytest.raises(OutputError, match="L.json is one of the inputs"):
        run(folder, *both, output=tmp_path / "L.h5")


def test_importing_the_room_does_not_import_torch():
    code = (
        "import sys, MMHVAESynthesisLib.registration.cli, MMHVAESynthesisLib.registration.mattes; "
        "sys.exit('torch' in sys.modules)"
    )
    library = str(Path(cli.__file__).resolve().parents[2])
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": library}).returncode == 0


def test_landmarks_given_twice_and_a_wrong_name_to_resample_are_refused_before_any_work(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "register", lambda *_: pytest.fail("work began"))
    with pytest.raises(InputError, match="twice"):
        run(folder, "--landmarks", folder / "L.tag", "--fixed-landmarks", "F.fcsv", "--moving-landmarks", "M.fcsv")
    with pytest.raises(InputError, match="absent"):
        run(folder, "--flair", tmp_path / "absent.nrrd", "--resampled-dir", tmp_path)


@pytest.mark.parametrize("option", ["--t2", "--synthetic-flair", "--us"])
def test_two_volumes_for_one_contrast_are_wrong_use(folder, tmp_path, monkeypatch, capsys, option):
    monkeypatch.setattr(cli, "register", lambda *_: pytest.fail("work was started"))
    with pytest.raises(SystemExit) as caught:
        run(folder, option, folder / "T2 pre.nii.gz", option, folder / "other.nrrd", output=tmp_path / "T.h5")
    assert caught.value.code == 2 and f"{option} is given twice" in capsys.readouterr().err


def test_synthetic_and_preoperative_mr_exchanged_are_refused(folder, tmp_path):
    made = tmp_path / "iUS_synthetic-T2.nrrd"
    made.write_bytes((folder / "synthetic.nrrd").read_bytes())
    with pytest.raises(InputError, match="were they exchanged") as caught:
        run(folder, "--synthetic-t2", folder / "T2 pre.nii.gz", "--t2", made, output=tmp_path / "T.h5")
    assert str(caught.value).startswith(
        "The pre-operative T2 'iUS_synthetic-T2.nrrd' is synthetic, and the synthetic T2 'T2 pre.nii.gz' is not called "
        "so: were they exchanged? The synthetic T2 (--synthetic-t2) is what was made from the ultrasound"
    )
    assert not (tmp_path / "T.h5").exists()


@pytest.fixture
def moved_far(monkeypatch):
    """Registrations that end at once, most of the MR moved out of sight."""
    away = sitk.TranslationTransform(3, (80.0, 0.0, 0.0))
    result = RegistrationResult(away, away.GetInverse(), 0.1, 0.2, 0.5, 0.5, 80.0, False, [], [], 0.1, {})
    monkeypatch.setattr(cli, "register", lambda *_: result)


def test_a_resampled_mr_is_at_its_lowest_where_it_has_nothing(folder, tmp_path, moved_far):
    mr = sitk.ReadImage(str(folder / "T2 pre.nii.gz")) - 3000
    sitk.WriteImage(mr, str(tmp_path / "low.nrrd"))
    result = run(folder, "--t2", tmp_path / "low.nrrd", "--resampled-dir", tmp_path / "r", output=tmp_path / "T.h5")
    values = sitk.GetArrayFromImage(sitk.ReadImage(result["outputs"]["resampled_t2"]))
    lowest = sitk.GetArrayViewFromImage(mr).min()
    assert values.min() == lowest < -1000 and (values == lowest).sum() > 100 and not (values == 0).any()


@pytest.mark.parametrize("kind", [sitk.sitkUInt8, sitk.sitkInt16])
def test_a_resampled_mr_of_whole_numbers_is_rounded(folder, tmp_path, monkeypatch, kind):
    motion = transforms.affine_of(MOTION)
    result = RegistrationResult(motion, motion.GetInverse(), 0.1, 0.2, 0.5, 0.5, 5.0, False, [], [], 0.1, {})
    monkeypatch.setattr(cli, "register", lambda *_: result)
    mr = sitk.Cast(sitk.RescaleIntensity(sitk.ReadImage(str(folder / "T2 pre.nii.gz")), 5, 250), kind)
    sitk.WriteImage(mr, str(tmp_path / "mr.nrrd"))
    report = run(folder, "--t2", tmp_path / "mr.nrrd", "--resampled-dir", tmp_path / "r", output=tmp_path / "T.h5")
    written = sitk.ReadImage(report["outputs"]["resampled_t2"])
    exact = sitk.Resample(mr, written, motion, sitk.sitkLinear, 5.0, sitk.sitkFloat64)
    differences = sitk.GetArrayViewFromImage(written) - sitk.GetArrayViewFromImage(exact)
    assert written.GetPixelID() == kind and np.abs(differences).max() <= 0.5 and abs(differences.mean()) < 0.05


def test_the_displacement_is_shown_over_the_ultrasound_where_it_is_given(folder, tmp_path, moved_far):
    us = phantom.field(phantom.head(), size=(60, 50, 40), spacing=(0.5, 0.5, 0.5))
    sitk.WriteImage(us, str(tmp_path / "us.nrrd"))
    named = ("--displacement", tmp_path / "mm.nrrd")
    for more, field in (((), sitk.ReadImage(str(folder / "synthetic.nrrd"))), (("--us", tmp_path / "us.nrrd"), us)):
        run(folder, *named, *more, output=tmp_path / "T.h5")
        shown = sitk.ReadImage(str(tmp_path / "mm.nrrd"))
        assert shown.GetSize() == field.GetSize() and shown.GetSpacing() == field.GetSpacing()
        seen = sitk.GetArrayViewFromImage(field) > 0
        np.testing.assert_allclose(sitk.GetArrayViewFromImage(shown)[seen], 80, atol=1e-3)


def test_what_cannot_be_written_whole_leaves_all_as_it_was(folder, tmp_path, moved_far, monkeypatch):
    words = ("--resampled-dir", tmp_path / "r", "--displacement", tmp_path / "mm.nrrd", "--checkerboard")
    run(folder, *words, tmp_path / "c.png", output=tmp_path / "T.h5")
    former = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(former) == 5

    def fails(*_):
        raise OutputError("The disk is full.")

    monkeypatch.setattr(figures, "write_picture", fails)
    sitk.WriteImage(phantom.carried(phantom.head(1), MOTION), str(folder / "other.nrrd"))
    with pytest.raises(OutputError, match="disk is full"):
        run(folder, *words, tmp_path / "c.png", "--t2", folder / "other.nrrd", output=tmp_path / "T.h5")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == former
    assert not list(tmp_path.rglob(".*"))
    with pytest.raises(OutputError, match="disk is full"):
        run(folder, "--resampled-dir", tmp_path / "new", "--checkerboard", tmp_path / "new" / "c.png", output="new.h5")
    assert not (tmp_path / "new").exists() and not (folder / "new.h5").exists()


@pytest.mark.parametrize("which", ["r/T2 pre_registered-T2.nrrd", "mm.nrrd", "c.png", "T.json", "T.h5"])
def test_where_one_result_cannot_be_replaced_all_stay(folder, tmp_path, moved_far, monkeypatch, which):
    names = {"--resampled-dir": "r", "--displacement": "mm.nrrd", "--checkerboard": "c.png"}
    words = [word for option, name in names.items() for word in (option, tmp_path / name)]
    run(folder, *words, output=tmp_path / "T.h5")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    for path in files:
        path.write_text("former")
    replace = os.replace

    def refused(source, target):
        if Path(target) == tmp_path / which and Path(source).parent.name != "former":
            raise PermissionError(13, "in use")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(OutputError, match="could not be written: in use. Is it open in another program"):
        run(folder, *words, output=tmp_path / "T.h5")
    assert len(files) == 5 and {path.read_text() for path in files} == {"former"}
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(files)


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("which", ["T.h5", "T.json", "mm.nrrd", "c.png"])
def test_a_folder_of_a_results_name_is_told_before_any_work(folder, tmp_path, monkeypatch, which, overwrite):
    monkeypatch.setattr(cli, "register", lambda *_: pytest.fail("work was started"))
    (tmp_path / which).mkdir()
    words = ("--displacement", tmp_path / "mm.nrrd", "--checkerboard", tmp_path / "c.png")
    with pytest.raises(OutputError, match=f"{which} is a folder"):
        run(folder, *words, output=tmp_path / "T.h5", overwrite=overwrite)


def test_mr_that_is_only_resampled_is_checked_before_any_work(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "register", lambda *_: pytest.fail("work was started"))
    head = phantom.head(size=20)
    head[3, 4, 5] = np.nan
    sitk.WriteImage(head, str(tmp_path / "flair.nrrd"))
    with pytest.raises(InputError, match="pre-operative FLAIR contains voxels that are not numbers"):
        run(folder, "--flair", tmp_path / "flair.nrrd", "--resampled-dir", tmp_path)
