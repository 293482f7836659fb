import threading

import pytest

from MMHVAESynthesisLib.errors import Cancelled
from MMHVAESynthesisLib.progress import Reporter


def test_steps_are_counted_and_the_time_left_estimated():
    reports = []
    reporter = Reporter("work", 4, reports.append)
    for _ in range(4):
        reporter.step()
    assert [(report.stage, report.done, report.total) for report in reports] == [("work", n, 4) for n in range(5)]
    assert reports[0].seconds_left is None and reports[-1].seconds_left == 0


def test_asked_to_stop_it_raises():
    cancel = threading.Event()
    reporter = Reporter("work", 2, None, cancel)
    reporter.step()
    cancel.set()
    with pytest.raises(Cancelled):
        reporter.step()
