import pytest

from MMHVAESynthesisLib import errors
from MMHVAESynthesisLib.app import jobs
from MMHVAESynthesisLib.app.jobs import CANCELLED, DONE, FAILED, RUNNING, Job
from MMHVAESynthesisLib.app.process import JobError

from .fakes import FakeStart


@pytest.fixture
def start():
    return FakeStart()


@pytest.fixture
def job(start):
    return Job(["machine"], start)


@pytest.fixture
def clock(monkeypatch):
    """The time that jobs see, in seconds; set ``clock[0]``."""
    now = [100.0]
    monkeypatch.setattr(jobs.time, "monotonic", lambda: now[0])
    return now


def test_the_child_is_asked_for_json(job, start):
    assert start.calls == [["machine", "--progress", "json"]]
    assert job.poll() == RUNNING and job.progress is None


def test_progress_and_result_arrive(job, start):
    start.process.report(3, 10, 4.5)
    assert job.poll() == RUNNING
    assert (job.progress.done, job.progress.total, job.progress.seconds_left) == (3, 10, 4.5)
    start.process.say(result={"devices": {}})
    start.process.code = 0
    assert job.poll() == DONE and job.result == {"devices": {}} and job.error is None


@pytest.mark.parametrize("kind", ["InputError", "ModelError", "DeviceError", "OutputError", "DependencyError"])
def test_the_librarys_errors_come_back_as_themselves(job, start, kind):
    cls = getattr(errors, kind)
    start.process.say(error="What is wrong.", kind=kind, exit_code=cls.exit_code)
    start.process.code = cls.exit_code
    assert job.poll() == FAILED
    assert type(job.error) is cls and str(job.error) == "What is wrong."


@pytest.mark.parametrize("code", [-9, 137, 0xC0000017])
def test_a_child_that_is_killed_for_memory_is_told_as_such(job, start, code):
    start.process.report(3)
    start.process.code = code
    assert job.poll() == FAILED
    assert isinstance(job.error, JobError) and "memory ran out" in str(job.error)


def test_a_child_that_is_killed_under_slicers_launcher_is_told_as_such(job, start):
    start.process.report(3)
    start.process.errors.append("error: [bin/python-real] exit abnormally - Report the problem.")
    start.process.code = 1
    assert job.poll() == FAILED
    assert isinstance(job.error, JobError) and "memory ran out" in str(job.error)
    assert "crashed" in str(job.error) and "the log says more" in str(job.error)


def test_what_a_child_said_itself_counts_whatever_the_launcher_says(job, start):
    start.process.errors.append("error: [bin/python-real] exit abnormally - Report the problem.")
    start.process.say(error="What is wrong.", kind="InputError", exit_code=3)
    start.process.code = 1
    assert job.poll() == FAILED and str(job.error) == "What is wrong."


@pytest.mark.parametrize(("code", "words"), [(1, "exit code 1"), (-11, "signal 11"), (0, "without a result")])
def test_a_child_that_ends_without_a_word_is_told_as_such(job, start, code, words):
    start.process.errors.append("Traceback ...")
    start.process.code = code
    assert job.poll() == FAILED and words in str(job.error) and "Nothing was changed" in str(job.error)
    assert "Traceback" in job.log()


def test_garbage_goes_to_the_log_and_is_told_where_nothing_else_came(job, start):
    start.process.waiting += ["\x00\x01{", "[1, 2]", '"text"', '{"stage": "x"}', '{"result": 3}', "", "nan"]
    assert job.poll() == RUNNING and job.progress is None
    start.process.code = 0
    assert job.poll() == FAILED and "cannot be understood" in str(job.error)
    assert job.log().count("[not understood]") == 6


def test_garbage_among_good_lines_does_no_harm(job, start):
    start.process.waiting.append("a library says hello")
    start.process.report(1)
    start.process.say(result={})
    start.process.code = 0
    assert job.poll() == DONE and "hello" in job.log()


def test_cancel_asks_the_child_to_stop_and_the_end_is_a_cancel(job, start):
    job.cancel()
    job.cancel()
    assert start.process.deeds == ["ask_to_stop"] and job.is_stopping
    start.process.say(error="Cancelled.", kind="Cancelled", exit_code=8)
    start.process.code = 8
    assert job.poll() == CANCELLED and job.error is None and not job.is_stopping


def test_a_child_that_does_not_stop_is_terminated_and_then_killed(clock, job, start):
    job.cancel()
    for seconds, deeds in ((1, 1), (7.9, 1), (8.1, 2), (11.9, 2), (12.1, 3), (60, 3)):
        clock[0] = 100.0 + seconds
        assert job.poll() == RUNNING and len(start.process.deeds) == deeds
    assert start.process.deeds == ["ask_to_stop", "terminate", "kill"]
    start.process.code = -9
    assert job.poll() == CANCELLED, "the user asked for it, so it is no lack of memory"


def test_a_silent_child_is_noticed(clock, start):
    job = Job(["machine"], start)
    clock[0] += 59
    assert job.silent_seconds == 0
    clock[0] += 10
    assert job.silent_seconds == 69
    start.process.report(1)
    job.poll()
    assert job.silent_seconds == 0


def test_a_child_that_cannot_be_started_is_told():
    def start(_):
        raise FileNotFoundError(2, "No such file")

    with pytest.raises(JobError, match="could not be started: No such file"):
        Job(["machine"], start)


def test_after_the_end_nothing_changes_any_more(job, start):
    start.process.code = 1
    job.poll()
    start.process.say(result={})
    start.process.code = 0
    assert job.poll() == FAILED
    job.cancel()
    job.kill()
    assert job.state == FAILED and "kill" not in start.process.deeds
