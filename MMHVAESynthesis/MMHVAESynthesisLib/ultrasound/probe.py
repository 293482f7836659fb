"""The geometry of a tracked 2D convex probe moved over the brain: probe coordinates to beam coordinates and back.

Probe coordinates are millimetres: x lateral (along the array), y along the central beam (0 on the probe's face,
positive into the brain), z elevational (the way the hand moves). Beam coordinates are: elevation (mm along the path of
the face), angle (radians from the central beam) and depth (mm from the curved face along the beam).
"""

from dataclasses import dataclass
from typing import Tuple

import numpy as np

MM_BETWEEN_JITTER_KNOTS = 1.0


@dataclass(frozen=True)
class Probe:
    """One convex probe and one movement of it.

    :param depth: Length of the beams, mm.
    :param opening: Angle between the outermost beams, degrees.
    :param radius: Radius of the curved array, mm; the beams meet this far behind the face.
    :param length: Length of the path of the face, mm.
    :param pivot: The frames turn about a line this many mm behind the face: the smaller, the more the hand tilts.
    :param jitter: ``((lateral, axial), ...)`` in mm, displacement of the hand, one knot a millimetre of the path.
    """

    depth: float
    opening: float
    radius: float
    length: float
    pivot: float
    jitter: Tuple[Tuple[float, float], ...]

    @property
    def half_angle(self) -> float:
        """Half the opening, radians."""
        return float(np.deg2rad(self.opening) / 2)

    def _hand(self, elevation: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        jitter = np.asarray(self.jitter, dtype=np.float32)
        knots = (np.arange(len(jitter)) - (len(jitter) - 1) / 2) * MM_BETWEEN_JITTER_KNOTS
        return tuple(np.interp(elevation, knots, jitter[:, axis]).astype(np.float32) for axis in (0, 1))

    def to_beam(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return elevation, angle and depth of points in probe coordinates (arrays of one shape, mm)."""
        elevation = self.pivot * np.arctan2(z, y + self.pivot)
        lateral, axial = self._hand(elevation)
        x = x - lateral
        y = np.hypot(z, y + self.pivot) - self.pivot - axial + self.radius
        return elevation, np.arctan2(x, y), np.hypot(x, y) - self.radius

    def from_beam(
        self, elevation: np.ndarray, angle: np.ndarray, depth: np.ndarray
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return x, y and z in probe coordinates (mm) of points in beam coordinates; the inverse of :meth:`to_beam`."""
        lateral, axial = self._hand(elevation)
        x = (self.radius + depth) * np.sin(angle) + lateral
        from_pivot = (self.radius + depth) * np.cos(angle) - self.radius + axial + self.pivot
        tilt = elevation / self.pivot
        return x, from_pivot * np.cos(tilt) - self.pivot, from_pivot * np.sin(tilt)

    def inside(self, elevation: np.ndarray, angle: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Return which points in beam coordinates lie in the field of view."""
        return (
            (np.abs(elevation) <= self.length / 2)
            & (np.abs(angle) <= self.half_angle)
            & (depth >= 0)
            & (depth <= self.depth)
        )


@dataclass(frozen=True)
class SweepSettings:
    """Ranges from which a probe and its movement are drawn, uniformly unless said otherwise.

    Depth and opening are those of convex intra-operative probes; the radius and the pivot (both log-uniform) and the
    length of the path were set by hand. The fields are larger than those of reconstructed volumes: percentiles 0, 10,
    50, 90 and 100 of 60 drawn ones are 78, 111, 151, 215 and 270 cm3, medians along their principal axes 53, 66 and
    85 mm; 14 volumes of RESECT (Xiao et al. 2017) have 60 to 123 cm3, median 98, and medians of 47, 62 and 81 mm.
    """

    depth: Tuple[float, float] = (50.0, 80.0)
    opening: Tuple[float, float] = (60.0, 75.0)
    radius: Tuple[float, float] = (7.0, 20.0)
    length: Tuple[float, float] = (30.0, 46.0)
    pivot: Tuple[float, float] = (130.0, 400.0)
    jitter: Tuple[float, float] = (0.2, 1.5)
    obliqueness: float = 45.0
    """Largest rotation of the output grid against the probe about each axis, degrees."""


def draw_probe(rng: np.random.Generator, settings: SweepSettings = SweepSettings()) -> Probe:  # noqa: B008 (frozen)
    """Draw a probe and its movement."""

    def log_uniform(limits):
        return float(np.exp(rng.uniform(*np.log(limits))))

    length = float(rng.uniform(*settings.length))
    return Probe(
        depth=float(rng.uniform(*settings.depth)),
        opening=float(rng.uniform(*settings.opening)),
        radius=log_uniform(settings.radius),
        length=length,
        pivot=log_uniform(settings.pivot),
        jitter=_draw_jitter(rng, length, float(rng.uniform(*settings.jitter))),
    )


def _draw_jitter(rng: np.random.Generator, length: float, size: float) -> Tuple[Tuple[float, float], ...]:
    """Draw a hand's displacement: a slow drift of ``size`` mm and a quick tremor of a fifth of it."""
    count = int(np.ceil(length / MM_BETWEEN_JITTER_KNOTS)) + 1
    drift = np.cumsum(rng.normal(size=(count, 2)), axis=0)
    drift = (drift - drift.mean(axis=0)) / max(float(drift.std()), 1e-6)
    steps = size * (drift + 0.2 * rng.normal(size=(count, 2))) * np.array([1.0, 0.4])
    return tuple((float(lateral), float(axial)) for lateral, axial in steps)
