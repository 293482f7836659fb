import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("torch")

from MMHVAESynthesisLib.__main__ import main  # noqa: E402
from MMHVAESynthesisLib.batch import work  # noqa: E402
from MMHVAESynthesisLib.batch.cases import Case, problem_of  # noqa: E402
from MMHVAESynthesisLib.batch.runner import run_batch  # noqa: E402
from MMHVAESynthesisLib.batch.settings import Settings  # noqa: E402
from MMHVAESynthesisLib.errors import DependencyError, OutputError, TorchError  # noqa: E402
from MMHVAESynthesisLib.registration import engine as registration_engine  # noqa: E402
from MMHVAESynthesisLib.registration import transforms  # noqa: E402
from MMHVAESynthesisLib.registration.engine import register  # noqa: E402
from MMHVAESynthesisLib.synthesis.engine import synthesize  # noqa: E402
from MMHVAESynthesisLib.volumes.files import read, same_geometry, write  # noqa: E402
from synthesis.making import array, fan, volume_like  # noqa: E402


@pytest.fixture
def files(tmp_path):
    us = write(fan(16, 28, (1.5, 1.5, 1.5)), tmp_path / "us.nrrd")
    mr = fan(20, 32, (1.5, 1.5, 1.5), np.int16, seed=3, origin=(-3, -3, -3))
    return str(us), str(write(mr, tmp_path / "t2.nii.gz"))


def test_an_input_is_not_registered_to_its_own_image(tmp_path, files, capsys):
    us, t2 = files
    roundabout = str(tmp_path / "x" / ".." / "t2.nii.gz")
    case = Case("own", {"us": us, "t2": t2}, {"t2": roundabout})
    registering, comparing = Settings(("t2",), device="cpu", register=True), Settings(("t2",), device="cpu")
    outcome = work.process(work.Job(case, registering, str(tmp_path / "out"), "a digest"))
    assert outcome.state == work.FAILED
    assert outcome.reason == (
        f"{roundabout} is given as an input and as pre-operative: synthesise from the ultrasound alone."
    )
    assert problem_of(case, comparing.register) == "" == problem_of(Case("a", {"us": us}, {"t2": t2}), True)
    (tmp_path / "cases.csv").write_text("case,us,t2,preoperative_t2\nown,us.nrrd,t2.nii.gz,t2.nii.gz\n", "utf-8")
    words = ["batch", "--manifest", str(tmp_path / "cases.csv"), "--output-dir", str(tmp_path / "out"), "--list"]
    assert main([*words, "--register"]) == 9 and "as an input and as pre-operative" in capsys.readouterr().out
    assert main(words) == 0 and "as an input and as pre-operative" not in capsys.readouterr().out


def test_the_preoperative_mr_is_registered_where_settings_say_so(tmp_path, files, model, monkeypatch):
    us, t2 = files
    calls = []
    monkeypatch.setattr(work, "register", lambda *args: calls.append((args[0], register(*args))) or calls[-1][1])
    settings = Settings(("t2",), model, seed=1, device="cpu", register=True, engine="mattes", starts=1)
    cases = [
        Case("with", {"us": us}, {"t2": t2}),
        Case("without", {"us": us}),
        Case("other", {"us": us}, {"flair": t2}),
    ]
    result = run_batch(cases, settings, tmp_path / "out")
    assert [outcome.state for outcome in result.outcomes] == ["done", "done", "failed"]
    assert "share no contrast" in result.outcomes[2].reason

    (request, expected) = calls[0]
    synthetic = synthesize(settings.synthesis({"us": us})).images["t2"]
    np.testing.assert_array_equal(array(request.fixed["t2"]), array(synthetic))
    np.testing.assert_array_equal(array(request.moving["t2"]), array(read(t2)))
    assert (request.us, request.seed, request.starts, request.kind) == (us, 1, 1, "rigid")
    assert request.names == expected.provenance["moving"] == {"t2": "t2.nii.gz"}
    found = transforms.read(tmp_path / "out" / "with" / "with_registration.tfm")
    np.testing.assert_allclose(transforms.matrix_of(found), transforms.matrix_of(expected.fixed_to_moving), atol=1e-6)
    moved = read(tmp_path / "out" / "with" / "with_registered-T2.nrrd")
    assert same_geometry(moved, read(us)) and moved.GetPixelID() == sitk.sitkInt16

    provenance = json.loads((tmp_path / "out" / "with" / "provenance.json").read_text(encoding="utf-8"))
    figures = provenance["quality"]["registration"]
    assert figures["confidence_mm"] == pytest.approx(expected.confidence, abs=1e-4)
    assert figures["overlap"] == pytest.approx(expected.overlap, abs=1e-4)
    assert provenance["quality"]["targets"]["t2"]["similarity"]["to"] == "pre-operative"
    assert [p["title"] for p in provenance["pictures"]] == [
        "input iUS", "synthetic T2", "registered T2", "checkerboard T2",
    ]  # fmt: skip
    without = json.loads((tmp_path / "out" / "without" / "provenance.json").read_text(encoding="utf-8"))
    assert without["quality"]["registration"] is None and "nothing was registered" in without["notes"][-1]
    assert not any("nothing was registered" in text for text in without["warnings"])
    page = result.report.read_text(encoding="utf-8")
    assert "confidence mm" in page and f"Registration: confidence {expected.confidence:.1f} mm" in page
    assert "rigid registration, mattes" in page and " <small>pre-op</small>" in page


def test_how_much_a_moved_mr_covers_does_not_depend_on_where_its_intensities_begin(tmp_path, files, model, monkeypatch):
    us, t2 = files
    image = read(t2)
    for name, lowest in (("scored", -2.3), ("floor", 37.0)):
        write(volume_like(image, (array(image) / 40 + lowest).astype(np.float32)), tmp_path / f"{name}.nrrd")
    aside = sitk.Euler3DTransform((0.0, 0.0, 0.0), 0.0, 0.1, 0.0, (15.0, 0.0, 6.0))
    monkeypatch.setattr(work, "register", lambda *args: dataclasses.replace(register(*args), fixed_to_moving=aside))
    settings = Settings(("t2",), model, device="cpu", register=True, engine="mattes", starts=1)
    sources = {"zero": t2, "scored": tmp_path / "scored.nrrd", "floor": tmp_path / "floor.nrrd"}
    cases = [Case(name, {"us": us}, {"t2": str(source)}) for name, source in sources.items()]
    run_batch(cases, settings, tmp_path / "out")
    texts = [(tmp_path / "out" / name / "provenance.json").read_text(encoding="utf-8") for name in sources]
    zero, *others = (json.loads(text)["quality"]["targets"]["t2"]["similarity"] for text in texts)
    assert 0.1 < zero["share"] < 0.9
    for other in others:
        assert other["share"] == zero["share"] and other["correlation"] == pytest.approx(zero["correlation"], abs=1e-4)


@pytest.mark.parametrize("completion", [True, False])
def test_missing_contrasts_are_completed_with_the_model_of_the_batch(tmp_path, model, monkeypatch, completion):
    spacing = (1.2, 1.2, 1.2)
    us = str(write(fan(20, 32, spacing), tmp_path / "us.nrrd"))
    t2 = str(write(fan(24, 36, spacing, np.int16, seed=3, origin=(-3, -3, -3)), tmp_path / "t2.nii.gz"))
    requests = []
    monkeypatch.setattr(work, "register", lambda *args: requests.append(args[0]) or register(*args))
    settings = Settings(
        ("t2", "cet1"), model, device="cpu", register=True, engine="lncc", starts=1, completion=completion
    )
    stages = []
    run_batch(
        [Case("one", {"us": us}, {"t2": t2})], settings, tmp_path / "out", lambda report: stages.append(report.stage)
    )
    assert requests[0].model == model and requests[0].to_complete == (("cet1", "us") if completion else ())
    provenance = json.loads((tmp_path / "out" / "one" / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["settings"]["registration"]["completion"] is completion
    assert provenance["quality"]["registration"]["completed"] == (["cet1", "us"] if completion else [])
    assert any("ceT1: synthetic only" in text for text in provenance["warnings"]) is not completion
    assert ("one: completion" in stages) is completion
    names = [path.name for path in (tmp_path / "out" / "one").glob("*registered*.nrrd")]
    assert names == ["one_registered-T2.nrrd"]
    page, table = ((tmp_path / "out" / name).read_text(encoding="utf-8-sig") for name in ("report.html", "report.csv"))
    assert ("ceT1, iUS: synthesised from the pre-operative MR as well" in page) is completion
    assert ("completed" in table) is completion and "<th>completed" not in page


def test_the_contrast_that_an_engine_followed_is_named_and_the_figures_of_all_are_kept(tmp_path, files, model):
    us, t2 = files
    cet1 = str(write(fan(20, 32, (1.5, 1.5, 1.5), np.int16, seed=4, origin=(-3, -3, -3)), tmp_path / "cet1.nrrd"))
    settings = Settings(("t2", "cet1"), model, device="cpu", register=True, engine="mattes", starts=1)
    run_batch([Case("one", {"us": us}, {"t2": t2, "cet1": cet1})], settings, tmp_path / "out")
    provenance = json.loads((tmp_path / "out" / "one" / "provenance.json").read_text(encoding="utf-8"))
    figures = provenance["quality"]["registration"]
    assert figures["engine"] == "mattes" and figures["above_chance"] > 0
    assert [each["modality"] for each in figures["contrasts"]] == ["t2", "cet1"]
    assert np.mean([each["after"] for each in figures["contrasts"]]) == pytest.approx(figures["lncc_after"], abs=1e-4)
    followed = {"t2": "T2", "cet1": "ceT1"}[figures["refined_on"]]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"Refined on {followed} alone: this engine follows one contrast." in page and "<th>refined" not in page
    with open(tmp_path / "out" / "report.csv", encoding="utf-8-sig", newline="") as table:
        assert [row["refined_on"] for row in csv.DictReader(table)] == [followed]


def test_a_full_disk_is_told_of_the_folder_that_the_case_was_to_have(tmp_path, files, model, monkeypatch):
    def full(image, target, *_):
        raise OutputError(f"{target} could not be written whole: is the disk full?")

    monkeypatch.setattr(work.files, "write", full)
    job = work.Job(Case("one", {"us": files[0]}), Settings(("t2",), model, device="cpu"), str(tmp_path / "out"), "")
    job = dataclasses.replace(job, model_digest=work.model_digest(model))
    target = tmp_path / "out" / "one" / "one_synthetic-T2.nrrd"
    assert work.process(job).reason == f"{target} could not be written whole: is the disk full?"


@pytest.mark.parametrize(("engine", "said"), [("brainsfit", "BRAINSFit is not there"), ("lncc", "engine 'mattes'")])
def test_what_an_engine_lacks_is_told_before_any_case(tmp_path, files, model, monkeypatch, engine, said):
    def lacking():
        raise TorchError("PyTorch does not load.")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(registration_engine, "require_torch", lacking)
    monkeypatch.setattr(work, "synthesize", lambda *_: pytest.fail("a case was synthesised"))
    us, t2 = files
    settings = Settings(("t2",), model, device="cpu", register=True, engine=engine)
    with pytest.raises(DependencyError, match=said):
        run_batch([Case("one", {"us": us}, {"t2": t2})], settings, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_case_with_all_contrasts_is_not_warned_of_its_synthetic_ius(tmp_path, files, model):
    us, t2 = files
    mr = {"t2": t2}
    for seed, modality in enumerate(("cet1", "flair"), 4):
        image = fan(20, 32, (1.5, 1.5, 1.5), np.int16, seed=seed, origin=(-3, -3, -3))
        mr[modality] = str(write(image, tmp_path / f"{modality}.nrrd"))
    settings = Settings(None, model, device="cpu", register=True, engine="mattes", starts=1)
    (outcome,) = run_batch([Case("one", {"us": us}, mr)], settings, tmp_path / "out").outcomes
    assert outcome.state == "done" and (tmp_path / "out" / "one" / "one_synthetic-iUS.nrrd").is_file()
    assert not [warning for warning in outcome.warnings if "not used" in warning]


def test_a_preoperative_mr_that_is_itself_synthetic_is_warned_of(tmp_path, files, model):
    us, t2 = files
    made = tmp_path / "us_synthetic-T2.nii.gz"
    Path(t2).rename(made)
    settings = Settings(("t2",), model, device="cpu", register=True, engine="mattes", starts=1)
    outcome = work.process(
        work.Job(Case("one", {"us": us}, {"t2": str(made)}), settings, str(tmp_path), work.model_digest(model))
    )
    assert sum("T2 'us_synthetic-T2.nii.gz' is itself synthetic" in warning for warning in outcome.warnings) == 1


def test_without_registration_the_preoperative_mr_is_compared_as_it_lies(tmp_path, files, model):
    us, t2 = files
    settings = Settings(("t2",), model, device="cpu")
    run_batch([Case("one", {"us": us}, {"t2": t2})], settings, tmp_path / "out")
    provenance = json.loads((tmp_path / "out" / "one" / "provenance.json").read_text(encoding="utf-8"))
    similarity = provenance["quality"]["targets"]["t2"]["similarity"]
    assert similarity["to"] == "pre-operative" and -1 <= similarity["correlation"] <= 1
    assert not list((tmp_path / "out" / "one").glob("*registr*"))
    assert not any("covers only" in warning for warning in provenance["warnings"])


def test_a_preoperative_mr_that_lies_elsewhere_is_warned_of(tmp_path, files, model):
    us, _ = files
    far = write(fan(20, 32, (1.5, 1.5, 1.5), np.int16, seed=3, origin=(400, 0, 0)), tmp_path / "far.nrrd")
    run_batch([Case("one", {"us": us}, {"t2": str(far)})], Settings(("t2",), model, device="cpu"), tmp_path / "out")
    provenance = json.loads((tmp_path / "out" / "one" / "provenance.json").read_text(encoding="utf-8"))
    assert "The pre-operative T2 covers only 0% of the field of view" in " ".join(provenance["warnings"])


def test_a_registration_left_at_its_start_is_counted_and_stands_in_the_table(
    tmp_path, files, model, monkeypatch, capsys, caplog
):
    us, t2 = files

    def given_up(*args):
        found = register(*args)
        named = Path(args[0].us).name == "two.nrrd"
        return dataclasses.replace(found, kept_start=named, warnings=["Left where it was."] if named else [])

    monkeypatch.setattr(work, "register", given_up)
    second = tmp_path / "two.nrrd"
    second.write_bytes(Path(us).read_bytes())
    rows = "case,us,preoperative_t2\none,us.nrrd,t2.nii.gz\ntwo,two.nrrd,t2.nii.gz\nnone,us.nrrd,\n"
    (tmp_path / "cases.csv").write_text(rows, encoding="utf-8")
    words = ["batch", "--manifest", str(tmp_path / "cases.csv"), "--output-dir", str(tmp_path / "out"), "--register"]
    words += ["--model", model, "--targets", "t2", "--device", "cpu", "--engine", "mattes", "--starts", "1"]
    caplog.set_level("INFO")
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "With warnings: 3 (one, two, none)." in said and "Registrations left at their start: 1 (two)." in said
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in lines if "registered in" in line] == ["one", "two"]
    assert "two: Left where it was." in lines and "one: Left where it was." not in lines
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert result["kept"] == ["one", "two", "none"] and result["kept_start"] == ["two"]
    assert "Left where it was." in result["with_warnings"]["two"]
    with open(tmp_path / "out" / "report.csv", encoding="utf-8-sig", newline="") as file:
        table = {row["case"]: row for row in csv.DictReader(file)}
    assert [table[case]["kept_start"] for case in ("one", "two", "none")] == ["no", "yes", ""]
    assert table["none"]["notes"] == "There is no pre-operative MR: nothing was registered."


@pytest.mark.parametrize("registering", [True, False])
def test_an_mr_that_is_only_moved_along_or_compared_is_checked_as_well(tmp_path, files, model, registering):
    us, t2 = files
    image = fan(20, 32, (1.5, 1.5, 1.5), np.float32, seed=3, origin=(-3, -3, -3))
    values = array(image)
    values[values == 0] = np.nan
    flair = str(write(volume_like(image, values), tmp_path / "flair.nrrd"))
    settings = Settings(("t2",), model, device="cpu", register=registering, engine="mattes", starts=1)
    case = Case("one", {"us": us}, {"t2": t2, "flair": flair})
    outcome = run_batch([case], settings, tmp_path / "out").outcomes[0]
    assert outcome.state == "failed" and not (tmp_path / "out" / "one").exists()
    assert f"The pre-operative FLAIR ({flair}) contains voxels that are not numbers" in outcome.reason


def test_mr_that_was_given_as_lying_on_the_ultrasound_is_told_not_to_be_registered(tmp_path, files, model, capsys):
    """The table says t2 where preoperative_t2 was meant: nothing would be moved, and nobody know."""
    (tmp_path / "cases.csv").write_text("case,us,t2\none,us.nrrd,t2.nii.gz\n", encoding="utf-8")
    words = ["batch", "--manifest", str(tmp_path / "cases.csv"), "--output-dir", str(tmp_path / "out")]
    words += ["--model", model, "--targets", "cet1", "--device", "cpu"]
    said = "given as lying on the ultrasound. What has to be moved to it belongs, in a table, into the column "
    assert main([*words, "--register", "--list"]) == 0 and said + "preoperative_t2." in capsys.readouterr().out
    assert main([*words, "--list"]) == 0 and said not in capsys.readouterr().out
    assert main([*words, "--register", "--json"]) == 0
    (warning,) = (
        text
        for text in json.loads(capsys.readouterr().out)["result"]["with_warnings"]["one"]
        if "Nothing is registered" in text
    )
    assert said in warning


def test_what_lacks_its_partner_beside_several_pairs_is_a_note_and_no_warning(tmp_path, files, model, monkeypatch):
    us, t2 = files
    requests = []
    monkeypatch.setattr(work, "register", lambda *args: requests.append(args[0]) or register(*args))
    settings = Settings(None, model, device="cpu", register=True, engine="mattes", starts=1)
    flair = str(write(read(t2), tmp_path / "flair.nrrd"))
    run_batch([Case("one", {"us": us}, {"t2": t2, "flair": flair})], settings, tmp_path / "out")
    provenance = json.loads((tmp_path / "out" / "one" / "provenance.json").read_text(encoding="utf-8"))
    assert set(requests[0].fixed) == {"t2", "flair"}
    assert "ceT1: synthetic only, not used for the registration." in provenance["notes"]
    assert not any("synthetic only" in text for text in provenance["warnings"])
