"""How near simulated iUS comes to real iUS: figures, a picture, and a classifier that tries to tell them apart.

    python Testing/benchmarks/ius_realism.py --data DIR --out DIR [--seeds 3]

``DIR`` of ``--data`` holds ``mri/<case>/{t2,cet1,flair[,seg]}.nii.gz`` (skull-stripped, background 0) and
``ius/<case>/us.nii.gz`` (background 0). Everything is compared at 1 mm. The classifier learns from all cases but
the held-out ones and is judged on those it never saw: by cross-validation over cases, and on the held-out cases, both
MR and iUS. ``crude`` is the simulation of a first trial, before calibration: edges and FLAIR-bright tissue brighter,
fluid dark, log-compressed Rayleigh speckle.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "MMHVAESynthesis"))

from MMHVAESynthesisLib.training.config import HELD_OUT  # noqa: E402
from MMHVAESynthesisLib.ultrasound.simulate import simulate_sweep  # noqa: E402

PATCH = 16


def isotropic(image):
    """Return an image resampled linearly to 1 mm, as float32 array; zero where the original is outside its field."""
    size = [int(n * s) for n, s in zip(image.GetSize(), image.GetSpacing())]
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing([1.0] * 3)
    grid.SetDirection(image.GetDirection())
    grid.SetOrigin(image.GetOrigin())
    values = sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, 0))
    field = sitk.Resample(image > 0, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    return np.where(sitk.GetArrayFromImage(field) > 0, np.maximum(values, 1), 0).astype(np.float32)


def load_mr(folder):
    contrasts = {m: sitk.ReadImage(str(folder / f"{m}.nii.gz")) for m in ("t2", "cet1", "flair")}
    label = folder / "seg.nii.gz"
    return contrasts, sitk.ReadImage(str(label)) if label.exists() else None


def crude(contrasts, sweep, rng):
    """Return the crude simulation in the field of a sweep."""
    grid = [
        sitk.GetArrayFromImage(sitk.Resample(contrasts[m], sweep.us, sitk.Transform(), sitk.sitkLinear, 0))
        for m in ("t2", "flair")
    ]
    t2, flair = (np.clip(a / np.percentile(a[a > 0], 99), 0, 1).astype(np.float32) for a in grid)
    edges = sum(ndimage.gaussian_gradient_magnitude(a, 1.0) for a in (t2, flair))
    echo = 0.15 + 2.0 * edges + 0.5 * np.maximum(flair - 0.5, 0)
    echo = echo * np.where((t2 > 0.7) & (flair < 0.4), 0.1, 1)
    speckle = np.hypot(*[ndimage.gaussian_filter(rng.normal(size=echo.shape), 0.7) for _ in range(2)])
    grey = 40 + 60 * np.log10(np.maximum(echo * speckle / speckle.mean(), 1e-2) / 0.15)
    return np.where(sitk.GetArrayFromImage(sweep.mask) > 0, np.clip(grey, 1, 255), 0).astype(np.float32)


def faces(volume):
    """Return the bright voxels of the border of the field: the face of the probe, (n, 3); may be empty."""
    rim = (volume > 0) & ~ndimage.binary_erosion(volume > 0, iterations=3)
    return np.argwhere(rim & (volume > 120))


def along_beam(volume):
    """Return the volume turned so that its first axis is the central beam, or None where no face is seen.

    The face is about a plane whose normal is the beam; it is fitted to the bright border of the field.
    """
    points = faces(volume)
    if len(points) < 150:
        return None
    centre = points.mean(axis=0)
    normal = np.linalg.svd(points - centre, full_matrices=False)[2][2]
    inward = np.argwhere(volume > 0).mean(axis=0) - centre
    normal = normal * np.sign(normal @ inward)
    if normal @ inward < 0.75 * np.linalg.norm(inward):
        return None
    across = np.linalg.svd(normal[None])[2][1:]
    axes = np.stack([normal, *across], axis=1)
    shape = np.array([80, 60, 60])
    offset = centre - axes @ np.array([0, 30, 30])
    return ndimage.affine_transform(volume, axes, offset, tuple(shape), order=1)


def statistics(volume):
    """Return the figures of one volume as a dict of floats."""
    inner = ndimage.binary_erosion(volume > 0, iterations=4)
    values = volume[inner]
    result = {f"p{q}": np.percentile(values, q) for q in (1, 5, 25, 50, 75, 95, 99)}
    mean = ndimage.uniform_filter(volume, 5)
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(volume**2, 5) - mean**2, 0))
    local = (spread / np.maximum(mean, 1))[inner]
    result.update({f"local_contrast_p{q}": np.percentile(local, q) for q in (5, 25, 50, 75, 95)})
    smooth = ndimage.gaussian_filter(volume, 3)
    result["slow_variation"] = np.log(np.maximum(smooth, 1))[inner].std()
    result["field_share"] = (volume > 0).mean()
    detail = volume - smooth
    detail /= np.maximum(np.sqrt(ndimage.gaussian_filter(detail**2, 3)), 0.5)
    result["skewness"] = (detail[inner] ** 3).mean()
    for lag in (1, 2, 3):
        result[f"autocorrelation_{lag}mm"] = np.mean([_lagged(detail, inner, a, lag) for a in range(3)])
    turned = along_beam(volume)
    if turned is not None:
        inner = ndimage.binary_erosion(turned > 0, iterations=3)
        smooth = ndimage.gaussian_filter(turned, 3)
        detail = turned - smooth
        detail /= np.maximum(np.sqrt(ndimage.gaussian_filter(detail**2, 3)), 0.5)
        for lag in (1, 2):
            result[f"axial_{lag}mm"] = _lagged(detail, inner, 0, lag)
            result[f"lateral_{lag}mm"] = np.mean([_lagged(detail, inner, a, lag) for a in (1, 2)])
        middle = turned[:, 24:36, 24:36]
        for depth in range(5, 60, 10):
            block = middle[depth : depth + 10]
            if (block > 0).mean() > 0.7:
                result[f"depth_{depth}-{depth + 10}mm"] = np.median(block[block > 0])
    return result


def _lagged(detail, inner, axis, lag):
    length = detail.shape[axis]
    first, second = np.arange(length - lag), np.arange(lag, length)
    both = np.take(inner, first, axis) & np.take(inner, second, axis)
    return float((np.take(detail, first, axis) * np.take(detail, second, axis))[both].mean())


def patches(volume, rng, count=120):
    """Return up to ``count`` feature vectors of random patches in the field, in all three directions."""
    inner = ndimage.binary_erosion(volume > 0, iterations=2)
    result, tries = [], 0
    while len(result) < count and tries < 40 * count:
        tries += 1
        axis = int(rng.integers(3))
        k = int(rng.integers(volume.shape[axis]))
        plane, field = np.take(volume, k, axis), np.take(inner, k, axis)
        if min(plane.shape) <= PATCH:
            continue
        a, b = (int(rng.integers(n - PATCH)) for n in plane.shape)
        if field[a : a + PATCH, b : b + PATCH].all():
            result.append(features(plane[a : a + PATCH, b : b + PATCH]))
    return np.array(result)


def features(patch):
    """Return statistics of one patch: histogram, fine and coarse contrast, autocorrelation, spectrum, streaks."""
    log = np.log(patch + 1)
    fine = log - ndimage.uniform_filter(log, 3)
    coarse = ndimage.uniform_filter(log, 5)
    centred = log - log.mean()
    variance = centred.var() + 1e-4
    result = list(np.percentile(log, (2, 25, 50, 75, 98)))
    result += [np.log(log.std() + 1e-3), np.log(fine.std() + 1e-3), np.log(coarse.std() + 1e-3)]
    result += [(fine**3).mean() / (fine.std() + 1e-3) ** 3, np.log((fine**4).mean() / (fine.var() + 1e-6) ** 2)]
    lags = []
    for lag in (1, 2, 4):
        pair = [
            (centred[lag:] * centred[:-lag]).mean() / variance,
            (centred[:, lag:] * centred[:, :-lag]).mean() / variance,
        ]
        lags += [min(pair), max(pair)]
    spectrum = np.abs(np.fft.rfft2(centred)) ** 2
    radius = np.hypot(np.fft.fftfreq(PATCH)[:, None], np.fft.rfftfreq(PATCH)[None])
    bands = [np.log(spectrum[(radius > low) & (radius <= high)].mean() + 1e-3) for low, high in BANDS]
    return result + lags + bands


BANDS = ((0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.71))


class Logistic:
    """Logistic regression on standardised features, their squares and products, with a ridge; plain numpy."""

    def __init__(self, ridge=1e-2, steps=60):
        self.ridge, self.steps = ridge, steps

    def _expand(self, x):
        x = np.clip((x - self.mean) / self.sd, -4, 4)
        i, j = np.triu_indices(x.shape[1])
        return np.concatenate([np.ones((len(x), 1)), x, x[:, i] * x[:, j] / 2], axis=1)

    def fit(self, x, y):
        self.mean, self.sd = x.mean(axis=0), x.std(axis=0) + 1e-6
        z = self._expand(x)
        balance = np.where(y == 1, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
        self.weights = np.zeros(z.shape[1])
        for _ in range(self.steps):
            p = 1 / (1 + np.exp(-np.clip(z @ self.weights, -30, 30)))
            slope = z.T @ (balance * (p - y)) / len(y) + self.ridge * self.weights
            curve = (z * (balance * p * (1 - p))[:, None]).T @ z / len(y) + self.ridge * np.eye(z.shape[1])
            step = np.linalg.solve(curve, slope)
            self.weights -= step
            if np.abs(step).max() < 1e-4:
                break
        return self

    def accuracy(self, x, y):
        """Return the balanced accuracy."""
        guess = self._expand(x) @ self.weights > 0
        return float(np.mean([(guess[y == c] == c).mean() for c in (0, 1)]))


def cross_validated(real, simulated, folds=4):
    """Return the balanced accuracy on cases left out; arguments are lists of patch arrays, one a case."""
    scores = []
    for fold in range(folds):
        train = [_split(group, fold, folds, True) for group in (real, simulated)]
        test = [_split(group, fold, folds, False) for group in (real, simulated)]
        scores.append(_fit(*train).accuracy(np.concatenate(test), _truth(*test)))
    return float(np.mean(scores))


def _joined(group, count):
    """Return a list of patch arrays with every ``count`` of them in one."""
    return [np.concatenate(group[first : first + count]) for first in range(0, len(group), count)]


def _split(group, fold, folds, others):
    return np.concatenate([patches_of for n, patches_of in enumerate(group) if (n % folds != fold) == others])


def _truth(real, simulated):
    return np.concatenate([np.ones(len(real)), np.zeros(len(simulated))])


def _fit(real, simulated):
    return Logistic().fit(np.concatenate([real, simulated]), _truth(real, simulated))


def held_out(real, simulated, real_test, simulated_test):
    test = [np.concatenate(real_test), np.concatenate(simulated_test)]
    return _fit(np.concatenate(real), np.concatenate(simulated)).accuracy(np.concatenate(test), _truth(*test))


def simulate_all(folders, seeds):
    """Return the calibrated and the crude volumes of all cases."""
    calibrated, before = [], []
    for number, folder in enumerate(folders):
        contrasts, label = load_mr(folder)
        for seed in range(seeds):
            sweep = simulate_sweep(contrasts, 1000 * number + seed, label)
            calibrated.append(sitk.GetArrayFromImage(sweep.us).astype(np.float32))
            before.append(crude(contrasts, sweep, np.random.default_rng(1000 * number + seed)))
    return calibrated, before


def picture(real, simulated, path, rows=5):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rng = np.random.default_rng(0)
    figure, axes = plt.subplots(rows, 6, figsize=(18, 3.1 * rows))
    for n, axis in enumerate(axes.ravel()):
        group, title = ((real, "real"), (simulated, "simulated"))[n % 2]
        volume = group[(n // 2) % len(group)]
        direction = int(rng.integers(3))
        plane = np.take(volume, int(volume.shape[direction] * rng.uniform(0.35, 0.65)), direction)
        axis.imshow(plane, cmap="gray", vmin=0, vmax=130)
        axis.set_title(title, fontsize=8)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=60)
    plt.close(figure)


def write_figures(path, groups):
    """Write median and quartiles of every figure, a row each, for every group of volumes."""
    tables = {name: [statistics(v) for v in volumes] for name, volumes in groups.items()}
    keys = list(dict.fromkeys(k for table in tables.values() for row in table for k in row))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["figure"] + [f"{name} {part}" for name in tables for part in ("p25", "median", "p75")])
        for key in keys:
            row = [key]
            for table in tables.values():
                values = [line[key] for line in table if key in line] or [np.nan]
                row += [f"{np.percentile(values, q):.3g}" for q in (25, 50, 75)]
            writer.writerow(row)
            sys.stdout.write("  ".join(f"{cell:>10}" if n else f"{cell:<22}" for n, cell in enumerate(row)) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="sweeps simulated from each MR")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    ius = sorted(f.parent for f in (arguments.data / "ius").glob("*/us.nii.gz"))
    mri = sorted(f.parent for f in (arguments.data / "mri").glob("*/t2.nii.gz"))
    real, real_test = (
        [isotropic(sitk.ReadImage(str(f / "us.nii.gz"))) for f in ius if (f.name in HELD_OUT) == test]
        for test in (False, True)
    )
    fitted, before = simulate_all([f for f in mri if f.name not in HELD_OUT], arguments.seeds)
    test, test_before = simulate_all([f for f in mri if f.name in HELD_OUT], arguments.seeds)
    write_figures(arguments.out / "figures.csv", {"real": real, "simulated": fitted, "real held out": real_test})
    picture(real, fitted[:: arguments.seeds], arguments.out / "real_and_simulated.png")
    picture(real_test, test[:: arguments.seeds], arguments.out / "real_and_simulated_held_out.png")
    rng = np.random.default_rng(0)
    groups = [[patches(v, rng) for v in volumes] for volumes in (real, real_test, fitted, test, before, test_before)]
    # All sweeps over one MR are one case: a classifier must not know the head that it is judged on.
    groups[2:] = [_joined(group, arguments.seeds) for group in groups[2:]]
    real, real_test, fitted, test, before, test_before = [[p for p in group if len(p)] for group in groups]
    lines = ["accuracy (50 % is the goal), cross-validated over cases / on held-out cases"]
    for name, train, unseen in (("before calibration", before, test_before), ("calibrated", fitted, test)):
        crossed, unseen = cross_validated(real, train), held_out(real, train, real_test, unseen)
        lines.append(f"{name:<20} {100 * crossed:.1f} % / {100 * unseen:.1f} %")
    half = len(real) // 2
    control = held_out(real[:half], real[half:], real_test[:1], real_test[1:])
    crossed = cross_validated(real[::2], real[1::2], 3)
    lines.append(f"control: real against other real cases, {100 * crossed:.1f} % / {100 * control:.1f} %")
    (arguments.out / "accuracy.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
