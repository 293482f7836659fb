"""Changes of the intensities of network inputs, so that the network learns to harmonise."""

import numpy as np

_DARKEST = 255 / 256
_GAIN = (0.85, 1.15)
_GAMMA = (0.75, 1.33)
_SHADING = 0.2
_NOISE = 0.02


def change_intensities(image: np.ndarray, chance: float, rng: np.random.Generator) -> np.ndarray:
    """Return the image with another gain, gamma, shading and noise, with probability ``chance``; else as it is.

    Intensities are scaled to u in [0, 1]; then u' = clip(u g s(x, y) + n)^p with gain g in [0.85, 1.15] (uniform), p in
    [0.75, 1.33] (log-uniform), s = 1 + a plane of slope up to 0.2 over the image, and n normal noise of standard
    deviation up to 0.02. The drawing does not depend on the image, so that a batch's random numbers stay in step.

    :param image: (S, S) float32 in the network's range; background (-1) stays background.
    """
    use = rng.random() < chance
    gain = rng.uniform(*_GAIN)
    gamma = np.exp(rng.uniform(*np.log(_GAMMA)))
    slopes = rng.uniform(-_SHADING, _SHADING, 2)
    noise = rng.uniform(0, _NOISE)
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    if not use:
        return image
    rows, columns = (np.linspace(-0.5, 0.5, length, dtype=np.float32) for length in image.shape)
    shading = 1 + np.float32(slopes[0]) * rows[:, None] + np.float32(slopes[1]) * columns[None]
    unit = (image + np.float32(_DARKEST)) / np.float32(1 + _DARKEST)
    changed = np.clip(unit * np.float32(gain) * shading + np.float32(noise) * grain, 0, 1) ** np.float32(gamma)
    scaled = changed * np.float32(1 + _DARKEST) - np.float32(_DARKEST)
    return np.where(image > -1, scaled, np.float32(-1)).astype(np.float32)
