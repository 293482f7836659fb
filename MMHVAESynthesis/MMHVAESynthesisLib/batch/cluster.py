"""The same cases on a Dask cluster (package ``distributed``, which is optional).

Every worker is a process of its own with this library on its path and the folders of inputs, results and models under
the same names as here (a shared file system). One thread a worker: a case takes all of a worker's cores by itself. By
hand::

    dask scheduler                                                        # says its address, tcp://...:8786
    PYTHONPATH=<folder of MMHVAESynthesisLib> dask worker tcp://...:8786 --nthreads 1
    python -m MMHVAESynthesisLib batch --folder DIR --output-dir DIR --scheduler tcp://...:8786

On Slurm with the package ``dask-jobqueue`` (other systems alike)::

    from dask_jobqueue import SLURMCluster
    # One thread of Dask's, eight cores of Slurm's for the slices of its case.
    cluster = SLURMCluster(cores=1, processes=1, job_cpu=8, memory="16GB", walltime="04:00:00",
                           job_script_prologue=["export PYTHONPATH=<folder of MMHVAESynthesisLib>"])
    cluster.scale(jobs=10)
    run_batch(cases, settings, output, scheduler=cluster.scheduler_address)

A case whose worker died is given to another one, three times at most (Dask's ``allowed-failures``); what it left is
cleared away.
"""

import dataclasses
import logging
import pickle
import queue
import socket
import time
import uuid
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

from .. import __version__
from ..errors import Cancelled, DependencyError, InputError
from ..models import catalogue
from ..progress import CancelFlag
from . import work
from .case_folder import read_provenance
from .cases import Case
from .settings import Settings
from .work import FAILED, Job, Outcome

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 30
_WATCH_SECONDS = 0.2
_ASK_SECONDS = 2.0
"""How often a worker asks the scheduler whether the user wants to stop."""


def run_on_cluster(
    address: str,
    cases: Sequence[Case],
    settings: Settings,
    output: Path,
    begin: Callable[[str], None],
    finished: Callable[[Outcome], None],
    cancel: Optional[CancelFlag] = None,
) -> None:
    """Do all cases on the workers of a scheduler and call ``finished`` with the outcome of each, in this thread.

    :param begin: Called with the model's digest before the first case; what it raises ends all.
    :raises DependencyError: when ``distributed`` is missing here, or this library on a worker.
    :raises InputError: when no scheduler answers.
    :raises MMHVAEError: when the workers cannot use the model or the engine, or when asked to stop.
    """
    distributed = _distributed()
    settings = dataclasses.replace(settings, model=catalogue.from_anywhere(settings.model, has_folder=False))
    try:
        _check_answers(address)
        client = distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(f"No Dask scheduler answers at {address}: check its address and that it runs.") from error
    stopping = f"mmhvae-stop-{uuid.uuid4().hex}"
    with client:
        try:
            digest = _digest(_wait(_submit(client, probe, settings.model), cancel))
            _wait(_submit(client, work.check_engine, settings), cancel)
            begin(digest)
            jobs = [Job(case, settings, str(output), digest) for case in cases]
            _gather(client, jobs, stopping, finished, cancel)
        finally:
            # Whoever still works, because this was cancelled or failed, stops within a slice.
            distributed.Event(stopping, client=client).set()


def _check_answers(address: str) -> None:
    """Raise :class:`OSError` or :class:`ValueError` unless something answers at a TCP, or listens at a TLS address.

    Asked before a client is made: one that found nobody can keep the next one in this process from starting, and one
    that waits for a word never ends. Dask's scheduler speaks first, but not before TLS has been agreed on.
    """
    scheme, _, rest = address.rpartition("://")
    if not scheme:
        import dask

        scheme = dask.config.get("distributed.comm.default-scheme", "tcp")
    if scheme in ("tcp", "tls"):
        host, _, port = rest.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS) as connection:
            if scheme != "tls" and not connection.recv(1):
                raise OSError("the connection was closed")


def probe(model: Optional[str]) -> str:
    """Return the digest of the model as a worker reads it; run there first, so that what all lack is said once."""
    return f"{__version__} {work.model_digest(model)}"


def process_here(job: Job, stopping: str) -> Outcome:
    """Do one case; run on a worker."""
    return work.process(job, None, _Asked(stopping))


class _Asked:
    """Whether the user asked to stop, as the scheduler knows it."""

    def __init__(self, name: str):
        self._name, self._set, self._next = name, False, 0.0

    def is_set(self) -> bool:
        if not self._set and time.monotonic() >= self._next:
            from distributed import Event

            self._set = Event(self._name).is_set()
            self._next = time.monotonic() + _ASK_SECONDS
        return self._set


def _distributed():
    try:
        import distributed
    except ImportError as error:
        raise DependencyError("A cluster needs the package distributed: pip install dask distributed.") from error
    return distributed


def _submit(client, function: Callable, *arguments):
    """Run a function of this library on a worker.

    Dask hangs on a task that a worker cannot unpickle, as when it lacks this library. So what travels is a function
    that cloudpickle sends by value, names and bytes; what is missing is then that task's error.
    """
    module, name = function.__module__, function.__name__

    def call(packed: bytes):
        import importlib
        import pickle

        return getattr(importlib.import_module(module), name)(*pickle.loads(packed))

    return client.submit(call, pickle.dumps(arguments), pure=False)


def _wait(future, cancel: Optional[CancelFlag]) -> Any:
    """Return what a function returns that was submitted."""
    while not future.done():
        if cancel is not None and cancel.is_set():
            raise Cancelled("Cancelled. Nothing was changed.")
        time.sleep(_WATCH_SECONDS)
    try:
        return future.result()
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"A worker of the cluster lacks a package ({error}): start the workers with the folder that holds "
            "MMHVAESynthesisLib in PYTHONPATH, in a Python that has what this software needs."
        ) from error


def _digest(probed: str) -> str:
    """Return the digest that :func:`probe` found."""
    version, digest = probed.split(" ")
    if version != __version__:
        raise DependencyError(f"The workers have version {version} of this software, here is {__version__}: use one.")
    return digest


def _gather(client, jobs: Sequence[Job], stopping: str, finished, cancel: Optional[CancelFlag]) -> None:
    done: queue.SimpleQueue = queue.SimpleQueue()
    futures = {}
    for job in jobs:
        future = _submit(client, process_here, job, stopping)
        futures[future.key] = (future, job)
        future.add_done_callback(lambda future: done.put(future.key))
    while futures:
        if cancel is not None and cancel.is_set():
            client.cancel([future for future, _ in futures.values()])
            raise Cancelled
        try:
            key = done.get(timeout=_WATCH_SECONDS)
        except queue.Empty:
            continue
        finished(_outcome(*futures.pop(key)))


def _outcome(future, job: Job) -> Outcome:
    try:
        outcome = future.result()
    except Exception as error:  # whatever befell the worker, the other cases go on
        log.debug("case %s on the cluster", job.case.name, exc_info=True)
        return Outcome(job.case.name, FAILED, f"The cluster could not do it ({type(error).__name__}: {error}).")
    if outcome.state != FAILED and read_provenance(Path(job.output) / job.case.name) is None:
        reason = f"The worker wrote it, but it is not in {job.output} here: workers and this machine must share it."
        return Outcome(job.case.name, FAILED, reason, outcome.seconds)
    return outcome
