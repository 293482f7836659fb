"""Many cases from Slicer's Python console: the blocking call, and the one that leaves Slicer usable."""

import shutil
import time

import pytest

from MMHVAESynthesisLib.errors import InputError, ModelError
from slicer_headless import missing


@pytest.fixture
def qt():
    reason = missing("PySide6")
    if reason:
        pytest.skip(reason)
    try:
        import qt
    except ImportError as error:
        pytest.skip(f"Qt does not load here: {error}")
    return qt


@pytest.fixture
def logic(scene, module):
    return module.MMHVAESynthesisLogic()


@pytest.fixture
def cohort(tmp_path):
    """A folder of three tiny cases, one of them broken."""
    from MMHVAESynthesisLib.volumes.files import write
    from synthesis.making import fan

    for seed, name in enumerate(("Größe 1", "2")):
        (tmp_path / "in" / name).mkdir(parents=True)
        write(fan(4, seed=seed), tmp_path / "in" / name / "us.nrrd")
    (tmp_path / "in" / "3").mkdir()
    (tmp_path / "in" / "3" / "us.nrrd").write_bytes(b"nonsense")
    return tmp_path / "in"


@pytest.fixture
def model(tmp_path_factory):
    pytest.importorskip("torch", reason="not installed: torch")
    from synthesis.making import model_file

    return model_file(tmp_path_factory.mktemp("model"))


def settled(qt, job, seconds=300):
    """Turn Slicer's event loop until the batch has ended; return how often a timer of the GUI's own went off."""
    turns, timer, end = [], qt.QTimer(), time.monotonic() + seconds
    timer.connect("timeout()", lambda: turns.append(time.monotonic()))
    timer.start(20)
    while job.state == "running":
        assert time.monotonic() < end, job.log()
        qt.QCoreApplication.processEvents()
        time.sleep(0.005)
    timer.stop()
    return len(turns)


def test_both_calls_do_the_same_work_and_the_second_goes_on_from_the_first(logic, qt, cohort, model, tmp_path):
    words = {"folder": str(cohort), "model": model, "targets": ["t2"], "device": "cpu", "workers": 1}
    reports, told = [], []
    job = logic.startBatch(tmp_path / "out ü", progress=reports.append, finished=told.append, **words)
    assert job.state == "running" and job.result is None
    assert settled(qt, job) > 10
    assert (job.state, job.finished, job.error) == ("done", True, None) and told == [job]
    assert sorted(job.result["done"]) == ["2", "Größe 1"] and "damaged, cut off" in job.result["failed"]["3"]
    assert (tmp_path / "out ü" / "Größe 1" / "Größe 1_synthetic-T2.nrrd").is_file()
    assert job.cases.done == job.cases.total == 3 and reports[-1] == job.progress
    assert any(r.stage == "2: synthesis" and r.seconds_left is not None for r in reports)
    assert "2 done, 0 finished before, 1 failed." in str(job) and "report.html" in str(job)

    again = logic.batch(tmp_path / "out ü", progress=reports.append, **words)
    assert sorted(again["kept"]) == ["2", "Größe 1"] and again["done"] == [] and list(again["failed"]) == ["3"]
    assert again["report"] == job.result["report"] and again["exit_code"] == job.result["exit_code"] == 9


def test_relative_paths_are_the_callers_not_the_childs(logic, qt, cohort, model, tmp_path, monkeypatch):
    for name in ("2", "3"):
        shutil.rmtree(cohort / name)
    shutil.copy(model, tmp_path / "own.safetensors")
    monkeypatch.chdir(tmp_path)
    job = logic.startBatch("out", folder="in", model="own.safetensors", targets=["t2"], device="cpu", workers=1)
    settled(qt, job)
    assert job.state == "done", job.log()
    assert (tmp_path / "out" / "Größe 1" / "Größe 1_synthetic-T2.nrrd").is_file()


def test_a_batch_is_cancelled_and_goes_on_later(logic, qt, cohort, model, tmp_path):
    from MMHVAESynthesisLib.volumes.files import write
    from synthesis.making import fan

    write(fan(50), cohort / "Größe 1" / "us.nrrd")
    words = {"folder": str(cohort), "model": model, "targets": ["t2"], "device": "cpu", "samples": 20}
    jobs = []

    def cancel_in_the_second_case(report):
        if report.stage == "Größe 1: synthesis" and report.done == 1:
            jobs[0].cancel()

    jobs.append(logic.startBatch(tmp_path / "out", progress=cancel_in_the_second_case, **words))
    settled(qt, jobs[0])
    assert jobs[0].state == "cancelled" and jobs[0].finished
    assert str(jobs[0]) == "Cancelled: 1 of 3 cases are finished. The same command goes on from there."
    assert not [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
    shutil.rmtree(cohort / "Größe 1")
    assert logic.batch(tmp_path / "out", **words)["kept"] == ["2"]


def test_wrong_words_are_an_error_at_once_and_start_nothing(logic, qt, monkeypatch, cohort, tmp_path):
    monkeypatch.setattr(logic, "startChild", lambda arguments: pytest.fail("a child was started"))
    for call in (logic.startBatch, logic.batch):
        for words, sentence in (
            ({"folder": cohort, "manifest": "cases.csv"}, "either as a table"),
            ({}, "either as a table"),
            ({"folder": cohort, "temperature": 2}, "temperature"),
            ({"folder": cohort, "starts": 0}, "start"),
        ):
            with pytest.raises(InputError, match=sentence):
                call(tmp_path / "out", **words)
        for output, scheduler, sentence in (
            (None, None, "output_dir is the path"),
            ("", None, "output_dir is the path"),
            (3, None, "not 3"),
            (tmp_path / "out", 5, "scheduler is an address"),
        ):
            with pytest.raises(InputError, match=sentence):
                call(output, folder=cohort, scheduler=scheduler)
        with pytest.raises(TypeError, match="temprature"):
            call(tmp_path / "out", folder=cohort, temprature=0.5)


def test_what_stops_the_whole_batch_is_told_by_the_handle(logic, qt, cohort, tmp_path):
    job = logic.startBatch(tmp_path / "out", folder=cohort, model=str(tmp_path / "absent.pth"), device="cpu")
    while not job.finished:  # as in a script that keeps Slicer busy
        time.sleep(0.02)
    assert job.state == "failed" and job.result is None
    assert isinstance(job.error, ModelError) and "absent.pth" in str(job) == str(job.error)


def test_a_child_that_dies_is_said_to_leave_what_was_finished(logic, qt, monkeypatch, cohort, tmp_path):
    from app.fakes import FakeStart

    start = FakeStart()
    monkeypatch.setattr(logic, "startChild", start)
    told = []
    job = logic.startBatch(tmp_path / "out", folder=cohort, finished=told.append)
    assert str(job) == "Batch: starting ..."
    start.process.say(stage="cases", done=3, total=30, seconds_left=400)
    start.process.say(stage="a: synthesis", done=1, total=30, seconds_left=390)
    assert not job.finished and str(job) == "Batch, cases: 3 of 30, about 6 min 40 s left"
    assert job.progress.stage == "a: synthesis"
    start.process.code = -9
    assert job.finished and told == [job]
    assert "memory may have run out" in str(job) and "What was finished stays" in str(job)


def test_a_fault_in_the_callers_functions_does_not_hurt_the_batch(logic, qt, monkeypatch, cohort, tmp_path, caplog):
    from app.fakes import FakeStart

    start = FakeStart()
    monkeypatch.setattr(logic, "startChild", start)
    job = logic.startBatch(tmp_path / "out", folder=cohort, progress=lambda _: 1 / 0, finished=lambda _: 1 / 0)
    start.process.say(stage="cases", done=3, total=3, seconds_left=0)
    start.process.say(result={"done": ["2"], "kept": [], "failed": {}, "report": "r.html", "exit_code": 0})
    start.process.code = 0
    assert job.finished and job.state == "done" and job.cases.done == 3
    assert caplog.text.count("ZeroDivisionError: division by zero") == 2


def test_a_batch_that_was_through_before_it_heard_of_the_cancel_is_done(logic, qt, monkeypatch, cohort, tmp_path):
    from app.fakes import FakeStart

    start = FakeStart()
    monkeypatch.setattr(logic, "startChild", start)
    job = logic.startBatch(tmp_path / "out", folder=cohort)
    job.cancel()
    assert start.process.deeds == ["ask_to_stop"] and job.is_stopping
    start.process.say(result={"done": ["2"], "kept": [], "failed": {}, "report": "r.html", "exit_code": 0})
    start.process.code = 0
    assert job.finished and job.state == "done" and job.result["done"] == ["2"]


def test_a_batch_that_is_looked_at_while_it_tells_its_progress_ends_once_and_well(
    logic, qt, monkeypatch, cohort, tmp_path
):
    from app.fakes import FakeStart

    start, seen, ended = FakeStart(), [], []
    monkeypatch.setattr(logic, "startChild", start)

    def look(progress):
        # As Slicer's events do, if a script has them handled: the batch's timer is among them.
        seen.append((progress.done, job.finished))

    job = logic.startBatch(
        tmp_path / "out", folder=cohort, progress=look, finished=lambda it: ended.append((it.finished, it.state))
    )
    start.process.report(1, 2)
    start.process.report(2, 2)
    start.process.say(result={"done": ["1", "2"], "kept": [], "failed": {}, "report": "r.html", "exit_code": 0})
    start.process.code = 0
    assert job.finished and job.state == "done" and job.result["done"] == ["1", "2"]
    assert seen == [(1, False), (2, False)] and ended == [(True, "done")]


def test_every_setting_reaches_the_command_line(logic, qt, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    from app.fakes import FakeStart
    from MMHVAESynthesisLib import __main__
    from MMHVAESynthesisLib.batch import cli
    from MMHVAESynthesisLib.batch.settings import Settings

    start = FakeStart()
    monkeypatch.setattr(logic, "startChild", start)
    words = {
        "targets": ("t2", "flair"), "model": "-a b.pth", "temperature": 0.1 + 0.2, "samples": 3, "seed": 7,
        "device": "cuda:1", "noise": "shared", "half_precision": True, "batch": 2, "workers": 3, "directions": 3,
        "format": ".mha",
        "register": True, "kind": "affine", "engine": "mattes", "starts": 9, "completion": False,
    }  # fmt: skip
    plain = Settings()
    assert set(words) == set(vars(plain)) and all(vars(plain)[name] != value for name, value in words.items())
    for settings in ({}, words):
        job = logic.startBatch("-out", manifest="ä.csv", scheduler="tcp://h:8786", **settings)
        parsed = __main__.parser("batch").parse_args(start.calls[-1])
        assert (parsed.manifest, parsed.folder) == (str(tmp_path / "ä.csv"), None)
        assert parsed.output_dir == str(tmp_path / "-out")
        assert parsed.scheduler == "tcp://h:8786" and parsed.progress == "json"
        assert cli._settings(parsed) == Settings(**settings)
        job.kill()
        assert job.finished and job.state == "cancelled"
