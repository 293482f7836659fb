"""All planes of a plan through the network: workers, progress, cancel, one thread each."""

import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Dict, Iterator, List, Optional, Sequence, Set, Tuple

import SimpleITK as sitk
import torch

from ..errors import Cancelled, InputError
from ..modalities import label
from ..progress import CancelFlag, ProgressCallback, Reporter
from ..volumes.assembly import Assembly
from .plan import Plan
from .result import Preview

_WATCH_SECONDS = 0.1
"""How often the calling thread looks whether the user wants to stop."""

_MEAN, _DEVIATION = "mean", "deviation"


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let every worker compute in one thread: faster than one slice in several, the same bits for any number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run(
    plan: Plan, progress: Optional[ProgressCallback] = None, cancel: Optional[CancelFlag] = None
) -> Tuple[Dict[str, sitk.Image], Dict[str, sitk.Image]]:
    """Synthesise a plan's planes.

    :return: ``{modality: volume}`` of the mean, and of the standard deviation where several samples were asked for.
    :raises Cancelled: when asked to stop, within one pass of the network.
    """
    kinds = (_MEAN, _DEVIATION) if plan.request.samples > 1 else (_MEAN,)
    assembly = Assembly(plan.case, [(kind, target) for kind in kinds for target in plan.targets])
    reporter = Reporter("synthesis", len(plan.case.planes), progress, cancel)
    for synthesized in _planes(plan, reporter):
        volumes = {(_MEAN, target): image for target, image in synthesized.mean.items()}
        if _DEVIATION in kinds:
            volumes.update({(_DEVIATION, target): image for target, image in synthesized.deviation.items()})
        assembly.add(synthesized.plane, synthesized.reference, volumes)
        reporter.step()
    finished = assembly.finish()
    return tuple(
        {t: finished.pop((kind, t)) for t in plan.targets} if kind in kinds else {} for kind in (_MEAN, _DEVIATION)
    )


def _planes(plan: Plan, reporter: Reporter):
    """Yield the synthesised planes of a plan in the order in which they are done."""
    stopping = threading.Event()

    def stop() -> None:
        if stopping.is_set():
            raise Cancelled

    synthesizer = plan.synthesizer(stop)
    workers = plan.resources.workers
    with (
        one_thread_each(),
        ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        try:
            chunks = _chunks(plan.case.planes, synthesizer.planes_at_a_time)
            pending: Set[Future] = set()
            while True:
                # Few are handed out ahead, so that memory does not grow with the volume.
                while len(pending) < 2 * workers and chunks:
                    pending.add(pool.submit(synthesizer, chunks.pop(0)))
                if not pending:
                    return
                done, pending = wait(pending, _WATCH_SECONDS, FIRST_COMPLETED)
                reporter.check()
                for future in done:
                    yield from future.result()
        finally:
            stopping.set()


def _chunks(planes: Sequence[int], length: int) -> List[Sequence[int]]:
    return [planes[start : start + length] for start in range(0, len(planes), length)]


def run_preview(plan: Plan, native: Optional[int], cancel: Optional[CancelFlag] = None) -> Preview:
    """Synthesise the plane of a plan that lies nearest to plane ``native`` of the reference, and time it.

    :raises InputError: when the reference has no such plane, or nothing in it.
    """
    plane = _nearest_plane(plan, native)
    reporter = Reporter("preview", 1, None, cancel)
    synthesizer = plan.synthesizer(reporter.check)
    with one_thread_each():
        synthesizer([plane])
        start = time.perf_counter()
        (synthesized,) = synthesizer([plane])
        seconds = time.perf_counter() - start
    k = native if native is not None else plan.case.grid.native_index(plane)
    images = Assembly.plane_images(plan.case, k, synthesized.reference, synthesized.mean)
    whole = seconds * len(plan.case.planes) / plan.resources.workers
    return Preview(images, k, seconds / synthesizer.passes, whole, list(plan.warnings))


def _nearest_plane(plan: Plan, native: Optional[int]) -> int:
    case = plan.case
    if native is None:
        return case.planes[len(case.planes) // 2]
    plane = case.grid.model_index(native)
    if not 0 <= native < case.grid.planes.length or plane not in case.planes:
        raise InputError(
            f"Slice {native} of {label(case.reference)} is empty or outside the volume: choose another slice."
        )
    return plane
