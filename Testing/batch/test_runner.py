import argparse
import dataclasses
import json
import logging
import shutil
import threading

import numpy as np
import pytest

pytest.importorskip("torch")

import MMHVAESynthesisLib.models.loading as loading  # noqa: E402
from MMHVAESynthesisLib.batch import runner, work  # noqa: E402
from MMHVAESynthesisLib.batch.cases import Case  # noqa: E402
from MMHVAESynthesisLib.batch.runner import run_batch  # noqa: E402
from MMHVAESynthesisLib.batch.settings import Settings  # noqa: E402
from MMHVAESynthesisLib.batch.table import read_table  # noqa: E402
from MMHVAESynthesisLib.errors import Cancelled, InputError, ModelError, OutputError  # noqa: E402
from MMHVAESynthesisLib.request import SynthesisRequest  # noqa: E402
from MMHVAESynthesisLib.synthesis.engine import synthesize  # noqa: E402
from MMHVAESynthesisLib.volumes.files import read, same_geometry, write  # noqa: E402
from synthesis.making import array, fan, model_file  # noqa: E402

from .conftest import GOOD  # noqa: E402
from .making import BROKEN, contents  # noqa: E402


@pytest.fixture
def cases(tmp_path):
    """Three small cases, in a folder of their own."""
    folder = tmp_path / "in"
    folder.mkdir()
    return [Case(n, {"us": str(write(fan(4, seed=s), folder / f"{n}.nrrd"))}) for s, n in enumerate("abc")]


def states(result):
    return {outcome.case: outcome.state for outcome in result.outcomes}


def test_thirty_cases_three_broken(undisturbed):
    result, folder, _ = undisturbed
    assert len(result.of_state("done")) == GOOD
    failed = {outcome.case: outcome.reason for outcome in result.of_state("failed")}
    assert sorted(failed) == sorted(BROKEN)
    assert all(reason in failed[case] for case, reason in BROKEN.items()), failed
    made = {path.name for path in folder.iterdir()}
    assert made == {outcome.case for outcome in result.of_state("done")} | {"report.html", "report.csv"}


def test_a_case_holds_what_the_engine_gives(undisturbed, table, settings):
    _, folder, _ = undisturbed
    case = read_table(table)[4]
    assert sorted(case.inputs) == ["t2", "us"]
    inputs = {modality: read(file) for modality, file in case.inputs.items()}
    expected = synthesize(settings.synthesis(inputs))
    for suffix, image in (("", expected.images["t2"]), ("-uncertainty", expected.uncertainty["t2"])):
        written = read(folder / case.name / f"{case.name}_synthetic-T2{suffix}.nii.gz")
        assert same_geometry(written, inputs["us"])
        np.testing.assert_array_equal(array(written), array(image))
    provenance = json.loads((folder / case.name / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["inputs"]["us"]["file"] == case.inputs["us"] and provenance["model"]["name"] == "random"
    assert provenance["settings"]["seed"] == 5 and provenance["versions"]["torch"] and provenance["seconds"] > 0
    assert provenance["settings"]["directions"] is None and provenance["directions"] == 1
    assert {"us", "t2"} == set(provenance["inputs"]) and len(provenance["model"]["digest"]) == 64


def test_progress_counts_cases_and_slices_with_time_left(undisturbed, table):
    _, _, reports = undisturbed
    cases = [report.done for report in reports if report.stage == "cases"]
    assert cases == list(range(GOOD + len(BROKEN) + 1))
    slices = [(r.done, r.total) for r in reports if r.stage == f"{read_table(table)[0].name}: synthesis"]
    assert slices == [(0, 2), (1, 2), (2, 2)]
    left = [report.seconds_left for report in reports if report.seconds_left is not None]
    assert left[0] > left[-1] == 0 and all(seconds >= 0 for seconds in left)


def test_progress_is_told_in_the_callers_thread(tmp_path, cases, settings):
    threads = set()
    run_batch(cases, settings, tmp_path / "out", lambda _: threads.add(threading.get_ident()))
    assert threads == {threading.get_ident()}


def test_the_model_is_read_once_for_all_cases(tmp_path, cases, settings, monkeypatch):
    reads, whole = [], loading.read
    monkeypatch.setattr(loading, "_cache", loading._Cache())
    monkeypatch.setattr(loading, "read", lambda *args: reads.append(args) or whole(*args))
    assert len(run_batch(cases, settings, tmp_path / "out").of_state("done")) == 3
    assert len(reads) == 1


def test_a_second_run_leaves_what_is_finished_alone(tmp_path, undisturbed, table, settings, monkeypatch):
    _, former, _ = undisturbed
    folder = tmp_path / "out"
    shutil.copytree(former, folder)
    computed = []
    monkeypatch.setattr(work, "synthesize", lambda request, *_: computed.append(request) or synthesize(request))
    result = run_batch(read_table(table), settings, folder)
    assert len(result.of_state("kept")) == GOOD and len(result.of_state("failed")) == len(BROKEN)
    assert all("broken" in request.inputs["us"] for request in computed)
    assert contents(folder) == contents(former)


def alter(folder, cases, settings, model):
    """Change one thing each; return what has to be done anew."""

    def one_input():
        write(fan(4, seed=9), cases[1].inputs["us"])
        return cases, settings, {"b"}

    def moved_inputs():
        there = folder.parent / "elsewhere"
        shutil.copytree(folder.parent / "in", there)
        return [Case(case.name, {"us": str(there / f"{case.name}.nrrd")}) for case in cases], settings, set()

    def more_inputs():
        t2 = write(fan(4, seed=7), folder.parent / "in" / "t2.nrrd")
        return [Case("a", {**cases[0].inputs, "t2": str(t2)}), *cases[1:]], settings, {"a"}

    def a_preoperative_volume():
        t2 = write(fan(4, seed=7), folder.parent / "in" / "t2.nrrd")
        return [Case("a", cases[0].inputs, {"t2": str(t2)}), *cases[1:]], settings, {"a"}

    def the_seed():
        return cases, Settings(targets=("t2",), model=model, samples=2, seed=6, device="cpu"), {"a", "b", "c"}

    def the_workers():
        return cases, Settings(targets=("t2",), model=model, samples=2, seed=5, device="cpu", workers=2), set()

    def the_model():
        (folder.parent / "model").mkdir()
        other = model_file(folder.parent / "model", spacing=0.6, base_features=8)
        return cases, Settings(targets=("t2",), model=other, samples=2, seed=5, device="cpu"), {"a", "b", "c"}

    def an_output_is_cut():
        file = folder / "c" / "c_synthetic-T2.nrrd"
        file.write_bytes(file.read_bytes()[:-1])
        return cases, settings, {"c"}

    def an_output_is_gone():
        (folder / "c" / "c_synthetic-T2.nrrd").unlink()
        return cases, settings, {"c"}

    def the_provenance_is_damaged():
        (folder / "a" / "provenance.json").write_text("[1", encoding="utf-8")
        (folder / "b" / "provenance.json").write_text("[1]", encoding="utf-8")
        return cases, settings, {"a", "b"}

    # Not by locals(), whose order differs between versions of Python.
    return [
        one_input, moved_inputs, more_inputs, a_preoperative_volume, the_seed, the_workers, the_model, an_output_is_cut,
        an_output_is_gone, the_provenance_is_damaged,
    ]  # fmt: skip


@pytest.mark.parametrize("change", range(10))
def test_a_second_run_does_anew_what_has_changed(tmp_path, cases, settings, model, change):
    folder = tmp_path / "out"
    run_batch(cases, settings, folder)
    changed, new_settings, anew = alter(folder, cases, settings, model)[change]()
    # Only results that were made with other settings, or another model, are replaced on demand alone.
    result = run_batch(changed, new_settings, folder, overwrite=change in (4, 6))
    assert states(result) == {name: "done" if name in anew else "kept" for name in "abc"}
    fresh = run_batch(changed, new_settings, tmp_path / "fresh")
    assert len(fresh.of_state("done")) == 3
    there, wanted = contents(folder), contents(tmp_path / "fresh")
    for content in (there, wanted):
        # Moved inputs stay under the name under which they were read.
        content.pop("report.html")
        for name in "abc":
            for entry in content[f"{name}/provenance.json"]["inputs"].values():
                entry.pop("file")
    assert there == wanted


def test_results_of_other_settings_are_replaced_only_where_that_is_said(tmp_path, cases, settings, caplog):
    out = tmp_path / "out"
    run_batch(cases[:2], settings, out)
    write(fan(4, seed=9), cases[0].inputs["us"])
    former = contents(out)
    others = dataclasses.replace(settings, seed=6, samples=3, targets=("t2", "flair"), register=True)
    with pytest.raises(OutputError) as caught:
        run_batch(cases, others, out)
    said = str(caught.value)
    assert said.startswith("2 finished cases were made with other settings (targets t2, now t2 flair; ")
    for part in ("samples 2, now 3", "seed 5, now 6", "registration off, now on", f"{out}: a, b.", "--overwrite"):
        assert part in said
    assert "engine" not in said and contents(out) == former
    with caplog.at_level("WARNING"):
        result = run_batch(cases, dataclasses.replace(settings, seed=6), out, overwrite=True)
    assert states(result) == {"a": "done", "b": "done", "c": "done"}
    assert "2 finished cases were made with other settings (seed 5, now 6)" in caplog.text


def test_results_of_another_cohort_with_cases_called_alike_are_not_replaced_unasked(tmp_path, cases, settings):
    out = tmp_path / "out"
    run_batch(cases, settings, out)
    former = contents(out)
    (tmp_path / "others").mkdir()
    others = [
        Case(case.name, {"us": str(write(fan(4, seed=50 + number), tmp_path / "others" / f"{case.name}.nrrd"))})
        for number, case in enumerate(cases)
    ]
    with pytest.raises(OutputError) as caught:
        run_batch(others, settings, out)
    said = str(caught.value)
    assert said.startswith("3 finished cases were made from other files (of another cohort?), in ")
    assert "--overwrite" in said and contents(out) == former
    with pytest.raises(OutputError, match=r"with other settings \(seed 5, now 6; from other files"):
        run_batch(others, dataclasses.replace(settings, seed=6), out)
    # One of several inputs is enough to tell that it is the same patient.
    t2 = str(write(fan(4, seed=7), tmp_path / "others" / "t2.nrrd"))
    both = [Case("a", {"us": cases[0].inputs["us"], "t2": t2})]
    assert states(run_batch(both, settings, out)) == {"a": "done"}
    again = [Case("a", {"us": others[0].inputs["us"], "t2": t2})]
    assert states(run_batch(again, settings, out)) == {"a": "done"}
    assert states(run_batch(others, settings, out, overwrite=True)) == {"a": "done", "b": "done", "c": "done"}


def test_a_case_that_cannot_be_done_keeps_its_results_and_so_needs_no_word(tmp_path, cases, settings):
    run_batch(cases, settings, tmp_path / "out")
    (tmp_path / "in" / "a.nrrd").unlink()
    other = dataclasses.replace(settings, seed=6)
    with pytest.raises(OutputError, match="2 finished cases .*: b, c[.]"):
        run_batch(cases, other, tmp_path / "out")
    assert states(run_batch(cases[:1], other, tmp_path / "out")) == {"a": "failed"}


def test_what_a_case_logs_has_its_name_in_front(tmp_path, cases, settings, monkeypatch, caplog):
    def talkative(request, *args):
        logging.getLogger("of the engine").info("%d slices", 2)
        return synthesize(request, *args)

    monkeypatch.setattr(work, "synthesize", talkative)
    with caplog.at_level("INFO"):
        run_batch(cases, settings, tmp_path / "out")
        logging.getLogger("of the engine").info("afterwards")
    said = [record.getMessage() for record in caplog.records if record.name == "of the engine"]
    assert said == ["a: 2 slices", "b: 2 slices", "c: 2 slices", "afterwards"]


def test_notes_are_no_warnings(tmp_path, cases, settings):
    case = dataclasses.replace(cases[0], notes=("Guessed from the names of files: iUS is 'a.nrrd'.",))
    result = run_batch([case], settings, tmp_path / "out")
    provenance = json.loads((tmp_path / "out" / "a" / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["notes"] == list(case.notes) and not set(case.notes) & set(provenance["warnings"])
    assert result.summary()["with_warnings"] == ({"a": provenance["warnings"]} if provenance["warnings"] else {})
    assert result.summary()["kept_start"] is None
    page, table = ((tmp_path / "out" / name).read_text(encoding="utf-8-sig") for name in ("report.html", "report.csv"))
    assert '<p class="note">Guessed from' in page and "notes" in table.splitlines()[0].split(",")


def test_a_case_that_breaks_later_says_that_its_results_are_old(tmp_path, cases, settings):
    run_batch(cases, settings, tmp_path / "out")
    (tmp_path / "in" / "b.nrrd").unlink()
    result = run_batch(cases, settings, tmp_path / "out")
    assert states(result) == {"a": "kept", "b": "failed", "c": "kept"}
    assert "earlier run are still in its folder" in result.of_state("failed")[0].reason


def test_a_fault_of_the_software_in_one_case_lets_the_others_go_on(tmp_path, cases, settings, monkeypatch):
    def faulty(request, *args):
        if request.inputs["us"].endswith("b.nrrd"):
            raise ZeroDivisionError("by zero")
        return synthesize(request, *args)

    monkeypatch.setattr(work, "synthesize", faulty)
    result = run_batch(cases, settings, tmp_path / "out")
    assert states(result) == {"a": "done", "b": "failed", "c": "done"}
    assert "ZeroDivisionError: by zero" in result.of_state("failed")[0].reason
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "c", "report.csv", "report.html"]


def test_a_disk_that_fills_up_leaves_nothing_of_the_case(tmp_path, cases, settings, monkeypatch):
    def full(image, path, *args):
        if path.name.startswith("b_synthetic-T2-"):
            raise OutputError("The disk is full.")
        return write(image, path, *args)

    monkeypatch.setattr(work.files, "write", full)
    result = run_batch(cases, settings, tmp_path / "out")
    assert states(result) == {"a": "done", "b": "failed", "c": "done"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "c", "report.csv", "report.html"]


def test_cancelled_at_a_slice_it_leaves_whole_cases_and_goes_on_later(tmp_path, cases, settings):
    cancel, out = threading.Event(), tmp_path / "out"

    def at_the_second_case(report):
        if report.stage == "b: synthesis" and report.done == 1:
            cancel.set()

    with pytest.raises(Cancelled, match="1 of 3 cases are finished"):
        run_batch(cases, settings, out, at_the_second_case, cancel)
    assert sorted(path.name for path in out.iterdir()) == ["a", "report.csv", "report.html"]
    assert "not done" in (out / "report.csv").read_text(encoding="utf-8-sig")
    assert states(run_batch(cases, settings, out)) == {"a": "kept", "b": "done", "c": "done"}


def test_cancelled_it_does_not_say_that_results_of_an_earlier_run_are_not_there(tmp_path, cases, settings):
    out, cancel = tmp_path / "out", threading.Event()
    run_batch(cases[1:], settings, out)
    with pytest.raises(Cancelled) as caught:
        run_batch(cases, settings, out, lambda report: report.stage == "a: synthesis" and cancel.set(), cancel)
    assert str(caught.value) == (
        "Cancelled: 0 of 3 cases are finished; 2 more have results of an earlier run, which this one did not check. "
        "The same command goes on from there."
    )
    rows = (out / "report.csv").read_text(encoding="utf-8-sig").splitlines()
    assert rows == ["case,state", "a,not done", *(f"{name},earlier results (not checked)" for name in "bc")]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "3 cases: 2 earlier results (not checked), 1 not done." in page
    assert states(run_batch(cases, settings, out)) == {"a": "done", "b": "kept", "c": "kept"}


def test_a_callback_that_raises_stops_the_workers(tmp_path, cases, settings):
    def faulty(report):
        if report.stage == "a: synthesis":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch(cases, settings, tmp_path / "out", faulty)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mmhvae-batch")]
    assert not (tmp_path / "out").exists()


def test_several_devices_take_cases_from_one_queue(tmp_path, cases, settings, monkeypatch):
    monkeypatch.setattr(runner, "devices_of", lambda device: ["cpu", "cpu"])
    seen, whole, meet = set(), runner.process, threading.Barrier(2, timeout=60)

    def watched(job, *args):
        seen.add(threading.get_ident())
        if job.case.name in "ab":
            meet.wait()
        return whole(job, *args)

    monkeypatch.setattr(runner, "process", watched)
    assert set(states(run_batch(cases, settings, tmp_path / "out")).values()) == {"done"}
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("device", "there", "expected"),
    [
        ("auto", ["cuda:0", "cuda:1", "cpu"], ["cuda:0", "cuda:1"]),
        ("auto", ["cuda:0", "cuda:1", "cuda:2 old", "cpu"], ["cuda:0", "cuda:1"]),
        ("auto", ["cuda:0 old", "cuda:1 old", "cpu"], [None]),
        ("cuda", ["cuda:0", "cuda:1", "cpu"], ["cuda:0", "cuda:1"]),
        ("cuda:1", ["cuda:0", "cuda:1", "cpu"], [None]),
        ("auto", ["cuda:0", "cpu"], [None]),
        ("cpu", ["cuda:0", "cuda:1", "cpu"], [None]),
    ],
)
def test_all_cuda_devices_that_compute_work_unless_one_is_chosen(monkeypatch, device, there, expected):
    import MMHVAESynthesisLib.synthesis.devices as devices

    monkeypatch.setattr(devices, "available_devices", lambda: there)
    monkeypatch.setattr(devices, "computes", lambda device: "old" not in device)
    assert runner.devices_of(device) == expected


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"temperature": 2}, InputError), ({"samples": 0}, InputError), ({"format": ".png"}, OutputError),
     ({"kind": "warped"}, InputError), ({"starts": 0}, InputError)],
)  # fmt: skip
def test_wrong_settings_are_an_error_before_any_work(changes, error):
    with pytest.raises(error):
        Settings(**changes)


def test_no_model_is_an_error_before_any_work(tmp_path, cases):
    with pytest.raises(ModelError):
        run_batch(cases, Settings(model=str(tmp_path / "absent.pth")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_format_is_taken_without_its_dot():
    assert Settings(format="NRRD").format == ".nrrd"


def test_requests_are_the_engines_own(settings):
    assert settings.synthesis({"us": "x"}) == SynthesisRequest(
        {"us": "x"}, ("t2",), settings.model, 0.7, 2, 5, "cpu", workers=1
    )


@pytest.mark.parametrize(
    ("chosen", "temperature"),
    [({}, 0.7), ({"register": True}, 0.0), ({"register": True, "samples": 3}, 0.7),
     ({"register": True, "temperature": 0.5}, 0.5), ({"temperature": 0.0}, 0.0)],
)  # fmt: skip
def test_what_is_registered_to_is_the_most_likely_image_unless_said_otherwise(chosen, temperature):
    from MMHVAESynthesisLib.batch.cli import _settings, add_arguments

    assert Settings(**chosen).temperature == temperature
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = [word for name, value in chosen.items() for word in (f"--{name}", str(value)) if word != "True"]
    assert _settings(parser.parse_args(["--folder", "x", "--output-dir", "y", *words])).temperature == temperature
