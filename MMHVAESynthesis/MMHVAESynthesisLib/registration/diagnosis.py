"""Why two volumes barely overlap, said so that a user can put it right."""

import numpy as np
import SimpleITK as sitk

from .frame import apply

_ENOUGH = 0.8
"""Part of the field of view that must come to lie in the MR for a cause to be named as likely."""

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def covered(image: sitk.Image, points: np.ndarray) -> float:
    """Return the part, 0 to 1, of (N, 3) world points that lie inside an image's grid."""
    to_index = np.linalg.inv(np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing()))
    at = (points - np.array(image.GetOrigin())) @ to_index.T
    return float(((at >= -0.5) & (at <= np.array(image.GetSize()) - 0.5)).all(axis=1).mean())


def diagnose(field: np.ndarray, moving: sitk.Image, initial: np.ndarray) -> str:
    """Say how far apart the field of view and the MR lie, and which mistake would explain it.

    :param field: (N, 3) world points of the field of view, LPS mm.
    :param initial: (4, 4) from fixed to moving world points.
    """
    there = apply(initial, field)
    middle = [(size - 1) / 2 for size in moving.GetSize()]
    apart = np.linalg.norm(there.mean(axis=0) - moving.TransformContinuousIndexToPhysicalPoint(middle))
    said = (
        f"{100 * covered(moving, there):.0f} % of the field of view lies inside the pre-operative MR, and their "
        f"middles are {apart:.0f} mm apart."
    )
    return f"{said} {_likely_cause(field, moving, initial)}"


def _likely_cause(field: np.ndarray, moving: sitk.Image, initial: np.ndarray) -> str:
    if not np.allclose(initial, np.eye(4)):
        if covered(moving, field) >= _ENOUGH:
            return "They do overlap without the initial transform: leave it out."
        if covered(moving, apply(np.linalg.inv(initial), field)) >= _ENOUGH:
            return "They do overlap under the inverse of the initial transform: invert it."
    if covered(moving, apply(initial @ _LPS_TO_RAS, field)) >= _ENOUGH:
        return (
            "They would overlap if one were turned from RAS to LPS coordinates: was one of them saved or converted "
            "with the wrong coordinate system?"
        )
    return (
        "Move the MR roughly onto the ultrasound first, with a linear transform (in Slicer: module Transforms; on the "
        "command line: register --initial FILE)."
    )
