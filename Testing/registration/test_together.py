import threading

import pytest

from MMHVAESynthesisLib.errors import Cancelled
from MMHVAESynthesisLib.progress import Reporter
from MMHVAESynthesisLib.registration import together
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
