"""An input that shows a part of the field only: what it does to the rest.

    python Testing/benchmarks/partial_inputs.py --data DIR --out DIR [--model NAME|FILE] [--planes 12]

Planes of heads of DIR/mri that the model was not trained on, and of a simulated sweep over each; the first input is
whole, the second cut off at a fifth or a half of the field. Side by side in one run, with the same noise: without the
second input; with it as published, what lies beyond the cut being background to the network, and all images drawn from
both inputs; with it as this software
does it, its expert having no say there; and with the whole of it. Written to partial_inputs.csv and partial_inputs.md:
root mean square errors over the pixels beyond the cut and on this side of it, grey values of 255, the mean over all
targets but the first input (which is given), over planes' pixels and cases.
"""

import argparse
import copy
import csv
import dataclasses
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "MMHVAESynthesis"), str(Path(__file__).resolve().parent)]

import unseen  # noqa: E402

from MMHVAESynthesisLib.evaluation.evaluate import training_configuration  # noqa: E402
from MMHVAESynthesisLib.evaluation.samples import mr_only, simulated  # noqa: E402
from MMHVAESynthesisLib.modalities import US, labels  # noqa: E402
from MMHVAESynthesisLib.models.loading import load  # noqa: E402
from MMHVAESynthesisLib.training import cases as case_folders  # noqa: E402
from MMHVAESynthesisLib.training.psnr import to_8bit  # noqa: E402
from MMHVAESynthesisLib.training.running import TEMPERATURE, noise_of  # noqa: E402
from MMHVAESynthesisLib.volumes.cover import uncovered  # noqa: E402

PAIRS = {"head": [("t2", "flair"), ("t2", "cet1"), ("cet1", "flair")], "sweep": [("us", "t2"), ("us", "flair")]}
SHARES = (0.2, 0.5)
WAYS = ("without it", "as published", "no say beyond", "the whole of it")
PARTS = ("beyond the cut", "this side of it")
BACKGROUND = -1
SEED = 7


def cut_at(share, field):
    """Return where an input is still shown, for each plane from the field's first row to ``share`` of its rows."""
    shown = np.zeros_like(field)
    for plane, inside in enumerate(field[:, 0]):
        rows = np.flatnonzero(inside.any(axis=1))
        shown[plane, 0, : int(rows[0] + share * (rows[-1] + 1 - rows[0]))] = True
    return shown


def coverage_of(inputs, first, second):
    """Return the network's ``coverage`` for a pair of inputs, as the engine finds it."""
    maps = np.ones_like(inputs[second])
    for plane, (whole, part) in enumerate(zip(inputs[first][:, 0], inputs[second][:, 0])):
        gap = uncovered(whole, part)
        if gap is not None:
            maps[plane, 0][gap] = 0
    return {second: torch.from_numpy(maps)}


def synthesised(network, inputs, coverage=None):
    """Return 8-bit images of all modalities, {modality: (B, 1, S, S)}."""
    tensors = {name: torch.from_numpy(image) for name, image in inputs.items()}
    noise = noise_of(network, len(next(iter(inputs.values()))), SEED)
    with torch.no_grad():
        images = network(tensors, noise, TEMPERATURE, coverage=coverage).images
    return {name: to_8bit(image.numpy()).astype(np.float64) for name, image in images.items()}


def error(images, targets, first, where):
    """Return the root mean square error in some pixels, the mean over the targets but the first input."""
    differences = [(to_8bit(want) - images[name])[where] for name, want in targets.items() if name != first]
    return float(np.mean([np.sqrt(np.mean(difference**2)) for difference in differences]))


def rows_of(network, sample, kind):
    """Yield a row for each pair of inputs, share, way and part of the field."""
    batch = sample.batch
    for first, second in PAIRS[kind]:
        if not {first, second} <= set(batch.inputs):
            continue
        joint = copy.copy(network)
        joint.sizes = dataclasses.replace(network.sizes, reconstruction="joint")
        field = batch.inputs[first] != BACKGROUND
        alone, whole = {first: batch.inputs[first]}, {m: batch.inputs[m] for m in (first, second)}
        both_whole = synthesised(network, whole)
        for share in SHARES:
            shown = cut_at(share, field)
            part = {**alone, second: np.where(shown, batch.inputs[second], np.float32(BACKGROUND))}
            found = (
                synthesised(network, alone),
                synthesised(joint, part),
                synthesised(network, part, coverage_of(part, first, second)),
                both_whole,
            )
            for way, images in zip(WAYS, found):
                for name, where in zip(PARTS, (field & ~shown, field & shown)):
                    value = error(images, batch.targets, first, where)
                    yield [kind, sample.case, f"{first}+{second}", share, way, name, round(value, 2)]


def table(rows):
    """Return the means over the cases as Markdown."""
    found = defaultdict(list)
    for kind, _, inputs, share, way, part, value in rows:
        found[kind, inputs, share, part, way].append(value)
    keys = list(dict.fromkeys(key[:4] for key in found))
    lines = ["| | inputs | shown of the second | error | " + " | ".join(WAYS) + " |", "|---|---|---|---|" + "---:|" * 4]
    for key in keys:
        kind, inputs, share, part = key
        values = " | ".join(f"{np.mean(found[(*key, way)]):.1f}" for way in WAYS)
        lines.append(f"| {kind} | {labels(inputs.split('+'))} | {share:.0%} | {part} | {values} |")
    return "\n".join(lines) + "\n"


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--model", default="demonstrator")
    parser.add_argument("--planes", type=int, default=12)
    args = parser.parse_args()
    model = load(args.model)
    config = training_configuration(model)
    names = unseen.names(model)
    found = case_folders.find(Path(args.data), config.data.folders)
    cases = case_folders.load_all([case for case in found if case.name in names], config.data)
    rows = []
    for case in cases:
        if US in case.modalities:
            continue
        for kind, sample in (
            ("head", mr_only(case, config, args.planes)),
            ("sweep", simulated(case, config, args.planes, SEED, at_tumour=True)),
        ):
            if sample is not None:
                rows += rows_of(model.network.eval(), sample, kind)
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "partial_inputs.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["kind", "case", "inputs", "share", "way", "part", "rms_error"], *rows])
    text = table(rows)
    (args.out / "partial_inputs.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
