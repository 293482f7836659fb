"""Registration benchmark: known rigid displacements of real MR, against a synthesis with simulated error.

``python Testing/benchmarks/registration.py --data DIR --out DIR``, DIR holding ``mri/<case>/{t2,cet1,flair}.nii.gz``.

The protocol is that of Dorent et al., IEEE TPAMI 2025: four ranges of the median displacement in the field of view,
several poses a range, all engines on the same poses. A field of view is a cone of 80 x 80 x 60 mm at 1 mm, oblique,
placed on the head's surface; with --sweeps it is that of a simulated sweep. The error of a pose (TRE) is the mean
distance between its true and its found place over the field of view. Written: registrations.csv and capture.csv (a row
a registration), registration.md, capture.png, confidence.png.
"""

import argparse
import csv
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "MMHVAESynthesis"), str(Path(__file__).resolve().parent)]

import simulated_synthesis as simulation  # noqa: E402

from MMHVAESynthesisLib.registration.engine import register  # noqa: E402
from MMHVAESynthesisLib.registration.transforms import matrix_of  # noqa: E402
from MMHVAESynthesisLib.request import RegistrationRequest, SynthesisRequest  # noqa: E402
from MMHVAESynthesisLib.synthesis.engine import synthesize  # noqa: E402
from MMHVAESynthesisLib.ultrasound.simulate import simulate_sweep  # noqa: E402

RANGES = ((0, 4), (4, 8), (8, 12), (12, 16))
QUALITIES = {"good": simulation.GOOD, "poor": simulation.POOR}
ENGINES = {
    "lncc": {"engine": "lncc"},
    "lncc without search": {"engine": "lncc", "starts": 1},
    "mattes": {"engine": "mattes"},
}
CAPTURE_STEPS = tuple(range(0, 31, 5))
MOST_DEGREES, CAPTURE_DEGREES = 12.0, 20.0
SUCCESS = 2.0
FIELDS = "track engine case low high displacement tre confidence correlation before after cpu wall warnings".split()


def contrasts_of(folder):
    """Return the MR of a case, ``{modality: image}``."""
    files = {modality: folder / f"{modality}.nii.gz" for modality in ("t2", "cet1", "flair")}
    return {modality: sitk.ReadImage(str(file)) for modality, file in files.items() if file.is_file()}


def label_of(folder):
    """Return the segmentation of a case, None without one."""
    file = folder / "seg.nii.gz"
    return sitk.ReadImage(str(file)) if file.is_file() else None


def field_points(mask):
    """Return some thousand world points (N, 3) spread over a mask."""
    indices = np.argwhere(sitk.GetArrayViewFromImage(mask) > 0)[::61, ::-1].astype(float)
    return np.array([mask.TransformContinuousIndexToPhysicalPoint(index.tolist()) for index in indices])


class Pose:
    """One field of view in one head, and what can be registered there: ``tracks`` of name to fixed volume."""

    def __init__(self, folder, modality, number, sweeps, model):
        self.case, self.modality = folder.name, modality
        self.head = sitk.ReadImage(str(folder / f"{modality}.nii.gz"))
        self.generator = np.random.default_rng(number)
        self.tracks = {}
        if sweeps:
            sweep = simulate_sweep(contrasts_of(folder), number, label_of(folder))
            self.field = sweep.mask
            self.tracks["iUS itself"] = sweep.us
        else:
            self.field = simulation.cone_field(self.head, self.generator)
        if model:
            request = SynthesisRequest(
                {"us": sweep.us}, (modality,), None if model == "default" else model, temperature=0
            )
            self.tracks["model"] = synthesize(request).images[modality]
        for name, quality in QUALITIES.items():
            self.tracks[name] = simulation.synthesis_of(self.head, self.field, quality, number)
        self.points = field_points(self.field)
        truth = simulation.truth_on(self.head, self.field)
        self.correlations = {
            name: float(np.corrcoef(simulation.truth_on(image, self.field), truth)[0, 1])
            for name, image in self.tracks.items()
        }

    def displaced_by(self, low, high, most_degrees):
        """Draw a displacement with its median in a range, and carry the head there: the matrix and the image."""
        median = self.generator.uniform(low, high)
        matrix = simulation.random_displacement(self.points, median, most_degrees, self.generator)
        return matrix, simulation.displaced(self.head, matrix)

    def run(self, track, engine, matrix, moving):
        """Register once; return a row."""
        request = RegistrationRequest(
            {self.modality: self.tracks[track]}, {self.modality: moving}, self.field, **ENGINES[engine]
        )
        cpu, wall = time.process_time(), time.perf_counter()
        result = register(request)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        error = self._moved(matrix_of(result.fixed_to_moving) - matrix)
        return {
            "track": track,
            "engine": engine,
            "case": self.case,
            "displacement": np.median(self._moved(matrix - np.eye(4))),
            "tre": error.mean(),
            "confidence": result.confidence,
            "correlation": self.correlations[track],
            "before": result.metric_before,
            "after": result.metric_after,
            "cpu": cpu,
            "wall": wall,
            "warnings": " ".join(result.warnings),
        }

    def _moved(self, change):
        return np.linalg.norm(self.points @ change[:3, :3].T + change[:3, 3], axis=1)


def rows_of(poses, ranges, engines, most_degrees, file):
    """Register every pose in every range with every engine; write each row as it comes; return all."""
    rows = []
    writer = csv.DictWriter(file, FIELDS, extrasaction="ignore")
    writer.writeheader()
    for pose in poses:
        for low, high in ranges:
            matrix, moving = pose.displaced_by(low, high, most_degrees)
            for track in pose.tracks:
                for engine in engines:
                    row = {**pose.run(track, engine, matrix, moving), "low": low, "high": high}
                    rows.append(row)
                    writer.writerow({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()})
                    file.flush()
    return rows


def tracks_of(rows):
    """Return the tracks of some rows in their order."""
    return list(dict.fromkeys(row["track"] for row in rows))


def table(rows, engines):
    """Return the Markdown table of the protocol."""
    lines = ["| fixed | engine | start mm | n | median TRE | mean TRE | largest | % < 2 mm | CPU s | wall s |"]
    lines.append("|" + "---|" * 10)
    for track in tracks_of(rows):
        for engine in engines:
            for low, high in RANGES:
                chosen = [r for r in rows if (r["track"], r["engine"], r["low"]) == (track, engine, low)]
                if not chosen:
                    continue
                tre = np.array([row["tre"] for row in chosen])
                cpu, wall = (np.mean([row[key] for row in chosen]) for key in ("cpu", "wall"))
                lines.append(
                    f"| {track} | {engine} | {low}-{high} | {len(tre)} | {np.median(tre):.2f} | {tre.mean():.2f} | "
                    f"{tre.max():.2f} | {100 * (tre < SUCCESS).mean():.0f} | {cpu:.1f} | {wall:.1f} |"
                )
    return "\n".join(lines) + "\n"


def agreement(rows):
    """Return Pearson's correlation of log confidence and log error, and their ratio's median."""
    tre, confidence = (np.array([row[key] for row in rows]) for key in ("tre", "confidence"))
    return float(np.corrcoef(np.log(tre), np.log(confidence))[0, 1]), float(np.median(tre / confidence))


def report(rows, engines):
    """Return the Markdown report: the table, and what the confidence is worth, for each fixed volume and for all."""
    lines = [table(rows, engines), "| engine | fixed | r of log confidence and log error | median error / confidence |"]
    lines.append("|" + "---|" * 4)
    for engine in engines:
        chosen = [row for row in rows if row["engine"] == engine]
        for track in [*tracks_of(chosen), "all"]:
            some = [row for row in chosen if track in (row["track"], "all")]
            correlation, ratio = agreement(some)
            lines.append(f"| {engine} | {track} | {correlation:.2f} | {ratio:.2f} |")
    return "\n".join(lines) + "\n"


def plot_confidence(rows, engines, path):
    """Draw confidence against true error."""
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(1, len(engines), figsize=(4.5 * len(engines), 4.2), squeeze=False)
    for axis, engine in zip(axes[0], engines):
        chosen = [row for row in rows if row["engine"] == engine]
        for track in tracks_of(chosen):
            some = [row for row in chosen if row["track"] == track]
            axis.loglog([r["confidence"] for r in some], [r["tre"] for r in some], "o", ms=4, label=track)
        correlation, ratio = agreement(chosen)
        span = [min(r["confidence"] for r in chosen), max(r["confidence"] for r in chosen)]
        axis.loglog(span, span, color="grey", lw=0.8)
        axis.set(
            title=f"{engine}: r = {correlation:.2f} (log), error / confidence {ratio:.2f}",
            xlabel="confidence, mm",
            ylabel="true error, mm",
        )
        axis.title.set_fontsize(9)
        for scale in (axis.xaxis, axis.yaxis):
            scale.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            scale.set_major_formatter(ticker.FormatStrFormatter("%g"))
            scale.set_minor_formatter(ticker.NullFormatter())
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def plot_capture(rows, engines, path):
    """Draw the part of registrations that end within 2 mm, against the displacement at the start."""
    from matplotlib import pyplot

    tracks = tracks_of(rows)
    figure, axes = pyplot.subplots(1, len(tracks), figsize=(4.5 * len(tracks), 3.8), sharey=True, squeeze=False)
    axes = axes[0]
    for axis, track in zip(axes, tracks):
        for engine in engines:
            chosen = [r for r in rows if (r["track"], r["engine"]) == (track, engine)]
            lows = sorted({row["low"] for row in chosen})
            success = [100 * np.mean([r["tre"] < SUCCESS for r in chosen if r["low"] == low]) for low in lows]
            axis.plot(lows, success, "o-", ms=4, label=engine)
        axis.set(title=track, xlabel="median displacement at the start, mm", ylim=(-5, 105))
    axes[0].set_ylabel(f"% within {SUCCESS:g} mm")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--modality", default="t2", choices=("t2", "cet1", "flair"))
    parser.add_argument("--poses", type=int, default=10, help="poses a range; 0 leaves the ranges out")
    parser.add_argument(
        "--capture-poses", type=int, default=5, help="poses a step of the capture range; 0 leaves it out"
    )
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument(
        "--sweeps", action="store_true", help="fields of simulated sweeps, and their iUS as fixed volume"
    )
    parser.add_argument("--model", metavar="NAME|FILE", help="with --sweeps: also synthesise from that iUS; 'default'")
    args = parser.parse_args()
    if args.model and not args.sweeps:
        parser.error("--model synthesises from simulated ultrasound: give --sweeps too")
    args.out.mkdir(parents=True, exist_ok=True)
    folders = sorted(path.parent for path in (args.data / "mri").glob(f"*/{args.modality}.nii.gz"))
    if not folders:
        parser.error(f"there is no mri/<case>/{args.modality}.nii.gz in {args.data}")

    def poses(count, first):
        chosen = (folders[(3 * n) % len(folders)] for n in range(count))
        return (Pose(f, args.modality, first + n, args.sweeps, args.model) for n, f in enumerate(chosen))

    if args.poses:
        with open(args.out / "registrations.csv", "w", newline="", encoding="utf-8") as file:
            rows = rows_of(poses(args.poses, 0), RANGES, args.engines, MOST_DEGREES, file)
        plot_confidence(rows, args.engines, args.out / "confidence.png")
        (args.out / "registration.md").write_text(report(rows, args.engines), encoding="utf-8")
    if args.capture_poses:
        steps = [(step, step) for step in CAPTURE_STEPS]
        with open(args.out / "capture.csv", "w", newline="", encoding="utf-8") as file:
            rows = rows_of(poses(args.capture_poses, 100), steps, args.engines, CAPTURE_DEGREES, file)
        plot_capture(rows, args.engines, args.out / "capture.png")


if __name__ == "__main__":
    main()
