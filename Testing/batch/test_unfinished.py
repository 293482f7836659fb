"""Several runs in one folder of results."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from MMHVAESynthesisLib.batch import case_folder, runner, unfinished, work  # noqa: E402
from MMHVAESynthesisLib.batch.cases import Case  # noqa: E402
from MMHVAESynthesisLib.batch.runner import run_batch  # noqa: E402
from MMHVAESynthesisLib.errors import OutputError  # noqa: E402
from MMHVAESynthesisLib.synthesis.engine import synthesize  # noqa: E402
from MMHVAESynthesisLib.volumes.files import write  # noqa: E402
from synthesis.making import fan  # noqa: E402

from .making import contents  # noqa: E402

PROVENANCE = {"format": 1, "inputs": {}, "preoperative": {}, "model": {"digest": "d"}, "settings": {}}


@pytest.fixture
def cases(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    return [Case(n, {"us": str(write(fan(4, seed=s), folder / f"{n}.nrrd"))}) for s, n in enumerate("abc")]


@pytest.fixture
def other():
    """A process that lives, for its ID."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def of(folder, pid, host=None, job="0123abcd", case="A", days=0.0, kind="part"):
    path = folder / f".{case}.{host or unfinished._host()}-{pid}-{job}.{kind}"
    path.mkdir()
    (path / "volume.nrrd").write_text("half a volume")
    then = time.time() - 24 * 3600 * days
    os.utime(path, (then, then))
    return path


def test_a_case_leaves_nothing_beside_its_own_folder_wherever_it_is_cut_off(tmp_path, cases, settings, monkeypatch):
    out, beside, looking = tmp_path / "out", set(), []

    def look(event, arguments):
        if looking and event in ("open", "os.mkdir", "os.rename"):
            paths = [Path(os.fsdecode(each)) for each in arguments if isinstance(each, (str, bytes, os.PathLike))]
            beside.update(path.name for path in paths if path.parent == out)

    def watched(*given):
        looking.append(True)
        try:
            return process(*given)
        finally:
            looking.clear()

    process = work.process
    monkeypatch.setattr(runner, "process", watched)
    sys.addaudithook(look)
    result = run_batch(cases[:1], settings, out)
    assert [outcome.reason for outcome in result.outcomes] == [""]
    (part,) = beside - {"a"}
    assert part.startswith(".a.") and part.endswith("." + unfinished.PART)


def test_the_same_batch_twice_at_once_gets_along(tmp_path, cases, settings, monkeypatch):
    out, both, results = tmp_path / "out", threading.Barrier(2, timeout=60), []

    def together(request, *args):
        both.wait()  # both have begun the case, and neither has finished it
        return synthesize(request, *args)

    monkeypatch.setattr(work, "synthesize", together)
    runs = [threading.Thread(target=lambda: results.append(run_batch(cases, settings, out))) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    monkeypatch.setattr(work, "synthesize", synthesize)
    assert [[outcome.reason for outcome in result.outcomes] for result in results] == [["", "", ""]] * 2
    run_batch(cases, settings, tmp_path / "fresh")
    there, fresh = contents(out), contents(tmp_path / "fresh")
    assert there.pop("report.csv") and fresh.pop("report.csv") and there == fresh


def test_results_that_another_run_put_in_place_meanwhile_are_taken(tmp_path, monkeypatch):
    first, second = (case_folder.CaseFolder(tmp_path, "A") for _ in range(2))
    replace = os.replace

    def meanwhile(source, target):
        monkeypatch.setattr(case_folder.os, "replace", replace)
        first.publish(PROVENANCE)
        replace(source, target)

    with first as one, second as two:
        for part in (one, two):
            (part / "volume.nrrd").write_text("a volume")
        monkeypatch.setattr(case_folder.os, "replace", meanwhile)
        second.publish(PROVENANCE)
    assert [path.name for path in tmp_path.iterdir()] == ["A"]
    assert sorted(path.name for path in (tmp_path / "A").iterdir()) == ["provenance.json", "volume.nrrd"]


def publish(output, text, settings):
    """Put results of one volume into place as case A."""
    folder = case_folder.CaseFolder(output, "A")
    with folder as part:
        (part / "volume.nrrd").write_text(text)
        folder.publish({**PROVENANCE, "settings": settings})


def test_the_loser_of_a_race_for_former_results_does_not_fail(tmp_path, monkeypatch):
    publish(tmp_path, "former", {"seed": 1})
    (tmp_path / "A" / "tumour.seg.nrrd").write_text("drawn by hand")
    first, second = (case_folder.CaseFolder(tmp_path, "A") for _ in range(2))
    aside, go_on, failed, replace = threading.Event(), threading.Event(), [], os.replace

    def run():
        try:
            second.publish(PROVENANCE)
        except OutputError as error:
            failed.append(error)

    other = threading.Thread(target=run)

    def raced(source, target):
        if threading.current_thread() is other and str(source).endswith(".part"):
            aside.set()
            assert go_on.wait(60)
        elif source == tmp_path / "A" and threading.current_thread() is not other:
            other.start()  # both have seen the former results, and the other one is faster
            assert aside.wait(60)
        replace(source, target)

    with first as one, second as two:
        for part in (one, two):
            (part / "volume.nrrd").write_text("new")
        monkeypatch.setattr(case_folder.os, "replace", raced)
        try:
            first.publish(PROVENANCE)
        finally:
            go_on.set()
            other.join()
    assert not failed and [path.name for path in tmp_path.iterdir()] == ["A"]
    assert (tmp_path / "A" / "volume.nrrd").read_text() == "new"
    assert (tmp_path / "A" / "tumour.seg.nrrd").read_text() == "drawn by hand"


def test_who_finds_the_place_taken_waits_for_the_others_results(tmp_path, monkeypatch):
    publish(tmp_path, "former", {"seed": 1})
    first, second = (case_folder.CaseFolder(tmp_path, "A") for _ in range(2))
    replace = os.replace

    def refuse(source, target):
        raise PermissionError(13, "another process is renaming it")

    def meanwhile(_):
        monkeypatch.setattr(case_folder.os, "replace", replace)
        second.publish(PROVENANCE)

    with first as one, second as two:
        for part in (one, two):
            (part / "volume.nrrd").write_text("new")
        monkeypatch.setattr(case_folder.os, "replace", refuse)
        monkeypatch.setattr(case_folder.time, "sleep", meanwhile)
        first.publish(PROVENANCE)
    assert [path.name for path in tmp_path.iterdir()] == ["A"]
    assert (tmp_path / "A" / "volume.nrrd").read_text() == "new"


def test_old_results_just_moved_aside_are_not_left_behind(tmp_path, monkeypatch):
    publish(tmp_path, "former", {"seed": 1})
    then = time.time() - 3 * 24 * 3600
    os.utime(tmp_path / "A", (then, then))
    replace, asked = os.replace, []

    def ask(source, target):
        replace(source, target)
        if str(target).endswith(".old"):
            (found,) = (each for each in unfinished.find(tmp_path) if each.kind == "old")
            asked.append(found.is_left_behind())
            with monkeypatch.context() as elsewhere:
                elsewhere.setattr(unfinished.platform, "node", lambda: "elsewhere")
                asked.append(found.is_left_behind())

    monkeypatch.setattr(case_folder.os, "replace", ask)
    publish(tmp_path, "new", {"seed": 2})
    assert asked == [False, False] and (tmp_path / "A" / "volume.nrrd").read_text() == "new"


def test_a_run_taken_for_dead_puts_no_half_deleted_results_in_place(tmp_path, monkeypatch):
    publish(tmp_path, "former", {"seed": 1})
    alive, failed, remove = case_folder.CaseFolder(tmp_path, "A"), [], case_folder.shutil.rmtree

    def meanwhile(path, **options):
        monkeypatch.setattr(case_folder.shutil, "rmtree", remove)
        (path / "volume.nrrd").unlink()
        try:
            alive.publish(PROVENANCE)
        except OutputError as error:
            failed.append(error)
        remove(path, **options)

    with alive as part:
        for name in ("volume.nrrd", "more.nrrd"):
            (part / name).write_text("new")
        monkeypatch.setattr(unfinished.Unfinished, "is_left_behind", lambda *_: True)
        monkeypatch.setattr(case_folder.shutil, "rmtree", meanwhile)
        case_folder.CaseFolder(tmp_path, "A").clear()
    assert failed and [path.name for path in tmp_path.iterdir()] == ["A"]
    assert (tmp_path / "A" / "volume.nrrd").read_text() == "former"


def test_only_what_is_left_behind_is_cleared(tmp_path, other):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    stay = {
        of(tmp_path, other.pid),
        of(tmp_path, ended.pid, host="elsewhere"),
        of(tmp_path, ended.pid, case="B"),
        of(tmp_path, other.pid, kind="old"),
        of(tmp_path, other.pid, job="4567cdef", days=1.1),
        of(tmp_path, other.pid, job="4567cdef", days=1.1, kind="old"),
    }
    go = [
        of(tmp_path, ended.pid),
        of(tmp_path, os.getpid()),  # of a killed process that had the ID of this one
        of(tmp_path, ended.pid, host="elsewhere", job="4567cdef", days=1.1),
        of(tmp_path, other.pid, host="elsewhere", job="89abcdef"),  # of the worker that had this job and died
    ]
    with case_folder.CaseFolder(tmp_path, "A", "89abcdef") as part:
        assert not any(path.exists() for path in go)
        assert {path for path in tmp_path.iterdir()} == stay | {part}
        case_folder.CaseFolder(tmp_path, "A").clear()
        assert part.exists()
    assert set(tmp_path.iterdir()) == stay


def test_a_second_run_says_who_is_at_work(tmp_path, cases, settings, other, caplog):
    out = tmp_path / "out"
    out.mkdir()
    busy = of(out, other.pid, case="b")
    with caplog.at_level("WARNING"):
        result = run_batch(cases, settings, out)
    assert len(result.of_state("done")) == 3 and busy.exists()
    (said,) = (text for text in caplog.messages if "unfinished cases" in text)
    assert f"process {other.pid} on {unfinished._host()}" in said and "stop one of the two" in said


@pytest.mark.parametrize("host", ["node-7.cluster.example", "Rechner_Müller", "", "x" * 70])
@pytest.mark.parametrize("case", ["A", "a.b-1", "x.node-1-0123abcd"])
def test_names_say_whose_they_are(tmp_path, monkeypatch, host, case):
    monkeypatch.setattr(unfinished.platform, "node", lambda: host)
    part = tmp_path / unfinished.part_name(case, "0123abcd")
    part.mkdir()
    (found,) = unfinished.find(tmp_path)
    assert (found.case, found.pid, found.job, found.kind) == (case, os.getpid(), "0123abcd", "part")
    assert found.host == unfinished._host() and len(found.host) <= 32
    unfinished.begin(part)
    assert not found.is_left_behind()
    unfinished.end(part)
    assert found.is_left_behind()


def test_a_job_keeps_its_name_on_its_way_to_another_worker(cases, settings):
    import pickle

    job, next_ = (work.Job(cases[0], settings, "out", "digest") for _ in range(2))
    assert pickle.loads(pickle.dumps(job)).name == job.name != next_.name
