import dataclasses
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
distributed = pytest.importorskip("distributed")

from MMHVAESynthesisLib.batch import cluster  # noqa: E402
from MMHVAESynthesisLib.batch.cases import Case  # noqa: E402
from MMHVAESynthesisLib.batch.runner import run_batch  # noqa: E402
from MMHVAESynthesisLib.batch.settings import Settings  # noqa: E402
from MMHVAESynthesisLib.batch.table import read_table  # noqa: E402
from MMHVAESynthesisLib.errors import Cancelled, DependencyError, InputError, ModelError  # noqa: E402

from .conftest import GOOD  # noqa: E402
from .making import BROKEN, contents  # noqa: E402

ROOT = Path(__file__).parents[2] / "MMHVAESynthesis"


class Processes:
    """A scheduler on loopback and its workers, each a process of its own."""

    def __init__(self, folder):
        self._folder, self._all = folder, []
        file = folder / "scheduler.json"
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
        self._file = file
        self.address = None

    def _start(self, command, *words, library=ROOT):
        path = str(library) if library else ""
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
        log = open(self._folder / f"{command}-{len(self._all)}.log", "wb")  # noqa: SIM115
        run = [sys.executable, "-m", "dask", command, *words]
        self._all.append(subprocess.Popen(run, env=environment, stdout=log, stderr=log, cwd=self._folder))
        log.close()
        return self._all[-1]

    def worker(self, library=ROOT):
        words = ["--scheduler-file", str(self._file), "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny"]
        return self._start("worker", *words, "--no-dashboard", "--local-directory", str(self._folder), library=library)

    def wait_for(self, workers):
        with distributed.Client(scheduler_file=str(self._file), timeout=120, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=120)
            self.address = client.scheduler.address
        return self.address

    def end(self):
        for process in self._all:
            process.kill()
            process.wait()


@pytest.fixture
def processes(tmp_path):
    found = Processes(tmp_path)
    yield found
    found.end()


def test_two_workers_one_killed_and_nothing_lost(tmp_path, processes, table, settings, undisturbed):
    workers = [processes.worker(), processes.worker()]
    address = processes.wait_for(2)
    killed = []

    def kill_one(report):
        if report.stage == "cases" and report.done == 6:
            assert [worker.poll() for worker in workers] == [None, None]
            workers[0].kill()
            killed.append(report.done)

    result = run_batch(read_table(table), settings, tmp_path / "out", kill_one, scheduler=address)
    assert killed == [6] and workers[0].wait() != 0 and workers[1].poll() is None
    assert len(result.of_state("done")) == GOOD and len(result.of_state("failed")) == len(BROKEN)
    assert contents(tmp_path / "out") == contents(undisturbed[1])

    # The worker that is left serves these too: starting another takes seconds.
    with pytest.raises(ModelError, match="no model named 'absent'"):
        run_batch(read_table(table), Settings(model="absent"), tmp_path / "none", scheduler=address)
    absent = dataclasses.replace(settings, register=True, engine="brainsfit")
    with pytest.raises(DependencyError, match="BRAINSFit is not there"):
        run_batch(read_table(table), absent, tmp_path / "none", scheduler=address)
    cancel = threading.Event()

    def stop(report):
        if report.done == 2:
            cancel.set()

    with pytest.raises(Cancelled, match="of 30 cases are finished"):
        run_batch(read_table(table), settings, tmp_path / "cancelled", stop, cancel, address)
    finished = run_batch(read_table(table), settings, tmp_path / "cancelled", scheduler=address)
    assert len(finished.of_state("kept")) >= 1 and len(finished.of_state("done")) >= 1
    assert contents(tmp_path / "cancelled") == contents(undisturbed[1])


def test_a_model_file_named_from_here_is_found_by_workers_elsewhere(tmp_path, processes, table, settings, monkeypatch):
    model = Path(settings.model)
    monkeypatch.chdir(model.parent)
    near = dataclasses.replace(settings, model=model.name)
    processes.worker()
    result = run_batch(read_table(table), near, tmp_path / "out", scheduler=processes.wait_for(1))
    assert len(result.of_state("done")) == GOOD


def test_a_worker_without_this_library_is_said_to_lack_it(tmp_path, processes, table, settings):
    processes.worker(library=None)
    address = processes.wait_for(1)
    with pytest.raises(DependencyError, match="folder that holds MMHVAESynthesisLib in PYTHONPATH"):
        run_batch(read_table(table), settings, tmp_path / "out", scheduler=address)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x", "127.0.0.1:9"])
def test_no_scheduler_is_said_to_be(tmp_path, table, settings, address, monkeypatch):
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 1)
    with pytest.raises(InputError, match="No Dask scheduler answers"):
        run_batch(read_table(table), settings, tmp_path / "out", scheduler=address)


@pytest.mark.parametrize("closes", [True, False], ids=["hangs up", "is silent"])
def test_what_listens_without_a_word_is_no_scheduler(tmp_path, table, settings, monkeypatch, closes):
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken, address = [], f"127.0.0.1:{server.getsockname()[1]}"

        def take():
            taken.append(server.accept()[0])
            if closes:
                taken.pop().close()

        threading.Thread(target=take, daemon=True).start()
        with pytest.raises(InputError, match="No Dask scheduler answers"):
            run_batch(read_table(table), settings, tmp_path / "out", scheduler=address)
        for connection in taken:
            connection.close()


def test_without_the_package_the_message_says_what_to_install(tmp_path, table, settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DependencyError, match="pip install dask distributed"):
        run_batch(read_table(table), settings, tmp_path / "out", scheduler="tcp://127.0.0.1:9")


class Ended:
    """A task of the cluster that has ended."""

    def __init__(self, outcome):
        self._outcome = outcome

    def result(self):
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


def test_a_case_that_kills_one_worker_after_another_fails_by_name(tmp_path, settings):
    from distributed.scheduler import KilledWorker

    killed = KilledWorker("call-1", SimpleNamespace(address="tcp://w:1"), 3)
    outcome = cluster._outcome(Ended(killed), cluster.Job(Case("a"), settings, str(tmp_path), ""))
    assert (outcome.case, outcome.state) == ("a", "failed")
    assert "The cluster could not do it (KilledWorker" in outcome.reason


def test_results_on_a_disk_that_is_not_shared_are_a_failure(tmp_path, settings):
    done = cluster.Outcome("a", "done", "", 3.0)
    outcome = cluster._outcome(Ended(done), cluster.Job(Case("a"), settings, str(tmp_path), ""))
    assert outcome.state == "failed" and "workers and this machine must share it" in outcome.reason
