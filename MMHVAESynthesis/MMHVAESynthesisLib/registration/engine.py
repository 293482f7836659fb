"""Registers pre-operative MR to synthetic MR: the one call behind every face of the registration."""

import dataclasses
import logging
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from .. import SOFTWARE, __version__
from ..dependencies import require_torch, torch_problem
from ..errors import DependencyError, InputError, TorchError
from ..paths import absolute
from ..progress import CancelFlag, ProgressCallback, Reporter
from ..request import RegistrationRequest
from . import search
from .brainsfit import BrainsFitDescent, BrainsFitRunner, executable_runner
from .chance import times_chance
from .completion import Completion, complete
from .frame import distances, gap
from .mattes import MattesDescent
from .problem import GOOD_OVERLAP, Problem, prepare
from .result import ContrastSimilarity, RegistrationResult
from .similarity import information, lncc, overlap
from .solution import Engine, Rival, Solution
from .stepwise import StepwiseEngine
from .transforms import transform_of

log = logging.getLogger(__name__)

LEAST, BY_CHANCE, STANDS_OUT = 2.0, 2.4, 3.5
"""Times the information that chance gives (see :mod:`.chance`): what a result needs that stands apart, what speaks for
one that does not, and what leaves no doubt. See :func:`_is_likely`.
"""

LONE = 3.3
"""In place of the first two where one pair is all, so that no other contradicts it: the real ultrasound of Case2, taken
for ceT1, fits 16 mm away from where it belongs, at 2.8 to 3.1 times.
"""

NEARER = (
    "Move the MR nearer by hand first (in Slicer: module Transforms; on the command line: register --initial FILE)."
)
WITH_SEARCH = (
    "Register with a search for places to start from (panel: tick Search; command line and batch: --starts 4; console: "
    "starts=4), or move the MR nearer by hand first (in Slicer: module Transforms; on the command line: register "
    "--initial FILE)."
)
WITHOUT_SEARCH = (
    "If the MR lies nearly right already, register without a search (panel: untick Search; command line: --starts 1; "
    "console: starts=1), and check by eye: what chance may have given is then taken too."
)
LARGER = "So small a field of view hardly tells placements apart: choose a larger one, best the whole ultrasound."

LITTLE = "The synthetic and the pre-operative MR resemble each other little: check the result by eye."
NOTHING_FOUND = "The search found no likely placement: only the initial one was refined."

SMALL = 24.0
"""mm, the edge of a cube as large as the field of view, below which neither a search nor its absence is to be advised,
and placements elsewhere tell nothing.
"""

ELSEWHERE = 12.0
"""mm from a result, root mean square over the field of view, from which on another placement is not another answer to
where the same one lies.
"""

APART_FROM_ALL, ALONE = 0.7, 0.83
"""Parts of a result's information that the best placement elsewhere has: below the first the result stands apart, below
the second that speaks for it. See :func:`_is_likely`.
"""

RIVAL, EQUAL = 0.9, 0.98
"""Parts of a result's information that another placement, or the start, has: from the first on it is the result's
rival, from the second as good.
"""

APART = 3.0
"""mm between start and result from which on they are two placements."""

REPEATED, LOST = 2.4, 4.0
"""mm that a result's repeats lie apart: within the first that speaks for it, beyond the second it is not taken."""

TORN = 8.0
"""mm, the same with a start, and other placements, among the repeats that fit nearly as well."""

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
    searched = problem.views if request.starts > 1 else []
    most = 1 + len(searched) * (request.starts - 1)
    turns = len(searched) * search.steps()
    report = Reporter("registration", turns + engine.steps(request, most), progress, cancel)
    found = [search.search(pyramid, problem.points, request.starts - 1, report) for pyramid in searched]
    starts = [np.eye(4)] + [peak.pose for peak in search.apart(found, problem.points)]
    report.step(engine.steps(request, most) - engine.steps(request, len(starts)))
    advice = _advice(problem, found)
    solution = engine.solve(problem, request, starts, report)
    above = times_chance(solution.pose, problem.points, lambda poses: engine.informed(problem, poses, report))
    solution = _judged(dataclasses.replace(solution, above_chance=above), starts, found, problem, advice)
    solution = _with_rivals(_reproduced(solution, problem.points, LOST, "Repeats of the registration end", advice))
    solution = _against_start(solution, problem)
    solution = _reproduced(solution, problem.points, TORN, "Placements that fit almost as well lie", advice)
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


def _advice(problem: Problem, found: Sequence[Sequence[search.Peak]]) -> str:
    """Return what to do where no placement is to be relied on."""
    if _is_small(problem):
        return LARGER
    if not found:  # none was asked for
        return WITH_SEARCH
    return WITHOUT_SEARCH if any(found) else NEARER


def _is_small(problem: Problem) -> bool:
    """Return whether the field of view hardly tells placements apart."""
    level = problem.pyramid.level(2)
    return level.spacing * np.cbrt(level.mask[0].sum()) < SMALL


def _judged(
    solution: Solution,
    starts: List[np.ndarray],
    found: Sequence[Sequence[search.Peak]],
    problem: Problem,
    advice: str,
) -> Solution:
    """Return a solution with what other placements say of it: whether it stands out from them.

    :param found: What each search found; empty where none was asked for.
    :param advice: What to do where it does not.
    """
    above = solution.above_chance
    if not starts[1:]:
        return _unsearched(solution, is_searched=bool(found))
    rival = _elsewhere(solution, starts, problem)
    share = None if rival is None or _is_small(problem) else rival.share
    least, by_chance = (LEAST, BY_CHANCE) if len(problem.modalities) > 1 else (LONE, LONE)
    spread = _spread(solution.pose, solution, problem.points)
    if not _is_likely(above >= least, above >= by_chance, share, spread):
        which = "Are they of the same patient and contrast?"
        if rival and above >= by_chance:
            note = (
                f"A placement {rival.apart:.0f} mm away fits {100 * rival.share:.0f} % as well as the best, so that "
                f"none is to be relied on: the start is returned. {which} {advice}"
            )
            return _given_up(solution, [*solution.repeats, rival.pose, solution.pose], note)
        note = (
            "The synthetic and the pre-operative MR resemble each other no more than by chance, wherever they are "
            f"placed: the start is returned. {which} {advice}"
        )
        # No placement is likelier than the others, and how far they lie apart is how far to trust any.
        return _given_up(solution, [*solution.repeats, *starts[1:], solution.pose], note)
    if above >= STANDS_OUT:
        return solution
    return dataclasses.replace(solution, doubts=[LITTLE, *solution.doubts])


def _unsearched(solution: Solution, is_searched: bool) -> Solution:
    """Return a solution that no other placement was compared with, with what is to be said of it."""
    warnings = [NOTHING_FOUND, *solution.warnings] if is_searched else solution.warnings
    doubts = solution.doubts if solution.above_chance >= STANDS_OUT else [LITTLE, *solution.doubts]
    return dataclasses.replace(solution, warnings=warnings, doubts=doubts)


def _is_likely(is_possible: bool, is_more_than_chance: bool, share: Optional[float], spread: float) -> bool:
    """Return whether a result is to be taken.

    Two of three must speak for it: chance, the placements elsewhere, its repeats; where it stands apart from all
    elsewhere, chance must only not speak against it. Where nothing tells of elsewhere, one of the other two will do.

    :param is_possible: Whether chance does not speak against it; ``is_more_than_chance``: whether it speaks for it.
    :param share: Part of its information that the best placement elsewhere has; None where nothing tells.
    :param spread: mm that its repeats lie apart.
    """
    is_repeated = spread <= REPEATED
    if share is None:
        return is_more_than_chance or is_repeated
    if share < APART_FROM_ALL and is_possible:
        return True
    return share < RIVAL and sum([is_more_than_chance, share < ALONE, is_repeated]) >= 2


def _elsewhere(solution: Solution, starts: Sequence[np.ndarray], problem: Problem) -> Optional[Rival]:
    """Return the best placement elsewhere that an engine compared with; None where it looked nowhere else, or is mute.

    A start elsewhere, where nothing that was compared ends elsewhere, is a rival without any share.
    """
    if solution.rivals is None:
        return None
    for rival in solution.rivals:
        if rival.apart > ELSEWHERE:
            return rival
    apart = [(gap(start, solution.pose, problem.points), start) for start in starts]
    return next((Rival(start, 0.0, away) for away, start in apart if away > ELSEWHERE), None)


def _with_rivals(solution: Solution) -> Solution:
    """Return a solution with the placements that fit almost as well among its repeats: it may lie as they do."""
    rivals = [rival.pose for rival in solution.rivals or () if rival.share >= RIVAL]
    if solution.given_up or not rivals:
        return solution
    note = "Another placement fits almost as well: check the result by eye."
    return dataclasses.replace(solution, repeats=[*solution.repeats, *rivals], doubts=[note, *solution.doubts])


def _against_start(solution: Solution, problem: Problem) -> Solution:
    """Return a solution with the start as one of its repeats where it fits almost as well; where as well, the start.

    Where MR lies is somebody's guess already: it is not moved for nothing.
    """
    start = np.eye(4)
    apart = float(np.median(distances(solution.pose, start, problem.points)))
    if solution.given_up or apart <= APART:
        return solution
    level = problem.pyramid.level(2)
    here, there = (float(np.mean(information(level, pose))) for pose in (solution.pose, start))
    share = there / max(here, 1e-6)
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


def _reproduced(solution: Solution, points: np.ndarray, most: float, what: str, advice: str) -> Solution:
    """Return a solution with the start in place of a result that its own repeats do not find again.

    :param most: mm that the repeats may lie apart.
    :param what: Names the repeats, and what they do.
    :param advice: What to do about it.
    """
    apart = _spread(solution.pose, solution, points)
    if apart <= most or np.array_equal(solution.pose, np.eye(4)):
        return solution
    note = f"{what} {apart:.0f} mm apart, so that no placement is to be relied on: the start is returned. {advice}"
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
    worse = np.mean(information(level, solution.pose)) < np.mean(information(level, start))
    pose = start if worse else solution.pose
    before, after = lncc(level, start), lncc(level, pose)
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

    def source(image: Any) -> str:
        return absolute(image) if isinstance(image, (str, Path)) else "image in memory"

    initial = request.initial
    if initial is not None:
        initial = absolute(initial) if isinstance(initial, (str, Path)) else problem.initial.tolist()
    return {
        "software": SOFTWARE,
        "version": __version__,
        "engine": engine.name,
        "kind": request.kind,
        "fixed": {m: source(request.fixed[m]) for m in problem.modalities},
        "moving": {m: request.names.get(m, source(request.moving[m])) for m in acquired},
        "us": None if request.us is None else source(request.us),
        "initial": initial,
        "completion": request.completion,
        "completed": [],
        **completion.provenance,
        **({} if solution.refined_on is None else {"refined_on": solution.refined_on}),
        "above_chance": round(solution.above_chance, 3),
        "starts": request.starts,
        "seed": request.seed,
        "device": engine.device,
        "seconds": round(seconds, 3),
        "warnings": list(warnings),
    }
