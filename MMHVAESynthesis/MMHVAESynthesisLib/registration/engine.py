"""Registers pre-operative MR to synthetic MR: the one call behind every face of the registration."""

import dataclasses
import logging
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from .. import __version__
from ..dependencies import require_torch, torch_problem
from ..errors import DependencyError, InputError, TorchError
from ..modalities import US
from ..progress import CancelFlag, ProgressCallback, Reporter
from ..request import RegistrationRequest
from . import search
from .brainsfit import BrainsFitDescent, BrainsFitRunner, executable_runner
from .completion import Completion, complete
from .frame import distances
from .mattes import MattesDescent
from .problem import GOOD_OVERLAP, Problem, prepare
from .pyramid import Pyramid
from .result import ContrastSimilarity, RegistrationResult
from .similarity import lncc, overlap
from .solution import Engine, Solution
from .stepwise import StepwiseEngine
from .transforms import transform_of

log = logging.getLogger(__name__)

BY_CHANCE, STANDS_OUT = 1.2, 1.5
"""Times the correlation that chance gives: below the first, a result is not taken unless its repeats lie within
:data:`REPEATED`; below the second, it is doubtful.

In the benchmark true placements had more than the first, most false ones 1.1 or less.
"""

NEARER = (
    "Move the MR nearer by hand first (in Slicer: module Transforms; on the command line: register --initial FILE)."
)
WITHOUT_SEARCH = (
    "If the MR lies nearly right already, register without a search (panel: untick Search; command line: --starts 1; "
    "console: starts=1), and check by eye: nothing tells chance then."
)
LARGER = "So small a field of view hardly tells placements apart: choose a larger one, best the whole ultrasound."

SMALL = 24.0
"""mm, the edge of a cube as large as the field of view, below which neither a search nor its absence is to be advised.
"""

RIVAL, EQUAL = 0.9, 0.98
"""Parts of a result's LNCC that the start has: from the first on it is the result's rival, from the second as good."""

APART = 3.0
"""mm between start and result from which on they are two placements."""

REPEATED, LOST = 2.0, 4.0
"""mm that a result's repeats lie apart: to the first it is taken, as doubtful, whatever chance gives, beyond the second
not at all. Other placements that an engine found to fit almost as well count among the repeats.

In the benchmark with simulated ultrasound, of 56 right placements 45 lay within the first and 2 beyond the second; of
24 wrong ones and 60 of other patients' heads 4 within the first and 63 beyond the second.
"""

TORN = 8.0
"""mm, the same with a start among the repeats that fits nearly as well: beyond it a result is not taken."""

UNSURE = 2.5
"""mm of confidence from which on a result is doubtful: most of what failed in the benchmark lay above it.

A synthesis that is wrong in the same way throughout repeats its false placement: such a result may lie below.
"""


def choose_engine(request: RegistrationRequest, brainsfit: Optional[BrainsFitRunner] = None) -> Engine:
    """Return the engine that a request names; ``auto`` takes LNCC where PyTorch can be used, else Mattes.

    :param brainsfit: What runs BRAINSFit; None takes the executable on the search path.
    :raises DependencyError: when what the engine needs is missing or does not load.
    :raises DeviceError: when the device is absent.
    """
    if request.engine == "brainsfit":
        runner = brainsfit or executable_runner()
        if runner is None:
            raise DependencyError(
                "BRAINSFit is not there: run the registration in Slicer, or choose the engine 'lncc'."
            )
        return StepwiseEngine(BrainsFitDescent(runner))
    if request.engine == "mattes" or (request.engine == "auto" and torch_problem()):
        return StepwiseEngine(MattesDescent(request.seed))
    try:
        require_torch()
    except TorchError as error:
        raise TorchError(f"{error} Or choose the engine 'mattes'.") from error
    from .lncc_engine import LnccEngine

    return LnccEngine(request.device)


def register(
    request: RegistrationRequest,
    progress: Optional[ProgressCallback] = None,
    cancel: Optional[CancelFlag] = None,
    brainsfit: Optional[BrainsFitRunner] = None,
) -> RegistrationResult:
    """Register and return the transform, how much better it is than the start, and how far to trust it.

    The same request on the same machine gives the same transform, bit for bit, on any number of threads.

    :param progress: Called with a :class:`Progress` at each rotation of the search and each iteration; before that,
        where contrasts are completed, at each slice of those, as stages of their own.
    :param cancel: Asked at each of them.
    :param brainsfit: What runs BRAINSFit, where the engine is that.
    :raises MMHVAEError: an input, the device or a package cannot be used; or :class:`Cancelled`.
    """
    started = time.monotonic()
    engine = choose_engine(request, brainsfit)
    problem, completion = _completed(request, engine, progress, cancel)
    searched = _to_search(problem) if request.starts > 1 else []
    most = 1 + len(searched) * (request.starts - 1)
    turns = len(searched) * search.steps()
    report = Reporter("registration", turns + engine.steps(request, most), progress, cancel)
    found = [search.search(pyramid, problem.points, request.starts - 1, report) for pyramid in searched]
    starts = [np.eye(4)] + [peak.pose for peak in search.apart(found, problem.points)]
    report.step(engine.steps(request, most) - engine.steps(request, len(starts)))
    advice = _advice(problem, found)
    solution = _judged(engine.solve(problem, request, starts, report), starts, found, problem.points, advice)
    solution = _against_start(_reproduced(solution, problem.points, LOST, advice), problem)
    solution = _reproduced(solution, problem.points, TORN, advice)
    return _result(problem, completion, engine, solution, started)


def _completed(
    request: RegistrationRequest, engine: Engine, progress: Optional[ProgressCallback], cancel: Optional[CancelFlag]
) -> Tuple[Problem, Completion]:
    """Return the problem with what could be completed, and what came of the completion."""
    # First without: what is wrong with an input shows before the slow work.
    problem = prepare(request)
    completion = Completion(request)
    # BRAINSFit and Mattes run without PyTorch, and use several pairs in ways of their own.
    if request.to_complete and engine.name == "lncc":
        completion = complete(request, progress, cancel)
    if completion.modalities:
        try:
            problem = prepare(completion.request)
        except InputError as error:
            completion = completion.without(request, str(error))
    problem.warnings.extend(completion.warnings)
    return problem, completion


def _to_search(problem: Problem) -> List[Pyramid]:
    """Return the volumes to search, each on its own: all pairs; and where iUS is one of several, the MR without it.

    At the 4 mm of a search little is left of what iUS shows, and it may hide the place at which the MR agree, or be the
    only one to show it.
    """
    mr = [pair for pair, modality in enumerate(problem.modalities) if modality != US]
    both = 0 < len(mr) < len(problem.modalities)
    return [problem.pyramid, problem.pyramid.only(mr)] if both else [problem.pyramid]


def _advice(problem: Problem, found: Sequence[search.Found]) -> str:
    """Return what to do where no placement is to be relied on."""
    level = problem.pyramid.level(2)
    if level.spacing * np.cbrt(level.mask[0].sum()) < SMALL:
        return LARGER
    return WITHOUT_SEARCH if found else NEARER


def _judged(
    solution: Solution, starts: List[np.ndarray], found: Sequence[search.Found], points: np.ndarray, advice: str
) -> Solution:
    """Return a solution with what the searches say of it: whether it stands out from chance in one of them.

    :param points: (N, 3) of the field of view, at which its repeats are compared.
    :param advice: What to do where it does not.
    """
    if not found:
        return solution
    if not starts[1:]:
        note = "The search found no likely placement: only the initial one was refined."
        return dataclasses.replace(solution, warnings=[note, *solution.warnings])
    above = max(each.above_chance(solution.pose) for each in found)
    solution = dataclasses.replace(solution, above_chance=above)
    if above >= STANDS_OUT:
        return solution
    if above >= BY_CHANCE or _spread(solution.pose, solution, points) <= REPEATED:
        note = "The synthetic and the pre-operative MR resemble each other little: check the result by eye."
        return dataclasses.replace(solution, doubts=[note, *solution.doubts])
    note = (
        "The synthetic and the pre-operative MR resemble each other no more than by chance, wherever they are placed: "
        f"the start is returned. Are they of the same patient and contrast? {advice}"
    )
    # No placement is likelier than the others, and how far they lie apart is how far to trust any.
    repeats = [*solution.repeats, *starts[1:], solution.pose]
    return _given_up(solution, repeats, note)


def _against_start(solution: Solution, problem: Problem) -> Solution:
    """Return a solution with the start as one of its repeats where it fits almost as well; where as well, the start.

    Where MR lies is somebody's guess already: it is not moved for nothing.
    """
    start = np.eye(4)
    apart = float(np.median(distances(solution.pose, start, problem.points)))
    if solution.given_up or apart <= APART:
        return solution
    level = problem.pyramid.level(2)
    share = float(np.mean(lncc(level, start)) / max(np.mean(lncc(level, solution.pose)), 1e-6))
    if share < RIVAL:
        return solution
    repeats = [*solution.repeats, start]
    if share < EQUAL:
        note = f"Where the MR lay before, {apart:.0f} mm away, it fits almost as well: check the result by eye."
        return dataclasses.replace(solution, repeats=repeats, doubts=[note, *solution.doubts])
    note = (
        f"A placement {apart:.0f} mm away fits no better than the start: the start is returned. Check it by eye; more "
        "than one contrast tells placements apart better."
    )
    return _given_up(solution, [*solution.repeats, solution.pose], note)


def _reproduced(solution: Solution, points: np.ndarray, most: float, advice: str) -> Solution:
    """Return a solution with the start in place of a result that its own repeats do not find again.

    :param most: mm that the repeats may lie apart.
    :param advice: What to do about it.
    """
    apart = _spread(solution.pose, solution, points)
    if apart <= most or np.array_equal(solution.pose, np.eye(4)):
        return solution
    note = (
        f"Repeats of the registration end {apart:.0f} mm apart, so that no placement is to be relied on: the start is "
        f"returned. {advice}"
    )
    repeats = [*solution.repeats, solution.pose]
    return _given_up(solution, repeats, note)


def _given_up(solution: Solution, repeats: List[np.ndarray], note: str) -> Solution:
    """Return the start as the solution, with ``note`` as the reason in place of all doubts about the pose."""
    warnings = [note, *solution.warnings]
    return dataclasses.replace(solution, pose=np.eye(4), repeats=repeats, warnings=warnings, doubts=[], given_up=True)


def _result(
    problem: Problem, completion: Completion, engine: Engine, solution: Solution, started: float
) -> RegistrationResult:
    level = problem.pyramid.level(2)
    start = np.eye(4)
    before, after = lncc(level, start), lncc(level, solution.pose)
    worse = np.mean(after) < np.mean(before)
    pose, after = (start, before) if worse else (solution.pose, after)
    lost = "Nothing better than the start was found: the start is returned."
    warnings = [*problem.warnings, *solution.warnings, *([lost] if worse else solution.doubts)]
    share = overlap(level, pose)
    if share < GOOD_OVERLAP:
        warnings.append(
            f"Only {100 * share:.0f} % of the field of view lies inside the pre-operative MR after registration."
        )
    confidence = _spread(pose, solution, problem.points)
    if confidence > UNSURE and not solution.given_up:
        warnings.append(f"Repeats of the registration lie {confidence:.1f} mm apart: check the result by eye.")
    matrix = problem.world_matrix(pose)
    seconds = time.monotonic() - started
    log.info("registered in %.1f s, LNCC %.3f to %.3f", seconds, np.mean(before), np.mean(after))
    return RegistrationResult(
        fixed_to_moving=transform_of(matrix, problem.frame.centre),
        moving_to_fixed=transform_of(np.linalg.inv(matrix), problem.frame.centre),
        metric_before=float(np.mean(before)),
        metric_after=float(np.mean(after)),
        confidence=confidence,
        overlap=share,
        moved=float(np.median(distances(pose, start, problem.points))),
        kept_start=bool(np.array_equal(pose, start)),
        contrasts=[
            ContrastSimilarity(modality, *values, modality in completion.modalities)
            for modality, *values in zip(problem.modalities, before, after)
        ],
        warnings=warnings,
        seconds=seconds,
        provenance=_provenance(completion, engine, problem, solution, warnings, seconds),
    )


def _spread(pose: np.ndarray, solution: Solution, points: np.ndarray) -> float:
    """Return how far, root mean square over repeats and points, the repeats lie from the result, in mm."""
    return float(np.sqrt(np.mean([distances(pose, other, points) ** 2 for other in solution.repeats])))


def _provenance(
    completion: Completion,
    engine: Engine,
    problem: Problem,
    solution: Solution,
    warnings: List[str],
    seconds: float,
) -> Dict[str, Any]:
    request = completion.request
    acquired = [modality for modality in problem.modalities if modality not in completion.modalities]

    def source(images: Dict[str, Any], modality: str) -> str:
        image = images[modality]
        return str(image) if isinstance(image, (str, Path)) else "image in memory"

    return {
        "software": "MMHVAESynthesis",
        "version": __version__,
        "engine": engine.name,
        "kind": request.kind,
        "fixed": {m: source(request.fixed, m) for m in problem.modalities},
        "moving": {m: request.names.get(m, source(request.moving, m)) for m in acquired},
        **completion.provenance,
        **({} if solution.refined_on is None else {"refined_on": solution.refined_on}),
        "above_chance": None if solution.above_chance is None else round(solution.above_chance, 3),
        "starts": request.starts,
        "seed": request.seed,
        "device": engine.device,
        "seconds": round(seconds, 3),
        "warnings": list(warnings),
    }
