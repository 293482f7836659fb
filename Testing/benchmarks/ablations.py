"""Do the paper's ingredients help? Product against average and zero-filling, six latent levels against three and one.

::

    python3 Testing/benchmarks/ablations.py --data DIR --out DIR [--only NAME ...] [--planes 12]

Trains each ``ablation-*`` configuration (the same small network, cases, batches, length and seed; only what is named
differs) and judges them on the held-out cases: all sets of inputs on planes of simulated sweeps, T = 0.7. Goes on where
it was left. ``--data`` is as for ``MMHVAESynthesisLib train``.
Writes ``ablations.md`` (with --only ``ablations-some.md``) and one CSV a configuration.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "MMHVAESynthesis"))

import numpy as np  # noqa: E402

from MMHVAESynthesisLib.evaluation.metrics import Perceptual  # noqa: E402
from MMHVAESynthesisLib.evaluation.running import run  # noqa: E402
from MMHVAESynthesisLib.evaluation.samples import simulated  # noqa: E402
from MMHVAESynthesisLib.evaluation.table import Table, input_sets  # noqa: E402
from MMHVAESynthesisLib.modalities import label  # noqa: E402
from MMHVAESynthesisLib.training import cases, presets  # noqa: E402
from MMHVAESynthesisLib.training.loop import train  # noqa: E402

NAMES = ("ablation-product", "ablation-average", "ablation-zero-fill", "ablation-three-levels", "ablation-one-level")


def judge(network, config, held_out, planes, seed=0):
    """Return the table of all sets of inputs on a simulated sweep over each case."""
    table, perceptual = Table(), Perceptual()
    mr = [case for case in held_out if len(case.modalities) > 1]
    samples = [simulated(case, config, planes, 1000 * number + seed, at_tumour=True) for number, case in enumerate(mr)]
    for inputs in input_sets(config.sizes.modalities):
        for number, sample in enumerate(sample for sample in samples if sample is not None):
            if set(inputs) <= set(sample.batch.inputs):
                images = run(network, sample.batch, inputs, seed=number).images
                for target, wanted in sample.batch.targets.items():
                    table.add(inputs, target, wanted, images[target], perceptual)
    return table


def mean(table, target, metric, chosen):
    """Return the mean over those sets of inputs that ``chosen`` takes."""
    return float(np.mean([table.mean(inputs, target, metric) for inputs in table.rows if chosen(inputs)]))


def row(name, table):
    """Return a line: for each target the mean over all sets, over those without the target, over several inputs."""
    figures = []
    for target in table.targets:
        every = mean(table, target, "psnr", lambda inputs: True)
        unseen = mean(table, target, "psnr", lambda inputs, target=target: target not in inputs)
        several = mean(table, target, "psnr", lambda inputs: len(inputs) > 1)
        figures.append(f"{every:.2f} / {unseen:.2f} / {several:.2f}")
    return f"| {name} | " + " | ".join(figures) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--only", nargs="*", default=NAMES, choices=NAMES)
    parser.add_argument("--planes", type=int, default=12)
    args = parser.parse_args()
    lines = []
    for name in args.only:
        config = presets.configuration(name)
        session, complete = train(args.data, args.out / name, config)
        if not complete:
            raise SystemExit(f"{name} was stopped at step {session.step}; start again to go on.")
        folders = cases.split(cases.find(args.data, config.data.folders), config.data)[1]
        table = judge(session.learner.shipped, config, cases.load_all(folders, config.data), args.planes)
        table.write_csv(args.out / f"{name}.csv")
        if not lines:
            heads = [f"{label(target)}" for target in table.targets]
            lines = ["| PSNR dB: all sets / target not seen / several inputs | " + " | ".join(heads) + " |"]
            lines.append("|---|" + "---|" * len(heads))
        lines.append(row(name, table))
        print(lines[-1], flush=True)
    text = (
        "\n".join(lines) + f"\n\n{config.epochs * config.epoch_batches} batches of {config.data.slices} slices each.\n"
    )
    name = "ablations.md" if set(args.only) == set(NAMES) else "ablations-some.md"
    (args.out / name).write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
