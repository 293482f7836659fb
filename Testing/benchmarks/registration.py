"""Registration benchmark: known rigid displacements of real MR, all engines side by side on the same poses.

``python Testing/benchmarks/registration.py --data DIR --out DIR``, DIR holding ``mri/<case>/{t2,cet1,flair}.nii.gz``.

The protocol is that of Dorent et al., IEEE TPAMI 2025: four ranges of the median displacement in the field of view,
several poses a range. The MR is registered to a synthesis whose error is simulated: good, and poor. A field of view is
a cone of 80 x 80 x 60 mm at 1 mm, oblique, placed on the head's surface. With --sweeps it is that of a simulated sweep,
and the MR is registered directly to its iUS as well; with --model also to what a model synthesises from that iUS, on
cases which the model has not seen, and to what it synthesises from the real iUS in ``ius_pair/<case>``. With
--completion also as the product does by itself: the iUS itself is registered to iUS synthesised from the head's MR,
beside the contrasts, and where the head has one alone, the two others are synthesised from both sides.
Cases that the model was trained on are refused; of the pairs, of which there are few, the table says it.

The error of a pose (TRE) is the mean distance between its true and its found place over the field of view. Written:
registrations.csv and capture.csv (a row a registration), pairs.csv, registration.md, confidence.png, capture.png.
"""

import argparse
import csv
import os
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "MMHVAESynthesis"), str(Path(__file__).resolve().parent)]

import registration_report as report  # noqa: E402
import simulated_synthesis as simulation  # noqa: E402
import unseen  # noqa: E402

from MMHVAESynthesisLib.modalities import US  # noqa: E402
from MMHVAESynthesisLib.models.loading import load  # noqa: E402
from MMHVAESynthesisLib.registration.brainsfit import executable_runner  # noqa: E402
from MMHVAESynthesisLib.registration.completion import complete  # noqa: E402
from MMHVAESynthesisLib.registration.engine import register  # noqa: E402
from MMHVAESynthesisLib.registration.transforms import matrix_of  # noqa: E402
from MMHVAESynthesisLib.request import RegistrationRequest, SynthesisRequest  # noqa: E402
from MMHVAESynthesisLib.synthesis.engine import synthesize  # noqa: E402
from MMHVAESynthesisLib.ultrasound.simulate import simulate_sweep  # noqa: E402

QUALITIES = {"good": simulation.GOOD, "poor": simulation.POOR}
ENGINES = {
    "lncc": {"engine": "lncc"},
    "lncc without search": {"engine": "lncc", "starts": 1},
    "mattes": {"engine": "mattes"},
}
if executable_runner() is not None:
    ENGINES["brainsfit"] = {"engine": "brainsfit"}
    ENGINES["brainsfit, smoothed chain"] = {"engine": "brainsfit", "starts": 1}
MODALITIES = ("t2", "cet1", "flair")
DIRECT, MODEL, COMPLETED = "iUS itself", "model", "model, completed"
CAPTURE_STEPS = tuple(range(0, 31, 5))
MOST_DEGREES, CAPTURE_DEGREES = 12.0, 20.0
FIELDS = (
    "track engine case low high displacement degrees tre confidence correlation before after cpu wall warnings".split()
)
PAIR_FIELDS = "case track seen engine moved confidence before after again cpu wall warnings".split()


def contrasts_of(folder):
    """Return the MR of a case, ``{modality: image}``."""
    files = {modality: folder / f"{modality}.nii.gz" for modality in MODALITIES}
    return {modality: sitk.ReadImage(str(file)) for modality, file in files.items() if file.is_file()}


def label_of(folder):
    """Return the segmentation of a case, None without one."""
    file = folder / "seg.nii.gz"
    return sitk.ReadImage(str(file)) if file.is_file() else None


def field_points(mask):
    """Return some thousand world points (N, 3) spread over a mask."""
    indices = np.argwhere(sitk.GetArrayViewFromImage(mask) > 0)[::61, ::-1].astype(float)
    return np.array([mask.TransformContinuousIndexToPhysicalPoint(index.tolist()) for index in indices])


def moved_by(change, points):
    """Return how far a change of a (4, 4) matrix moves points (N, 3): (N,) mm."""
    return np.linalg.norm(points @ change[:3, :3].T + change[:3, 3], axis=1)


def name_of(model):
    """Return the model as requests name it."""
    return None if model == "default" else model


def synthesised(us, modalities, model):
    """Return ``{modality: image}`` as a model makes them of an ultrasound, without chance."""
    images = synthesize(SynthesisRequest({"us": us}, tuple(modalities), name_of(model), temperature=0)).images
    return {modality: images[modality] for modality in modalities}


def completed(fixed, heads, us, model):
    """Return the MR ``heads`` with what a model completes it with, so that all in ``fixed`` and iUS have a partner."""
    completion = complete(RegistrationRequest(fixed, heads, us, model=name_of(model)))
    if {*fixed, US} - set(completion.request.moving):
        raise SystemExit(" ".join(completion.warnings) or f"The model {model} does not know what is to be completed.")
    return completion.request.moving


def timed(fixed, moving, field, engine):
    """Register once; return the result and the seconds of CPU, children's too, and of the clock."""
    request = RegistrationRequest(fixed, {m: moving[m] for m in fixed}, field, **ENGINES[engine])
    cpu, wall = sum(os.times()[:4]), time.perf_counter()
    result = register(request)
    return result, {"cpu": sum(os.times()[:4]) - cpu, "wall": time.perf_counter() - wall}


def facts(result):
    """Return what a row says of a result."""
    return {
        "confidence": result.confidence,
        "before": result.metric_before,
        "after": result.metric_after,
        "warnings": " ".join(result.warnings),
    }


class Pose:
    """One field of view in one head, and what can be registered there: ``tracks`` of name to ``{modality: fixed}``."""

    _completed = {}
    """By case: a displaced head has the same voxels elsewhere, so that once is enough."""

    def __init__(self, folder, number, args):
        self.case = folder.name
        contrasts = contrasts_of(folder)
        self.heads = {modality: contrasts[modality] for modality in args.modalities}
        first = args.modalities[0]
        self.generator = np.random.default_rng(number)
        self.tracks = {}
        if args.sweeps:
            sweep = simulate_sweep(contrasts, number, label_of(folder))
            self.field = sweep.mask
            self.tracks[DIRECT] = {first: sweep.us}
        else:
            self.field = simulation.cone_field(self.heads[first], self.generator)
        if args.model:
            is_lone = args.completion and len(args.modalities) == 1
            made = synthesised(sweep.us, MODALITIES if is_lone else args.modalities, args.model)
            self.tracks[MODEL] = {modality: made[modality] for modality in args.modalities}
        for name in args.qualities:
            self.tracks[name] = {
                modality: simulation.synthesis_of(head, self.field, QUALITIES[name], 10 * number + index)
                for index, (modality, head) in enumerate(self.heads.items())
            }
        if args.completion:
            self.tracks[COMPLETED] = {**made, US: sweep.us}
            if self.case not in self._completed:
                self._completed[self.case] = completed(made, self.heads, sweep.us, args.model)
            self.heads = self._completed[self.case]
        self.points = field_points(self.field)
        truth = simulation.truth_on(self.heads[first], self.field)
        self.correlations = {
            name: float(np.corrcoef(simulation.truth_on(images[first], self.field), truth)[0, 1])
            for name, images in self.tracks.items()
        }

    def displaced_by(self, low, high, most_degrees):
        """Draw a displacement with its median in a range, and carry the head there: the matrix and the images."""
        median = self.generator.uniform(low, high)
        matrix = simulation.random_displacement(self.points, median, most_degrees, self.generator)
        return matrix, {modality: simulation.displaced(head, matrix) for modality, head in self.heads.items()}

    def run(self, track, engine, matrix, moving):
        """Register once; return a row."""
        result, seconds = timed(self.tracks[track], moving, self.field, engine)
        return {
            "track": track,
            "engine": engine,
            "case": self.case,
            "displacement": np.median(moved_by(matrix - np.eye(4), self.points)),
            "degrees": np.degrees(np.arccos(np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1))),
            "tre": moved_by(matrix_of(result.fixed_to_moving) - matrix, self.points).mean(),
            "correlation": self.correlations[track],
            **facts(result),
            **seconds,
        }


def written(rows, path, fields):
    """Write each row as it comes; return all."""
    kept = []
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            kept.append(row)
            writer.writerow({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()})
            file.flush()
    return kept


def rows_of(poses, ranges, engines, most_degrees):
    """Register every pose in every range with every engine; yield the rows."""
    for pose in poses:
        for low, high in ranges:
            matrix, moving = pose.displaced_by(low, high, most_degrees)
            for track in pose.tracks:
                for engine in engines:
                    yield {**pose.run(track, engine, matrix, moving), "low": low, "high": high}


def pair_rows(folder, modality, args):
    """Register a real pair from the start given, and from four others; yield a row for each fixed volume and engine."""
    us, moving = (sitk.ReadImage(str(folder / f"{name}.nii.gz")) for name in ("us", modality))
    points = field_points(us)
    tracks = {DIRECT: us, MODEL: synthesised(us, [modality], args.model)[modality]}
    seen = {DIRECT: "-", MODEL: unseen.says(load(name_of(args.model)), folder.name)}
    generator = np.random.default_rng(0)
    others = [
        simulation.random_displacement(points, median, MOST_DEGREES, generator)
        for median in np.mean(report.RANGES, axis=1)
    ]

    def found(fixed, engine, away):
        """Return the result from another start, and the matrix that it stands for from the start given."""
        carried = {modality: simulation.displaced(moving, away)}
        result, seconds = timed({modality: fixed}, carried, us > 0 if fixed is us else us, engine)
        return result, seconds, np.linalg.inv(away) @ matrix_of(result.fixed_to_moving)

    for track, fixed in tracks.items():
        for engine in args.engines:
            result, seconds, end = found(fixed, engine, np.eye(4))
            apart = [moved_by(found(fixed, engine, away)[2] - end, points).mean() for away in others]
            row = {"case": folder.name, "track": track, "seen": seen[track], "engine": engine, "moved": result.moved}
            yield {**row, "again": np.median(apart), **facts(result), **seconds}


def folders_of(args):
    """Return the cases to take fields of view from: those named, or else the ones held out of a training, or all.

    With a model none that it was trained on.
    """
    found = {
        path.name: path
        for path in sorted((args.data / "mri").iterdir())
        if all((path / f"{modality}.nii.gz").is_file() for modality in args.modalities)
    }
    named = args.cases or list(found)
    if args.model:
        allowed = unseen.names(load(name_of(args.model)), args.cases)
        named = args.cases or [name for name in found if name in allowed]
    missing = [name for name in named if name not in found]
    if missing or not named:
        raise SystemExit(f"{args.data}/mri lacks {', '.join(args.modalities)} of: {', '.join(missing) or 'all cases'}")
    folders = [found[name] for name in named]
    # Neighbours in the alphabet come from one study: every third one, as long as that reaches all.
    return folders if len(folders) % 3 == 0 else [folders[3 * n % len(folders)] for n in range(len(folders))]


def arguments():
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cases", nargs="+", help="of DATA/mri; default: all, with --model those held out of training")
    parser.add_argument(
        "--modalities", nargs="+", default=["t2"], choices=MODALITIES, help="used together; default: t2"
    )
    parser.add_argument("--poses", type=int, default=10, help="poses a range; 0 leaves the ranges out")
    parser.add_argument(
        "--capture-poses", type=int, default=5, help="poses a step of the capture range; 0 leaves it out"
    )
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument(
        "--qualities", nargs="*", default=list(QUALITIES), choices=list(QUALITIES), help="simulated errors to look at"
    )
    parser.add_argument(
        "--sweeps", action="store_true", help="fields of simulated sweeps, and their iUS as fixed volume"
    )
    parser.add_argument("--model", metavar="NAME|FILE", help="also synthesise from that iUS (--sweeps); 'default'")
    parser.add_argument(
        "--completion", action="store_true", help="also register beside what is synthesised from the head (--model)"
    )
    args = parser.parse_args()
    if args.completion and not args.model:
        parser.error("--completion needs --model")
    args.sweeps = args.sweeps or bool(args.model)
    if not args.sweeps and not args.qualities:
        parser.error("there is nothing to register to: give --qualities, --sweeps or --model")
    return args


def main():
    """Run the benchmark."""
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    folders = folders_of(args)
    text = [f"Contrasts: {', '.join(args.modalities)}. Cases: {', '.join(folder.name for folder in folders)}.\n"]

    def poses(count, first):
        return (Pose(folders[n % len(folders)], first + n, args) for n in range(count))

    if args.poses:
        rows = rows_of(poses(args.poses, 0), report.RANGES, args.engines, MOST_DEGREES)
        rows = written(rows, args.out / "registrations.csv", FIELDS)
        report.plot_confidence(rows, args.out / "confidence.png")
        text += [report.errors(rows), report.trust(rows)]
    if args.capture_poses:
        steps = [(step, step) for step in CAPTURE_STEPS]
        rows = rows_of(poses(args.capture_poses, 100), steps, args.engines, CAPTURE_DEGREES)
        report.plot_capture(written(rows, args.out / "capture.csv", FIELDS), args.out / "capture.png")
    if args.model:
        found = [(us.parent, m) for us in sorted(args.data.glob("ius_pair/*/us.nii.gz")) for m in MODALITIES]
        rows = (row for folder, m in found if (folder / f"{m}.nii.gz").is_file() for row in pair_rows(folder, m, args))
        text.append(report.pairs(written(rows, args.out / "pairs.csv", PAIR_FIELDS)))
    (args.out / "registration.md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
