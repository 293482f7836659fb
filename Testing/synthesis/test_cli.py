import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("torch")

from MMHVAESynthesisLib.__main__ import main  # noqa: E402
from MMHVAESynthesisLib.request import SynthesisRequest  # noqa: E402
from MMHVAESynthesisLib.synthesis import cli  # noqa: E402
from MMHVAESynthesisLib.synthesis.engine import synthesize  # noqa: E402
from MMHVAESynthesisLib.volumes import assembly  # noqa: E402
from MMHVAESynthesisLib.volumes.files import read, same_geometry, write  # noqa: E402

from .making import array, fan, model_file  # noqa: E402

ROOT = Path(__file__).parents[2] / "MMHVAESynthesis"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return model_file(tmp_path_factory.mktemp("model"))


@pytest.fixture
def us(tmp_path):
    return write(fan(), tmp_path / "Case27-US.nii.gz")


def arguments(us, model, output, *more):
    return ["synthesize", "--us", str(us), "--model", model, "--output-dir", str(output), "--device", "cpu", *more]


def test_files_are_the_librarys_voxels_on_the_inputs_grid(tmp_path, us, model, capsys):
    output = tmp_path / "new" / "out"
    code = main(arguments(us, model, output, "--targets", "t2, flair", "--samples", "2", "--seed", "3", "--json"))
    assert code == 0
    result = json.loads(capsys.readouterr().out)["result"]
    expected = synthesize(SynthesisRequest({"us": read(us)}, model=model, samples=2, seed=3, device="cpu"))
    for kind, images in (("outputs", expected.images), ("uncertainty", expected.uncertainty)):
        assert list(result[kind]) == ["t2", "flair"]
        for target, file in result[kind].items():
            assert same_geometry(read(us), read(file))
            np.testing.assert_array_equal(array(read(file)), array(images[target]))
    names = sorted(os.listdir(output))
    assert names == [
        "Case27-US_synthetic-FLAIR-uncertainty.nii.gz",
        "Case27-US_synthetic-FLAIR.nii.gz",
        "Case27-US_synthetic-T2-uncertainty.nii.gz",
        "Case27-US_synthetic-T2.nii.gz",
        "Case27-US_synthetic.json",
    ]
    assert json.loads((output / "Case27-US_synthetic.json").read_text(encoding="utf-8"))["seed"] == 3


@pytest.mark.parametrize(
    ("said", "ending"),
    [(".nrrd", ".nrrd"), (".mha", ".mha"), (".nii", ".nii"), ("nrrd", ".nrrd"), ("NII.gz", ".nii.gz")],
)
def test_format_can_be_chosen(tmp_path, us, model, capsys, said, ending):
    assert main(arguments(us, model, tmp_path, "--targets", "t2", "--format", said)) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / f"Case27-US_synthetic-T2{ending}")


def test_results_that_are_there_stay_unless_told_otherwise(tmp_path, us, model, capsys):
    there = tmp_path / "Case27-US_synthetic-T2.nii.gz"
    there.write_text("mine")
    assert main(arguments(us, model, tmp_path)) == 6
    assert there.read_text() == "mine" and len(os.listdir(tmp_path)) == 2
    assert main(arguments(us, model, tmp_path, "--targets", "t2", "--overwrite")) == 0
    assert read(there).GetSize() == (32, 32, 6)


@pytest.mark.parametrize("more", [(), ("--preview",)])
def test_a_file_that_would_be_taken_for_a_result_is_in_the_way(tmp_path, us, model, capsys, more):
    name = "preview-T2" if more else "Case27-US_synthetic-T2"
    (tmp_path / f"{name}.nii").write_text("mine")
    words = arguments(us, model, tmp_path, "--targets", "t2", "--format", "nii.gz", "--overwrite", *more)
    assert main([*words, "--json"]) == 6 and len(os.listdir(tmp_path)) == 2
    assert f"would take for those of {name}.nii.gz" in json.loads(capsys.readouterr().out)["error"]


def test_a_case_of_the_same_file_name_is_told_from_the_other_and_can_have_a_name(tmp_path, us, model, capsys):
    (tmp_path / "other").mkdir()
    other = write(fan(seed=3), tmp_path / "other" / us.name)
    assert main(arguments(us, model, tmp_path / "out", "--targets", "t2")) == 0
    assert main(arguments(us, model, tmp_path / "out", "--targets", "t2", "--json")) == 6
    assert "another input" not in capsys.readouterr().out
    assert main(arguments(other, model, tmp_path / "out", "--targets", "t2", "--json")) == 6
    said = json.loads(capsys.readouterr().out)["error"]
    assert f"made from another input ({us})" in said and "--name" in said and "--overwrite" in said
    assert main(arguments(other, model, tmp_path / "out", "--targets", "t2", "--name", "B")) == 0
    assert {"B_synthetic-T2.nii.gz", "B_synthetic.json"} < set(os.listdir(tmp_path / "out"))
    for wrong in ("", "../B", "a/b", ".hidden", "a:b"):
        assert main(arguments(other, model, tmp_path / "new", "--name", wrong)) == 6
    assert not (tmp_path / "new").exists()


def test_samples_that_cannot_differ_are_warned_of(tmp_path, us, model, caplog):
    words = arguments(us, model, tmp_path / "out", "--targets", "t2", "--temperature", "0")
    assert main([*words, "--samples", "3"]) == 0
    provenance = json.loads((tmp_path / "out" / "Case27-US_synthetic.json").read_text(encoding="utf-8"))
    assert any("At temperature 0 all 3 samples are the same" in each for each in provenance["warnings"])
    assert "0 everywhere" in caplog.text
    caplog.clear()
    assert main([*words, "--overwrite"]) == 0 and "temperature 0" not in caplog.text


def test_a_slice_of_dicom_is_no_volume(tmp_path, model, capsys):
    for name, content in (("1.dcm", b"nonsense"), ("IM_0001", bytes(128) + b"DICM")):
        (tmp_path / name).write_bytes(content)
        assert main(arguments(tmp_path / name, model, tmp_path / "out", "--json")) == 3
        said = json.loads(capsys.readouterr().out)["error"]
        assert "is a DICOM file" in said and "load a DICOM series in Slicer and save it as .nrrd" in said
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, us, model, monkeypatch):
    whole, written = sitk.WriteImage, []

    def cut(image, name, *args):
        whole(image, name, *args)
        written.append(name)
        if len(written) == 3:
            with open(name, "rb+") as file:
                file.truncate(os.path.getsize(name) // 2)

    monkeypatch.setattr(sitk, "WriteImage", cut)
    assert main(arguments(us, model, tmp_path / "out")) == 6
    assert len(written) == 3 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("said", [["t2,flair"], ["t2", "flair"], ["t2,", "flair"], [" t2 , flair "], ["T2,FLAIR"]])
def test_targets_are_listed_with_commas_or_spaces(tmp_path, us, model, capsys, said):
    code = main([*arguments(us, model, tmp_path / "out", "--targets"), *said, "--preview", "3", "--json"])
    assert code == 0, capsys.readouterr()
    assert list(json.loads(capsys.readouterr().out)["result"]["outputs"]) == ["t2", "flair"]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--temperature", "2"], 3),
        (["--targets", "pet"], 3),
        (["--t2", "absent.nrrd"], 3),
        (["--samples", "0"], 3),
        (["--model", "absent.pth"], 4),
        (["--device", "gpu"], 3),
        (["--device", "cuda:77"], 5),
    ],
)
def test_exit_codes_say_what_is_wrong(tmp_path, us, model, capsys, more, code):
    assert main([*arguments(us, model, tmp_path / "out", "--json"), *more]) == code
    said = json.loads(capsys.readouterr().out)
    assert said["exit_code"] == code and said["error"]
    assert not (tmp_path / "out").exists()


def test_without_arguments_the_commands_are_named(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert "give a command: synthesize, register, batch, " in said and "--help" in said


def test_wrong_use_of_the_command_line(us, model, tmp_path, capsys):
    for wrong in (["--us", str(us)], ["--colour"], ["--device"]):
        with pytest.raises(SystemExit) as caught:
            main([*arguments(us, model, tmp_path), *wrong])
        assert caught.value.code == 2
    assert "given twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("modality", "name", "other"),
    [
        ("us", "Case27_T2.nrrd", "T2"),
        ("t2", "iUS.nrrd", "iUS"),
        ("cet1", "ax FLAIR.nii.gz", "FLAIR"),
        ("t2", "T2_on_iUS.nii.gz", None),
        ("us", "iUS_on_T2.nrrd", None),
        ("us", "us_space_t2.nrrd", None),
        ("t2", "us_space_t2.nrrd", None),
        ("t2", "2D_AX_T2_FLAIR.nrrd", None),
        ("cet1", "t1_gd_reg_flair.nrrd", None),
        ("us", "scan.nrrd", None),
    ],
)
def test_a_name_that_says_another_modality_is_warned_of(tmp_path, model, capsys, modality, name, other):
    file = write(fan(4), tmp_path / name)
    words = ["synthesize", f"--{modality}", str(file), "--model", model, "--output-dir", str(tmp_path / "out")]
    assert main([*words, "--targets", "t2", "--device", "cpu", "--json"]) == 0
    warnings = json.loads(capsys.readouterr().out)["result"]["provenance"]["warnings"]
    label = {"us": "iUS", "t2": "T2", "cet1": "ceT1"}[modality]
    expected = [f"'{name}' is given as {label} and looks like {other} by its name: is it the right file?"]
    assert [each for each in warnings if "by its name" in each] == (expected if other else [])


def test_no_input_is_an_error_with_the_options_to_give(tmp_path, capsys, model):
    assert main(["synthesize", "--model", model, "--output-dir", str(tmp_path), "--json"]) == 3
    assert "--us, --t2, --cet1, --flair" in capsys.readouterr().out


def child(us, model, output, *more, **settings):
    command = [sys.executable, "-m", "MMHVAESynthesisLib", *arguments(us, model, output, "--progress", "json", *more)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, text=True, **pipes, **settings)


def test_the_child_reports_in_json_and_ends_with_its_result(tmp_path, us, model):
    process = child(us, model, tmp_path / "out")
    out, err = process.stdout.read(), process.stderr.read()
    process.stdin.close()
    assert process.wait() == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    steps = [line["done"] for line in lines if line.get("stage") == "synthesis"]
    assert steps == list(range(5)) and {"stage", "done", "total", "seconds_left"} == set(lines[0])
    assert sorted(lines[-1]["result"]["outputs"]) == ["cet1", "flair", "t2", "us"]


def test_the_child_warns_before_it_begins_with_the_slices(tmp_path, model):
    coarse = write(fan(6), tmp_path / "coarse.nrrd")
    image = read(coarse)
    image.SetSpacing([9.0, 9.0, 9.0])
    process = child(write(image, tmp_path / "coarse.nrrd"), model, tmp_path / "out")
    lines = [json.loads(line) for line in process.stdout.read().splitlines()]
    process.stdin.close()
    assert process.wait() == 0, process.stderr.read()
    first = next(index for index, line in enumerate(lines) if line.get("warnings"))
    slices = next(index for index, line in enumerate(lines) if line.get("stage") == "synthesis")
    assert first < slices and "pixels of 9 mm" in lines[first]["warnings"][0]


@pytest.fixture
def long_us(tmp_path):
    return write(fan(600), tmp_path / "long.nrrd")


def wait_for_slices(process):
    for line in process.stdout:
        report = json.loads(line)
        if report.get("stage") == "synthesis" and report["done"] >= 1:
            return report
    pytest.fail(process.stderr.read())


def test_the_child_stops_when_its_standard_input_closes(tmp_path, long_us, model):
    process = child(long_us, model, tmp_path / "out")
    report = wait_for_slices(process)
    start = time.monotonic()
    process.stdin.close()
    rest = [json.loads(line) for line in process.stdout]
    assert process.wait() == 8
    assert rest[-1]["exit_code"] == 8 and report["total"] == 598
    assert time.monotonic() - start < 20
    assert rest[-1]["error"] == "Cancelled. Nothing was changed."
    said = process.stderr.read()
    for reason in (rest[-1]["reason"], said):
        assert "Standard input was closed" in reason and "--progress none" in reason
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that can be handled")
def test_the_child_stops_when_it_is_terminated(tmp_path, long_us, model):
    process = child(long_us, model, tmp_path / "out")
    wait_for_slices(process)
    process.send_signal(signal.SIGTERM)
    said = process.stdout.read()
    assert process.wait() == 8
    assert "Cancelled" in said and "reason" not in json.loads(said.splitlines()[-1])
    assert not (tmp_path / "out").exists()


def test_a_preview_writes_one_plane_and_estimates_the_whole(tmp_path, us, model, capsys):
    output = tmp_path / "out"
    assert main(arguments(us, model, output, "--targets", "t2", "--preview", "3", "--json")) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert result["plane"] == 3 and result["seconds"] > 0 and isinstance(result["warnings"], list)
    plane = read(result["outputs"]["t2"])
    whole = synthesize(SynthesisRequest({"us": read(us)}, ["t2"], model=model, device="cpu")).images["t2"]
    np.testing.assert_array_equal(array(plane)[0], array(whole)[3])
    assert os.listdir(output) == ["preview-T2.nrrd"]
    assert main(arguments(us, model, output, "--preview", "0", "--overwrite", "--json")) == 3


@pytest.mark.parametrize("plane", ["-1", "6", "99"])
def test_a_preview_of_a_plane_that_is_not_there_is_an_error(tmp_path, us, model, caplog, plane):
    assert main(arguments(us, model, tmp_path / "out", "--preview", plane)) == 3
    assert f"Slice {plane} of iUS is empty or outside the volume" in caplog.text
    assert not (tmp_path / "out").exists()


def test_a_preview_that_is_there_stays_unless_told_otherwise(tmp_path, us, model, capsys):
    words = arguments(us, model, tmp_path, "--targets", "t2", "--preview", "3")
    (tmp_path / "preview-T2.nrrd").write_text("mine")
    assert main(words) == 6 and (tmp_path / "preview-T2.nrrd").read_text() == "mine"
    assert main([*words, "--name", "A"]) == 0 and (tmp_path / "A_preview-T2.nrrd").is_file()
    assert main([*words, "--overwrite"]) == 0 and read(tmp_path / "preview-T2.nrrd").GetSize() == (32, 32, 1)


def test_a_preview_says_its_plane_the_time_for_all_and_what_is_unlikely(tmp_path, us, model, capsys, caplog):
    image = read(us)
    image.SetSpacing([9.0, 9.0, 9.0])
    coarse = write(image, tmp_path / "coarse.nrrd")
    assert main(arguments(coarse, model, tmp_path / "out", "--targets", "t2", "--preview", "3")) == 0
    file, estimate = capsys.readouterr().out.splitlines()
    assert file == str(tmp_path / "out" / "preview-T2.nrrd")
    assert estimate.startswith("This is plane 3. ") and "All planes would take about 0:0" in estimate
    assert "pixels of 9 mm" in caplog.text


def test_a_result_is_told_as_its_files(tmp_path, us, model, capsys):
    assert main(arguments(us, model, tmp_path / "out", "--targets", "t2", "--samples", "2")) == 0
    names = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert names == ["Case27-US_synthetic-T2.nii.gz", "Case27-US_synthetic-T2-uncertainty.nii.gz"]


def test_the_machine_names_no_device_that_cannot_compute(capsys, monkeypatch):
    from MMHVAESynthesisLib.synthesis import devices

    monkeypatch.setattr(devices, "available_devices", lambda: ["cuda:0", "cpu"])
    monkeypatch.setattr(devices, "computes", lambda name: name == "cpu")
    assert main(["machine", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["result"]["devices"]) == ["cpu"]


def test_the_machine_names_its_devices(capsys):
    assert main(["machine", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert "core" in result["devices"]["cpu"] and result["torch"]


def test_what_was_synthesised_before_is_warned_of_by_its_files_name(tmp_path, model, capsys):
    made = write(fan(), tmp_path / "Case1_synthetic-T2.nrrd")
    words = ["synthesize", "--t2", str(made), "--targets", "flair", "--model", model, "--json"]
    assert main([*words, "--output-dir", str(tmp_path / "out")]) == 0
    warnings = json.loads(capsys.readouterr().out)["result"]["provenance"]["warnings"]
    assert any("'Case1_synthetic-T2.nrrd' is itself synthetic" in warning for warning in warnings)


def test_the_first_input_in_the_published_order_names_and_places_the_results_whatever_the_models(tmp_path, capsys):
    model = model_file(tmp_path, modalities=("us", "flair", "t2", "cet1"))
    t2 = write(fan(7), tmp_path / "T2.nrrd")
    flair = write(fan(9, origin=(1.0, 0.0, 0.0)), tmp_path / "FLAIR.nrrd")
    words = ["synthesize", "--flair", str(flair), "--t2", str(t2), "--targets", "cet1", "--model", model, "--json"]
    assert main([*words, "--output-dir", str(tmp_path / "out"), "--device", "cpu"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    made = Path(result["outputs"]["cet1"])
    assert made.name == "T2_synthetic-ceT1.nrrd" and result["provenance"]["reference"] == "t2"
    assert same_geometry(read(t2), read(made))
    np.testing.assert_array_equal(array(read(made)) > 0, array(read(t2)) > 0)


def test_memory_that_runs_out_while_results_are_put_together_has_its_exit_code(
    tmp_path, us, model, monkeypatch, caplog
):
    def too_large(*_):
        raise RuntimeError("itkImportImageContainer.hxx:179:\nFailed to allocate memory for image.")

    monkeypatch.setattr(assembly.Assembly, "finish", too_large)
    assert main(arguments(us, model, tmp_path / "out")) == 5
    assert "The memory of this machine ran out: close other programs" in caplog.text
    assert not (tmp_path / "out").exists()


def meanwhile(monkeypatch, act):
    """Let ``act`` happen in the middle of the next synthesis, as another run would."""

    def disturbed(request, *args, **words):
        result = synthesize(request, *args, **words)
        act()
        return result

    monkeypatch.setattr(cli, "synthesize", disturbed)


def test_a_folder_that_another_failing_run_took_away_is_made_again(tmp_path, us, model, monkeypatch):
    output = tmp_path / "results"
    meanwhile(monkeypatch, output.rmdir)
    assert main(arguments(us, model, output, "--targets", "t2")) == 0
    assert sorted(os.listdir(output)) == ["Case27-US_synthetic-T2.nii.gz", "Case27-US_synthetic.json"]


def test_what_another_run_wrote_meanwhile_stays(tmp_path, us, model, monkeypatch, caplog):
    there = tmp_path / "results" / "Case27-US_synthetic-T2.nii.gz"
    meanwhile(monkeypatch, lambda: there.write_text("the other's"))
    assert main(arguments(us, model, there.parent, "--targets", "t2")) == 6
    assert there.read_text() == "the other's" and os.listdir(there.parent) == [there.name]
    assert "is there already" in caplog.text
    assert main(arguments(us, model, there.parent, "--targets", "t2", "--overwrite")) == 0
    assert read(there).GetSize() == (32, 32, 6)


def test_a_format_that_cannot_hold_the_geometry_is_refused_before_the_work(tmp_path, model, monkeypatch, caplog):
    far = fan()
    far.SetOrigin((100000.123, -99999.877, 3.0))
    file = write(far, tmp_path / "far.nrrd")
    monkeypatch.setattr(cli, "synthesize", lambda *_args, **_words: pytest.fail("worked in vain"))
    assert main(arguments(file, model, tmp_path, "--format", "nii.gz")) == 6
    assert ".nii.gz cannot hold this volume's geometry" in caplog.text and "origin far from 0" in caplog.text
    monkeypatch.undo()
    assert main(arguments(file, model, tmp_path, "--targets", "t2", "--format", "nrrd")) == 0


def test_a_folder_as_the_first_input_is_told_in_one_sentence(tmp_path, model, capfd, caplog):
    assert main(arguments(tmp_path, model, tmp_path / "out")) == 3
    assert "is a folder" in caplog.text and "HDF5" not in capfd.readouterr().err


def test_targets_given_twice_are_all_made(tmp_path, us, model, capsys):
    assert main(arguments(us, model, tmp_path, "--targets", "t2", "--targets", "flair")) == 0
    assert [Path(line).name for line in capsys.readouterr().out.split()] == [
        "Case27-US_synthetic-T2.nii.gz",
        "Case27-US_synthetic-FLAIR.nii.gz",
    ]


@pytest.mark.skipif(os.name == "nt", reason="pipes break otherwise on Windows")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_does_not_turn_success_into_failure(unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-m", "MMHVAESynthesisLib", "models"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=settings)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
