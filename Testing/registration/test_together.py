import threading

import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib import threads
from MMHVAESynthesisLib.errors import Cancelled
from MMHVAESynthesisLib.progress import Reporter
from MMHVAESynthesisLib.registration import together
from MMHVAESynthesisLib.registration.mattes import MattesDescent
from MMHVAESynthesisLib.registration.together import together as run


def counting(steps, result):
    def part(relay):
        for _ in range(steps):
            relay.step()
        return result

    return part


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_in_order_and_every_step_reported_by_the_calling_thread(monkeypatch, threads):
    monkeypatch.setattr(together, "THREADS", threads)
    callers = set()
    report = Reporter("test", 9, lambda _: callers.add(threading.get_ident()))
    assert run([counting(5, "a"), counting(1, "b"), counting(3, "c")], report) == ["a", "b", "c"]
    assert report.done == 9 and callers == {threading.get_ident()}


def test_parts_run_at_the_same_time(monkeypatch):
    monkeypatch.setattr(together, "THREADS", 2)
    meeting = threading.Barrier(2, timeout=10)
    assert run([lambda relay: meeting.wait() >= 0] * 2, Reporter("test", 0)) == [True, True]


def test_the_number_of_threads_is_given_back_by_the_last_that_leaves():
    numbers = [8]
    one = threads.OneThread(lambda: numbers[-1], numbers.append)
    for _ in range(2):
        one.__enter__()
        one.__enter__()
        one.__exit__(None, None, None)
        assert numbers[-1] == 1, "the other one still computes"
        one.__exit__(None, None, None)
        assert numbers[-1] == 8


def test_a_registration_that_ends_leaves_another_one_on_one_thread():
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(3)
    try:
        with MattesDescent(0):
            with MattesDescent(0):
                pass
            assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == 1
        assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == 3
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def test_new_threads_of_torch_use_one_and_those_there_what_they_used():
    torch = pytest.importorskip("torch")

    def new():
        return run([lambda relay: torch.get_num_threads()], Reporter("test", 0))[0]

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with threads.ONE_TORCH_THREAD:
            with threads.ONE_TORCH_THREAD:
                assert new() == 1
            assert new() == 1 and torch.get_num_threads() == 3
        assert new() == 3
    finally:
        torch.set_num_threads(before)


def endless(relay):
    while True:
        relay.step()


def test_a_failure_ends_the_other_parts_and_is_raised(monkeypatch):
    monkeypatch.setattr(together, "THREADS", 2)

    def fails(relay):
        raise ValueError("no memory")

    with pytest.raises(ValueError, match="no memory"):
        run([endless, fails, endless], Reporter("test", 1))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("registration")]


def test_cancel_ends_every_part(monkeypatch):
    monkeypatch.setattr(together, "THREADS", 2)
    cancel = threading.Event()
    report = Reporter("test", 1, lambda progress: cancel.set() if progress.done > 20 else None, cancel)
    with pytest.raises(Cancelled):
        run([endless] * 3, report)
    assert report.done <= 21
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("registration")]
