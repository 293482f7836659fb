"""All planes of a plan through the network: workers, progress, cancel, one thread each."""

import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Dict, List, Optional, Sequence, Set, Tuple

import numpy as np
import SimpleITK as sitk
import torch

from ..errors import Cancelled, InputError
from ..modalities import label
from ..progress import CancelFlag, ProgressCallback, Reporter
from ..threads import ONE_TORCH_THREAD, on_one_torch_thread
from ..volumes.assembly import Assembly
from ..volumes.turning import ORDERS, turned_back
from .fusion import Fusion
from .plan import Plan, View
from .planes import PlaneSynthesizer, SynthesizedPlane
from .result import Preview

_WATCH_SECONDS = 0.1
"""How often the calling thread looks whether the user wants to stop."""

_MEAN, _DEVIATION, _COVERED = "mean", "deviation", "covered"

Volumes = Dict[Tuple[str, str], sitk.Image]
"""By kind and target."""


def run(
    plan: Plan, progress: Optional[ProgressCallback] = None, cancel: Optional[CancelFlag] = None
) -> Tuple[Dict[str, sitk.Image], Dict[str, sitk.Image]]:
    """Synthesise a plan's planes.

    :return: ``{modality: volume}`` of the mean, and of the standard deviation where several samples were asked for (off
        the model's grid an upper bound: :class:`SynthesisResult`).
    :raises Cancelled: when asked to stop, within one pass of the network.
    """
    views = plan.views()
    reporter = Reporter("synthesis", sum(len(view.case.planes) for view in views), progress, cancel)
    kinds = (_MEAN, _DEVIATION) if plan.request.samples > 1 else (_MEAN,)
    if len(views) == 1:
        volumes = _one_view(plan, views[0], kinds, reporter)
    else:
        volumes = _all_views(plan, views, kinds, reporter)
    return tuple(
        {t: volumes.pop((kind, t)) for t in plan.targets} if kind in kinds else {} for kind in (_MEAN, _DEVIATION)
    )


def _all_views(plan: Plan, views: List[View], kinds: Sequence[str], reporter: Reporter) -> Volumes:
    """Synthesise views, one after the other, and put them together; each is let go once it is done."""
    fusion = Fusion(plan.request.draws, _DEVIATION in kinds)
    fusion.expect(plan.targets, plan.case.image.GetSize()[::-1])
    while views:
        view = views.pop(0)
        volumes = _one_view(plan, view, (*kinds, _COVERED), reporter)
        # The arrays are views of the images, which have to outlive them.
        covered = volumes.pop((_COVERED, plan.targets[0]))
        fusion.see(_array(covered, view) > 0)
        for target in plan.targets:
            reporter.check()
            images = [volumes.pop((kind, target)) for kind in kinds]
            fusion.add(target, *(_array(image, view) for image in images))
    fused: Volumes = {}
    for kind in kinds:
        for target in plan.targets:
            image = sitk.GetImageFromArray(fusion.mean(target) if kind == _MEAN else fusion.deviation(target))
            image.CopyInformation(plan.case.image)
            fused[kind, target] = image
    return fused


def _array(image: sitk.Image, view: View) -> np.ndarray:
    """Return a view's volume as an array [k, j, i] of the reference as it is stored; the image must outlive it."""
    return turned_back(sitk.GetArrayViewFromImage(image), view.order)


def _one_view(plan: Plan, view: View, kinds: Sequence[str], reporter: Reporter) -> Volumes:
    """Synthesise a view's planes; ``covered`` is 1 wherever they say anything, and is made once for all targets."""
    names = [(kind, target) for kind in kinds for target in plan.targets if kind != _COVERED]
    if _COVERED in kinds:
        names.append((_COVERED, plan.targets[0]))
    assembly = Assembly(view.case, names)
    for synthesized in _planes(plan, view, reporter):
        by_kind = {_MEAN: synthesized.mean, _DEVIATION: synthesized.deviation}
        by_kind[_COVERED] = {plan.targets[0]: np.ones_like(synthesized.reference)}
        volumes = {(kind, target): by_kind[kind][target] for kind, target in names}
        assembly.add(synthesized.plane, synthesized.reference, volumes)
        reporter.step()
    return assembly.finish()


def _planes(plan: Plan, view: View, reporter: Reporter):
    """Yield the synthesised planes of a view in the order in which they are done."""
    stopping = threading.Event()

    def stop() -> None:
        if stopping.is_set():
            raise Cancelled

    synthesizer = plan.synthesizer(view, stop)
    workers = plan.resources.workers
    # One thread a worker: faster than one slice in several, the same bits for any number.
    with (
        ONE_TORCH_THREAD,
        ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        try:
            chunks = _chunks(view.case.planes, synthesizer.planes_at_a_time)
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


def run_preview(
    plan: Plan,
    native: Optional[int],
    progress: Optional[ProgressCallback] = None,
    cancel: Optional[CancelFlag] = None,
) -> Preview:
    """Synthesise the plane of a plan that lies nearest to plane ``native`` of the reference, and time it.

    One plane is seen in its own direction only, whatever the request says of others.

    :param cancel: Asked from another thread than the caller's.
    :raises InputError: when the reference has no such plane, or nothing in it.
    """
    plane = _nearest_plane(plan, native)
    reporter = Reporter("preview", 1, progress, cancel)
    synthesizer = plan.synthesizer(View(ORDERS[0], plan.case), reporter.check)
    synthesized, seconds = on_one_torch_thread(_timed, synthesizer, plane)
    reporter.step()
    k = native if native is not None else plan.case.grid.native_index(plane)
    images = Assembly.plane_images(plan.case, k, synthesized.reference, synthesized.mean)
    # As if the other directions had as many slices, of as many tiles.
    whole = seconds * len(plan.case.planes) * plan.directions / plan.resources.workers
    return Preview(images, k, seconds / synthesizer.passes, whole, list(plan.warnings))


def _timed(synthesizer: PlaneSynthesizer, plane: int) -> Tuple[SynthesizedPlane, float]:
    """Return a plane, synthesised a second time, and how long that took, in seconds."""
    synthesizer([plane])
    start = time.perf_counter()
    (synthesized,) = synthesizer([plane])
    return synthesized, time.perf_counter() - start


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
