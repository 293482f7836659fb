"""How one sweep looks: the parameters of the image formation, drawn once per sweep, applied in :mod:`.beam`."""

from dataclasses import dataclass
from typing import Dict, Tuple

import numpy as np


@dataclass(frozen=True)
class Appearance:
    """Everything about a sweep's looks that is not geometry. Decibels are relative to white matter at the face.

    :param grey_db: Grey against white matter.
    :param tumour_db: Tumour core (or low-grade tumour).
    :param oedema_db: Oedema.
    :param necrosis_db: Necrosis, on top of the tumour.
    :param enhancing_db: What takes up contrast agent.
    :param choroid_db: Choroid plexus.
    :param fluid_db: Fluid of ventricles and cysts.
    :param sulcus: Amplitude of sulci and fissures.
    :param wall: Amplitude of ventricle walls, per unit of fluid change.
    :param skull: Amplitude of the border of the brain.
    :param vessels: Amplitude of small bright structures that MR does not show.
    :param vessel_density: Their fraction of white matter; there are more in grey matter and lesions.
    :param texture: Standard deviation of the log amplitude of coarse texture in the brain; in tumour 1.6 times that.
    :param texture_mm: Its scale, mm.
    :param axial_mm: Standard deviation of the point spread along the beam, mm.
    :param lateral_deg: The same across the beam, degrees: it grows with depth.
    :param elevation_mm: The same across the plane, mm.
    :param speckle: Exponent of the speckle's envelope: 1 is full speckle, less is what compounding leaves.
    :param attenuation_db: Fall of brightness at evenly spaced depths from the face to the end of the beams.
    :param noise_db: Electronic noise at the face and at full depth, in decibels.
    :param band_mm: Thickness of the bright band at the face; 0: none.
    :param band: Its amplitude.
    :param clutter: Amplitude of reverberation haze behind the band, falling over a centimetre.
    :param shadow: How dark what lies behind strong reflectors becomes, per unit of their amplitude and mm.
    :param edge_shadows: ``((centre, width, fraction), ...)`` of beams without contact; angles are fractions of the
        opening.
    :param black: Grey value of no echo.
    :param white_matter: Grey value of white matter at the face above ``black``.
    :param saturation: Amplitude towards which bright echoes of the brain are compressed.
    :param grain: Relative standard deviation of what the reconstruction from frames adds to each voxel.
    :param gamma: Compression: grey values are ``black + white_matter * amplitude ** gamma``.
    :param knee: Grey value above which they are compressed further,
    :param brightest: towards this one.
    """

    grey_db: float
    tumour_db: float
    oedema_db: float
    necrosis_db: float
    enhancing_db: float
    choroid_db: float
    fluid_db: float
    sulcus: float
    wall: float
    skull: float
    vessels: float
    vessel_density: float
    texture: float
    texture_mm: float
    axial_mm: float
    lateral_deg: float
    elevation_mm: float
    speckle: float
    attenuation_db: Tuple[float, ...]
    noise_db: Tuple[float, float]
    band_mm: float
    band: float
    clutter: float
    shadow: float
    edge_shadows: Tuple[Tuple[float, float, float], ...]
    black: float
    white_matter: float
    saturation: float
    grain: float
    gamma: float
    knee: float
    brightest: float


def draw_appearance(rng: np.random.Generator) -> Appearance:
    """Draw the looks of one sweep.

    The ranges were set by hand so that histogram, local contrast, autocorrelation along and across the beam, and
    brightness over depth are spread as in 12 iUS volumes of RESECT (Xiao et al. 2017; cases 18 and 27 were held out),
    simulated from 17 MR subjects (BraTS, TCGA, open_ms_data); only these figures are here, no image. How near they come
    is measured by ``Testing/benchmarks/ius_realism.py``.
    """
    uniform = rng.uniform
    return Appearance(
        grey_db=uniform(-5, -0.5),
        tumour_db=uniform(7, 14),
        oedema_db=uniform(3, 9),
        necrosis_db=uniform(-14, -3),
        enhancing_db=uniform(1, 5),
        choroid_db=uniform(7, 13),
        fluid_db=uniform(-30, -14),
        sulcus=uniform(5, 13),
        wall=uniform(3, 10),
        skull=uniform(3, 12),
        vessels=float(np.exp(uniform(np.log(2), np.log(9)))),
        vessel_density=float(np.exp(uniform(np.log(0.005), np.log(0.04)))),
        texture=uniform(0.1, 0.35),
        texture_mm=uniform(1.5, 4.0),
        axial_mm=uniform(0.17, 0.27),
        lateral_deg=uniform(0.2, 0.48),
        elevation_mm=uniform(0.15, 0.42),
        speckle=uniform(0.25, 0.6),
        attenuation_db=_draw_attenuation(rng),
        noise_db=_draw_noise(rng),
        band_mm=uniform(1.0, 3.0) if uniform() < 0.8 else 0.0,
        band=uniform(6, 25),
        clutter=uniform(0, 0.8),
        shadow=uniform(0, 0.02),
        edge_shadows=_draw_edge_shadows(rng),
        black=uniform(3, 13),
        white_matter=float(np.exp(uniform(np.log(25), np.log(40)))),
        saturation=uniform(5, 11),
        grain=uniform(0.0, 0.04),
        gamma=uniform(0.65, 1.0),
        **_draw_highlights(rng),
    )


def _draw_highlights(rng: np.random.Generator) -> Dict[str, float]:
    """Draw how highlights are compressed: the brightest voxels of the 12 volumes are 98 to 186."""
    brightest = rng.uniform(95, 160)
    return {"knee": float(brightest * rng.uniform(0.35, 0.7)), "brightest": float(brightest)}


def _draw_edge_shadows(rng: np.random.Generator) -> Tuple[Tuple[float, float, float], ...]:
    count = int(rng.choice(3, p=[0.5, 0.35, 0.15]))
    return tuple(
        (
            float(rng.choice([-1, 1]) * rng.uniform(0.25, 0.55)),
            float(rng.uniform(0.03, 0.12)),
            float(rng.uniform(0.3, 0.9)),
        )
        for _ in range(count)
    )


def _draw_attenuation(rng: np.random.Generator) -> Tuple[float, ...]:
    """Draw a steady fall and a further drop that begins somewhere along the beam, where the gain no longer makes up."""
    depth = np.linspace(0, 1, 9)
    drop, middle, width = rng.uniform(0, 10), rng.uniform(0.5, 1.0), rng.uniform(0.05, 0.2)
    fall = rng.uniform(-3, 4) * depth + drop / (1 + np.exp((middle - depth) / width))
    return tuple(float(-value) for value in fall - fall[0])


def _draw_noise(rng: np.random.Generator) -> Tuple[float, float]:
    """Draw electronic noise, which the gain lifts with depth; in some sweeps above the brain's own echoes."""
    near = rng.uniform(-30, -13)
    lift = rng.uniform(6, 16) if rng.uniform() < 0.15 else rng.uniform(0, 6)
    return near, near + lift
