"""Slices across one axis against slices across all three: how near the truth, how smooth, how long.

    python Testing/benchmarks/directions.py --data DIR --out DIR [--model NAME|FILE] [--temperature 0.7] [--cases ...]

Whole volumes through the engine, side by side in one run: of each head of DIR/mri that the model was not trained on one
MR contrast, and of two simulated sweeps over it one contrast or the iUS. The truth is the harmonised targets, of iUS
itself. Written to directions.csv
and directions.md: PSNR and SSIM of the slices as stored (those that are filled to a tenth), for each input and target;
the mean absolute difference of neighbouring slices, 8-bit, within the volume, beside the truth's; and seconds of the
clock.

--picture FILE draws something else instead, without --data: the iUS of the example that comes with the software, seen
across its slices, and what is made of it, one direction above three.
"""

import argparse
import csv
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import SimpleITK as sitk

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "MMHVAESynthesis"), str(Path(__file__).resolve().parent)]

import unseen  # noqa: E402

from MMHVAESynthesisLib.evaluation.evaluate import training_configuration  # noqa: E402
from MMHVAESynthesisLib.evaluation.metrics import ssim  # noqa: E402
from MMHVAESynthesisLib.modalities import US, label  # noqa: E402
from MMHVAESynthesisLib.models.loading import load  # noqa: E402
from MMHVAESynthesisLib.request import SynthesisRequest  # noqa: E402
from MMHVAESynthesisLib.synthesis.engine import synthesize  # noqa: E402
from MMHVAESynthesisLib.training import cases as case_folders  # noqa: E402
from MMHVAESynthesisLib.training.cases import harmonised  # noqa: E402
from MMHVAESynthesisLib.training.psnr import counts, psnr  # noqa: E402
from MMHVAESynthesisLib.training.sweeps import sweep_over  # noqa: E402

DIRECTIONS = (1, 3)
MR = ("t2", "cet1", "flair")
EXAMPLE = Path(__file__).resolve().parents[2] / "Resources" / "SampleData" / "MMHVAE-phantom-3-iUS.nrrd"
SWEEPS = 2
LEAST_FILLED = 0.1
FIELDS = "case seen input target directions psnr ssim flicker flicker_of_truth seconds".split()


def image_of(volume, spacing):
    """Return an array [k, j, i] as an image; where it lies does not matter here."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume, np.float32))
    image.SetSpacing([spacing] * 3)
    return image


def grey(network):
    """Return values of the network's range as grey values of 0 to 255."""
    return 127.5 * (network + 1)


def flicker(volume):
    """Return the mean absolute difference of neighbouring slices where both show something."""
    both = (volume[1:] > 0) & (volume[:-1] > 0)
    return float(np.abs(np.diff(volume, axis=0))[both].mean())


def scores(truth, made):
    """Return the mean PSNR and SSIM over the slices that are filled enough."""
    pairs = [(want.astype(np.uint8), got.astype(np.uint8)) for want, got in zip(truth, made)]
    pairs = [(want, got) for want, got in pairs if (want > 0).mean() >= LEAST_FILLED and counts(want)]
    return [float(np.mean([metric(*pair) for pair in pairs])) for metric in (psnr, ssim)]


def rows_of(case, seen, config, args):
    """Synthesise everything from each input alone, in one direction and in three; yield a row a target."""
    grey_of = config.data.white_matter
    truths = {
        name: grey(
            case.ranges[name].to_network(volume.astype(np.float32))
            if name == US
            else harmonised(volume, case.white_matter[name], grey_of[name])
        )
        for name, volume in case.volumes.items()
    }
    for name in case.modalities:
        for directions in DIRECTIONS:
            request = SynthesisRequest(
                {name: image_of(case.volumes[name], config.data.spacing)},
                tuple(truths),
                args.model,
                args.temperature,
                directions=directions,
            )
            start = time.perf_counter()
            images = synthesize(request).images
            seconds = time.perf_counter() - start
            for target, truth in truths.items():
                made = sitk.GetArrayFromImage(images[target])
                figures = [*scores(truth, made), flicker(made), flicker(truth), seconds]
                yield dict(zip(FIELDS, [case.name, seen, name, target, directions, *figures]))


def all_rows(args):
    """Yield the rows of all cases."""
    model = load(args.model)
    config = training_configuration(model)
    names = unseen.names(model, args.cases)
    for folder in case_folders.find(args.data, ["mri"]):
        if folder.name in names:
            case = case_folders.load(folder, config.data)
            yield from rows_of(case, "head", config, args)
            for sweep in range(SWEEPS):
                swept, _ = sweep_over(case, config.data.spacing, sweep, at_tumour=sweep == 0)
                yield from rows_of(swept, f"sweep {sweep}", config, args)


def table(rows):
    """Return the means as Markdown, one direction beside three."""
    groups = defaultdict(list)
    for row in rows:
        kind = "given" if row["input"] == row["target"] else "iUS" if row["input"] == US else "another MR"
        groups[row["seen"].split()[0], kind, row["target"]].append(row)
    lines = [
        "| of | from | target | PSNR, 1 direction | 3 | SSIM, 1 | 3 | slice to slice, 1 | 3 | truth | seconds, 1 | 3 |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (seen, kind, target), some in sorted(groups.items()):
        cells = [seen, kind, label(target)]
        for field, form in (("psnr", "{:.1f}"), ("ssim", "{:.3f}"), ("flicker", "{:.1f}"), ("seconds", "{:.1f}")):
            means = [np.mean([row[field] for row in some if row["directions"] == number]) for number in DIRECTIONS]
            cells += [form.format(mean) for mean in means]
            if field == "flicker":
                cells.append(form.format(np.mean([row["flicker_of_truth"] for row in some])))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def picture(args):
    """Write what is made of the example's iUS in a plane across its slices: [iUS, T2, ceT1, FLAIR] a row."""
    us = sitk.ReadImage(str(EXAMPLE), sitk.sitkFloat32)
    values = sitk.GetArrayViewFromImage(us)
    bright = float(np.percentile(values[values > 0], 99))
    rows = []
    for directions in DIRECTIONS:
        request = SynthesisRequest({US: us}, MR, args.model, args.temperature, directions=directions)
        images = {US: us * (255 / bright), **synthesize(request).images}
        planes = [sitk.GetArrayFromImage(images[name])[:, :, us.GetSize()[0] // 2] for name in (US, *MR)]
        rows.append(np.hstack([np.pad(plane, 2) for plane in planes]))
    tiles = sitk.GetImageFromArray(np.vstack(rows).clip(0, 255).astype(np.uint8))
    larger = sitk.Expand(tiles, [2, 2], sitk.sitkLinear)
    sitk.WriteImage(larger, str(args.picture))


def main():
    """Run the benchmark, or draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--model", metavar="NAME|FILE")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument(
        "--cases", nargs="+", help="of DATA/mri, unseen by the model; default: those held out of training"
    )
    args = parser.parse_args()
    if args.picture:
        return picture(args)
    if not args.data or not args.out:
        parser.error("--data and --out are needed, or --picture")
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    with open(args.out / "directions.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for row in all_rows(args):
            rows.append(row)
            writer.writerow({key: f"{value:.4g}" if isinstance(value, float) else value for key, value in row.items()})
            file.flush()
    (args.out / "directions.md").write_text(table(rows), encoding="utf-8")
    sys.stdout.write(table(rows))
    return None


if __name__ == "__main__":
    main()
