import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk

pytest.importorskip("torch")

from MMHVAESynthesisLib.__main__ import main  # noqa: E402
from MMHVAESynthesisLib.volumes.files import write  # noqa: E402
from synthesis.making import fan  # noqa: E402

ROOT = Path(__file__).parents[2] / "MMHVAESynthesis"


@pytest.fixture
def folder(tmp_path):
    for name in ("Größe 1", "2"):
        (tmp_path / "in" / name).mkdir(parents=True)
        write(fan(4), tmp_path / "in" / name / "us.nrrd")
    return tmp_path / "in"


def words(folder, model, *more):
    out = folder.parent / "out"
    return ["batch", "--folder", str(folder), "--output-dir", str(out), "--model", model, "--targets", "t2",
            "--device", "cpu", *more]  # fmt: skip


def test_all_done_is_0_some_failed_is_9(folder, model, capsys):
    assert main(words(folder, model, "--json")) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert result["done"] == ["2", "Größe 1"] and result["failed"] == {} and Path(result["report"]).is_file()
    (folder / "3").mkdir()
    (folder / "3" / "us.nrrd").write_bytes(b"nonsense")
    assert main(words(folder, model)) == 9
    said = capsys.readouterr().out
    assert "0 done, 2 finished before, 1 failed." in said and "With warnings: " in said and "left at" not in said
    assert "3: " in said and "report.html" in said


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--temperature", "2"], 3),
        (["--model", "absent.pth"], 4),
        (["--device", "cuda:77"], 5),
        (["--targets", "pet"], 9),
        (["--scheduler", "nonsense"], 3),
    ],
)
def test_exit_codes_say_what_is_wrong(folder, model, capsys, more, code):
    pytest.importorskip("distributed")
    assert main([*words(folder, model, "--json"), *more]) == code
    capsys.readouterr()
    out = folder.parent / "out"
    assert not out.exists() or [path.name for path in out.iterdir() if path.is_dir()] == []


def test_wrong_use_of_the_command_line(folder, model, capsys):
    for wrong in (["--manifest", "x.csv"], ["--kind", "warped"], ["--us", "a.nrrd"]):
        with pytest.raises(SystemExit) as caught:
            main([*words(folder, model), *wrong])
        assert caught.value.code == 2


def test_list_says_what_would_be_taken_and_does_nothing(folder, model, capsys):
    assert main(words(folder, model, "--list")) == 0
    said = capsys.readouterr().out
    assert "Größe 1\n    us: " in said and "Guessed from the names of files: iUS is '2/us.nrrd'." in said
    assert said.endswith("2 cases: 2 can be done, 0 cannot.\n")
    assert not (folder.parent / "out").exists()


def test_list_says_what_speaks_against_each_case(tmp_path, capsys):
    write(fan(4), tmp_path / "us.nrrd")
    (tmp_path / "cut.nrrd").write_bytes(b"nonsense")
    (tmp_path / "slice.dcm").write_bytes(bytes(128) + b"DICM")
    colours = sitk.Compose([fan(4)] * 3)
    sitk.WriteImage(colours, str(tmp_path / "colours.nrrd"))
    cases = {
        "good": ("us.nrrd", "", "", ""),
        "absent": ("none.nrrd", "does not exist", "", ""),
        "cut": ("cut.nrrd", "cannot be read as a volume", "", ""),
        "dicom": ("slice.dcm", "is a DICOM file", "", ""),
        "colours": ("colours.nrrd", "colours.nrrd", "", ""),
        "twice": ("us.nrrd", "given as iUS and as T2", "us.nrrd", ""),
        "both": ("us.nrrd", "as an input and as pre-operative", "", "us.nrrd"),
    }
    rows = [f"{name},{us},{t2},{before}" for name, (us, _, t2, before) in cases.items()]
    (tmp_path / "t.csv").write_text("\n".join(["case,us,t2,preoperative_t2", *rows]), encoding="utf-8")
    words = ["batch", "--manifest", str(tmp_path / "t.csv"), "--output-dir", str(tmp_path / "out"), "--register"]
    assert main([*words, "--list", "--json"]) == 9
    listed = {case["name"]: case for case in json.loads(capsys.readouterr().out)["result"]["cases"]}
    assert listed["good"]["problem"] == ""
    for name, (_, reason, _, _) in cases.items():
        assert reason in listed[name]["problem"] and (listed[name]["problem"] == "") is (name == "good")
    assert main([*words, "--list"]) == 9
    said = capsys.readouterr().out
    assert "    Cannot be done: " in said and said.endswith("7 cases: 1 can be done, 6 cannot.\n")
    assert not (tmp_path / "out").exists()


def test_other_settings_are_said_by_the_list_and_need_a_word(folder, model, capsys):
    assert main(words(folder, model)) == 0
    other = words(folder, model, "--seed", "3")
    capsys.readouterr()
    assert main([*other, "--list"]) == 0
    said = capsys.readouterr().out
    assert "2 finished cases were made with other settings (seed 0, now 3)" in said and "--overwrite" in said
    assert main([*other, "--list", "--overwrite"]) == 0
    said = capsys.readouterr().out
    assert "(seed 0, now 3)" in said and "give --overwrite" not in said and "They will be replaced" in said
    assert main([*other, "--list", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["result"]["other_settings"]) == ["2", "Größe 1"]
    assert main(words(folder, model, "--list")) == 0 and "other settings" not in capsys.readouterr().out
    assert main([*other, "--json"]) == 6 and "--overwrite" in json.loads(capsys.readouterr().out)["error"]
    assert main([*other, "--overwrite"]) == 0 and "2 done, 0 finished before" in capsys.readouterr().out


def test_letters_that_the_console_lacks_go_through_a_child(folder, model):
    (folder.parent / "Tabelle ä.csv").write_text("case;us\nKäse ł;in/Größe 1/us.nrrd\n", encoding="utf-8")
    command = [sys.executable, "-m", "MMHVAESynthesisLib", *words(folder, model)]
    command[4:6] = ["--manifest", str(folder.parent / "Tabelle ä.csv")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "ascii"}
    (folder / "Größe 1" / "us.nrrd").rename(folder / "us.nrrd")
    failing = subprocess.run(command, env=environment, capture_output=True, timeout=300)
    assert failing.returncode == 9 and b"K\\xe4se \\u0142: " in failing.stdout, failing.stderr
    (folder / "us.nrrd").rename(folder / "Größe 1" / "us.nrrd")
    done = subprocess.run([*command, "--json"], env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0 and json.loads(done.stdout)["result"]["done"] == ["Käse ł"], done.stderr
    assert (folder.parent / "out" / "Käse ł" / "Käse ł_synthetic-T2.nrrd").is_file()
    with open(folder.parent / "out" / "report.csv", encoding="utf-8-sig", newline="") as file:
        assert [row["case"] for row in csv.DictReader(file)] == ["Käse ł"]


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_counts_cases_with_the_time_left_for_all(monkeypatch, terminal):
    from MMHVAESynthesisLib.__main__ import _Bar
    from MMHVAESynthesisLib.progress import Progress

    shown = io.StringIO()
    shown.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", shown)
    bar = _Bar()
    for report in (
        Progress("cases", 0, 2),
        Progress("a very long name of a case: synthesis", 80, 80, 4000.4),
        Progress("cases", 1, 2, 3725.0),
        Progress("cases", 2, 2, 0.0),
    ):
        bar(report)
    lines = [line.strip() for line in re.split("[\r\n]+", shown.getvalue()) if line.strip()]
    assert all(len(line) <= 78 for line in lines)
    if terminal:
        assert "ame of a case: synthesis [####" in lines.pop(1) and shown.getvalue().count("\n") == 1
    assert lines[1] == "cases        [###############...............] 1/2  1:02:05 left" and len(lines) == 3


class Broken(io.StringIO):
    """A stderr on which nothing can be written any more; counts the trials."""

    trials = 0

    def write(self, text):
        self.trials += 1
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("kind", ["broken", "broken at the flush", "closed", "none"])
def test_a_bar_that_cannot_be_drawn_does_not_end_the_work(folder, model, monkeypatch, capsys, kind):
    stderr = Broken() if kind == "broken" else io.StringIO()
    if kind == "broken at the flush":
        stderr.flush = lambda: Broken().write("")
    if kind == "closed":
        stderr.close()
    monkeypatch.setattr(sys, "stderr", None if kind == "none" else stderr)
    assert main([*words(folder, model), "--progress", "bar"]) == 0
    assert "2 done, 0 finished before, 0 failed." in capsys.readouterr().out
    assert kind != "broken" or stderr.trials == 1


def test_without_a_reader_of_stderr_the_exit_code_is_that_of_the_work(folder, model):
    (folder / "3").mkdir()
    (folder / "3" / "us.nrrd").write_bytes(b"nonsense")
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": ""}
    command = [sys.executable, "-m", "MMHVAESynthesisLib", *words(folder, model)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=writer, timeout=300)
    os.close(writer)
    assert done.returncode == 9 and b"2 done, 0 finished before, 1 failed." in done.stdout


def test_a_list_says_that_a_model_is_none(folder, model, capsys):
    assert main([*words(folder, model, "--list"), "--model", "absent.pth"]) == 4
    assert main(words(folder, model, "--list")) == 0
