"""Slicer is closed while BRAINSFit's registration works inside one of its events."""

import time

import pytest

from .driving import settle


@pytest.fixture
def search(monkeypatch):
    """The search before BRAINSFit, as long as nobody stops it; set ``act`` to what happens at its third step."""
    from MMHVAESynthesisLib.progress import Reporter
    from MMHVAESynthesisLib.registration import engine

    def register(request, progress, cancel, runner):
        reporter = Reporter("searching", 100, progress, cancel)
        for step in range(100):
            if step == 3:
                register.act()
            register.steps = step
            reporter.step()
        return "found"

    register.act = lambda: None
    monkeypatch.setattr(engine, "register", register)
    return register


def run():
    from MMHVAESynthesisLib.app.brainsfit_job import BrainsfitJob
    from MMHVAESynthesisLib.app.jobs import RUNNING

    job, end = BrainsfitJob(None, None), time.monotonic() + 20
    while job.poll() == RUNNING:
        assert time.monotonic() < end
        settle()
    return job


def test_closing_slicer_stops_the_search_so_that_slicer_can_end(panel, main_window, search):
    search.act = main_window.close
    assert run().state == "cancelled" and search.steps == 4


def test_so_does_a_window_that_is_gone_altogether(slicer, panel, main_window, search):
    search.act = lambda: setattr(slicer.app, "main_window", None)
    assert run().state == "cancelled"


def test_a_window_that_stays_stops_nothing(panel, main_window, search):
    assert run().made == "found"


def test_nor_does_the_lack_of_one(panel, search):
    assert run().made == "found"
