"""The demonstrator's goals, each with its figures and whether it is met; None where nothing was measured of it."""

import math
from typing import Any, Dict, List, Mapping

import numpy as np

from ..modalities import US
from .table import Table, violations

POLYNOMIAL_MARGIN_DB = 1.5
DEPTH_MARGIN_DB = 2.0
IDENTITY_DB = 30.0
WORSE_DB = 0.1


def _mean(table: Table, sources, target: str, metric: str) -> float:
    """Return the mean over single inputs; NaN where one is missing."""
    return float(np.mean([table.mean((source,), target, metric) for source in sources])) if sources else math.nan


def _against(ours: Dict[str, float], theirs: Dict[str, float], margin: float) -> Dict[str, Any]:
    gain = ours["psnr"] - theirs["psnr"]
    return {
        "model": ours,
        "baseline": theirs,
        "psnr_gain_db": gain,
        "met": bool(gain >= margin and ours["ssim"] > theirs["ssim"]),
    }


def _figures(table: Table, sources, target: str) -> Dict[str, float]:
    return {metric: _mean(table, sources, target, metric) for metric in ("psnr", "ssim")}


def verdicts(
    sweeps: Table, heads: Table, polynomials: Mapping[str, Table], depths: Mapping[str, Table], simulated: Table
) -> Dict[str, Any]:
    """Return the goals with their figures.

    :param sweeps: All sets of inputs on the sweeps.
    :param heads: All sets of MR on MR with its whole field.
    :param polynomials: From one MR to another on the same slices as ``heads``, by what they were fitted on.
    :param depths: Constant-per-depth images on the slices of simulated sweeps, by what they were fitted on.
    :param simulated: ``sweeps`` on those slices alone.
    """
    result: Dict[str, Any] = {}
    mr = [target for target in heads.targets if target != US]
    for fitted, table in polynomials.items():
        result[
            f"one MR to another beats a polynomial fitted on the {fitted} by {POLYNOMIAL_MARGIN_DB} dB and in SSIM"
        ] = {
            target: _against(_figures(heads, sources, target), _figures(table, sources, target), POLYNOMIAL_MARGIN_DB)
            for target in mr
            for sources in [[source for source in mr if table.slices((source,), target)]]
            if sources
        }
    for fitted, table in depths.items():
        best = f"the best constant-per-depth image, fitted on the {fitted},"
        result[f"simulated iUS beats {best} by {DEPTH_MARGIN_DB} dB and in SSIM"] = {
            target: _against(_figures(simulated, [US], target), _figures(table, [US], target), DEPTH_MARGIN_DB)
            for target in table.targets
            if target != US
        }
    result[f"a target given as input comes back at {IDENTITY_DB} dB"] = {
        target: {"psnr": psnr, "met": bool(psnr >= IDENTITY_DB)}
        for target in sweeps.targets
        for psnr in [sweeps.mean((target,), target, "psnr")]
    }
    rows = [row for table in (sweeps, heads) for row in violations(table, -math.inf)]
    # What is to be synthesised is one thing, what comes back of what is given another.
    absent = [row for row in rows if row["target"] not in str(row["more"]).split("+")]
    result[f"more inputs never make a target worse by more than {WORSE_DB} dB"] = _worst(rows)
    result[f"more inputs never make a target that is not given worse by more than {WORSE_DB} dB"] = _worst(absent)
    return result


def _worst(rows: List[Mapping[str, Any]]) -> Dict[str, Any]:
    losses = [row["loss_db"] for row in rows]
    return {
        "worst_loss_db": max(losses, default=math.nan),
        "met": max(losses) <= WORSE_DB if losses else None,
    }
