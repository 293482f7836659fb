"""The image in beam coordinates: echoes, point spread, attenuation, near field, compression.

Arrays here are (elevation, angle, depth): in these coordinates the point spread is aligned with the axes, its lateral
width grows with depth by itself, and what a beam loses on its way is a running sum along the last axis.
"""

from dataclasses import dataclass
from typing import Dict, Tuple

import numpy as np

from .appearance import Appearance
from .noise import smooth, smooth_noise
from .probe import Probe

RAYLEIGH_MEAN = float(np.sqrt(np.pi / 2))
AXIAL_STEP_MM, LATERAL_STEP_DEG, ELEVATION_STEP_MM = 0.5, 0.6, 1.0


@dataclass(frozen=True)
class BeamGrid:
    """Regular samples in beam coordinates: the first sample and the number of samples along each axis."""

    first: Tuple[float, float, float]
    shape: Tuple[int, int, int]

    @property
    def steps(self) -> Tuple[float, float, float]:
        """Of elevation (mm), angle (radians) and depth (mm)."""
        return ELEVATION_STEP_MM, float(np.deg2rad(LATERAL_STEP_DEG)), AXIAL_STEP_MM

    @classmethod
    def around(cls, elevation: np.ndarray, angle: np.ndarray, depth: np.ndarray) -> "BeamGrid":
        """Return the smallest grid that holds the given points."""
        steps = (ELEVATION_STEP_MM, float(np.deg2rad(LATERAL_STEP_DEG)), AXIAL_STEP_MM)
        first, shape = [], []
        for values, step in zip((elevation, angle, depth), steps):
            low, high = float(values.min()), float(values.max())
            first.append(low)
            shape.append(int(np.ceil((high - low) / step)) + 2)
        return cls(tuple(first), tuple(shape))

    def axes(self) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return elevation, angle and depth of the samples, as arrays that broadcast to :attr:`shape`."""
        values = [f + s * np.arange(n, dtype=np.float32) for f, s, n in zip(self.first, self.steps, self.shape)]
        return values[0][:, None, None], values[1][None, :, None], values[2][None, None, :]

    def index(self, elevation: np.ndarray, angle: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Return fractional indices of points in beam coordinates, stacked along a new first axis."""
        return np.stack([(v - f) / s for v, f, s in zip((elevation, angle, depth), self.first, self.steps)])


def form_image(
    echoes: Dict[str, np.ndarray], grid: BeamGrid, probe: Probe, appearance: Appearance, rng: np.random.Generator
) -> np.ndarray:
    """Return grey values (unclipped, float32) of the beam samples.

    :param echoes: On the grid: ``scatter`` (amplitude, 1 is white matter), ``sheets`` (fraction of thin bright
        structures), ``fluid``, ``grey`` (matter) and ``inside`` (fractions), ``lesion`` (fraction, where texture is
        coarser).
    """
    elevation, angle, depth = grid.axes()
    spread = (
        appearance.elevation_mm / ELEVATION_STEP_MM,
        appearance.lateral_deg / LATERAL_STEP_DEG,
        appearance.axial_mm / AXIAL_STEP_MM,
    )
    scatter = echoes["scatter"] * _texture(echoes["lesion"], grid, probe, appearance, rng)
    scatter = scatter + 0.6 * (1 - np.maximum.accumulate(echoes["inside"], axis=2))
    reflectors = _reflectors(echoes, grid, appearance, rng)
    real, imaginary = (smooth_noise(grid.shape, spread, rng) for _ in range(2))
    envelope = np.hypot(real, imaginary) / np.float32(RAYLEIGH_MEAN)
    seen = smooth(reflectors, spread)
    amplitude = envelope**appearance.speckle * (scatter + 0.6 * seen) + 0.6 * seen
    amplitude *= _transmission(reflectors, appearance)
    amplitude *= _gain(angle, depth, probe, appearance)
    amplitude /= 1 + amplitude / np.float32(appearance.saturation)
    amplitude += _near_field(grid, depth, appearance, rng)
    amplitude = np.hypot(amplitude, _electronic_noise(grid, depth, probe, appearance, rng))
    grey = appearance.black + appearance.white_matter * amplitude ** np.float32(appearance.gamma)
    return _compressed_highlights(grey, appearance)


def _compressed_highlights(grey: np.ndarray, appearance: Appearance) -> np.ndarray:
    """Return grey values as they are up to the knee, above it bent towards the brightest that there is."""
    room = np.float32(appearance.brightest - appearance.knee)
    above = np.maximum(grey - np.float32(appearance.knee), 0)
    return np.minimum(grey, np.float32(appearance.knee)) - room * np.expm1(-above / room)


def _texture(lesion, grid: BeamGrid, probe: Probe, appearance: Appearance, rng) -> np.ndarray:
    middle = probe.radius + probe.depth / 2
    size = appearance.texture_mm
    sigmas = (size / ELEVATION_STEP_MM, 1.6 * size / (np.deg2rad(LATERAL_STEP_DEG) * middle), size / AXIAL_STEP_MM)
    return np.exp(appearance.texture * (1 + 0.6 * lesion) * smooth_noise(grid.shape, sigmas, rng))


def _reflectors(echoes, grid: BeamGrid, appearance: Appearance, rng) -> np.ndarray:
    """Return the amplitude of specular structures: sheets, ventricle walls, the border of the brain, small vessels.

    Walls and the border shine by their change along the beam, less across it; sheets are broken into dashes.
    """
    sheets = appearance.sulcus * np.clip((echoes["sheets"] - 0.1) / 0.9, 0, 1)
    dashes = np.exp(0.35 * smooth_noise(grid.shape, (1.0, 1.5, 1.5), rng))
    fluid, inside = echoes["fluid"], echoes["inside"]
    walls = np.abs(np.gradient(fluid, axis=2)) + 0.4 * np.abs(np.gradient(fluid, axis=1))
    border = np.abs(np.gradient(inside, axis=2)) + 0.3 * np.abs(np.gradient(inside, axis=1))
    vessels = _small_vessels(0.3 * echoes["lesion"] + 0.3 * echoes["grey"], appearance, rng) * (inside * (1 - fluid))
    return (sheets + appearance.vessels * vessels) * dashes + appearance.wall * walls + appearance.skull * border


def _small_vessels(supply: np.ndarray, appearance: Appearance, rng) -> np.ndarray:
    """Return short bright dashes across the beam, in clusters: peaks of smooth noise over a threshold that varies.

    :param supply: By how much the threshold, in standard deviations, is lower than in white matter.
    """
    shape = supply.shape
    threshold = np.sqrt(2 * np.log(1 / appearance.vessel_density)) - 0.7
    return np.maximum(
        smooth_noise(shape, (0.5, 2.6, 0.4), rng) + 0.7 * smooth_noise(shape, (4, 6, 10), rng) + supply - threshold, 0
    )


def _transmission(reflectors: np.ndarray, appearance: Appearance) -> np.ndarray:
    """Return what fraction of the amplitude is left behind the reflectors that a beam has passed."""
    passed = np.cumsum(reflectors, axis=2) - reflectors
    return np.exp(-appearance.shadow * AXIAL_STEP_MM * smooth(passed, (0.5, 1.0, 0.0)))


def _gain(angle: np.ndarray, depth: np.ndarray, probe: Probe, appearance: Appearance) -> np.ndarray:
    knots = np.linspace(0, probe.depth, len(appearance.attenuation_db))
    gain = 10 ** (np.interp(depth, knots, appearance.attenuation_db) / 20)
    for centre, width, fraction in appearance.edge_shadows:
        offset = (angle / (2 * probe.half_angle) - centre) / width
        gain = gain * (1 - fraction * np.exp(-0.5 * offset**2))
    return gain.astype(np.float32)


def _near_field(grid: BeamGrid, depth: np.ndarray, appearance: Appearance, rng) -> np.ndarray:
    """Return the bright band of the face and the haze of reverberation behind it."""
    haze = appearance.clutter * np.exp(-depth / 10.0)
    if appearance.band_mm == 0:
        return haze
    thickness = appearance.band_mm * np.exp(0.2 * smooth_noise(grid.shape[:2] + (1,), (1.5, 4.0, 0.0), rng))
    return haze + appearance.band * np.exp(-((np.maximum(depth, 0) / thickness) ** 3))


def _electronic_noise(grid: BeamGrid, depth: np.ndarray, probe: Probe, appearance: Appearance, rng) -> np.ndarray:
    near, far = appearance.noise_db
    level = 10 ** ((near + (far - near) * np.clip(depth / probe.depth, 0, 1)) / 20)
    spread = (0.4, 0.6, appearance.axial_mm / AXIAL_STEP_MM)
    return (level * (1 + 0.35 * smooth_noise(grid.shape, spread, rng))).astype(np.float32)
