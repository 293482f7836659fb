"""Do the paper's ingredients help? Product against average and zero-filling, six latent levels against three and one.

::

    python3 Testing/benchmarks/ablations.py --data DIR --out DIR [--only NAME ...] [--planes 12] [--seeds 0 ...]
        [--epochs 20]

Trains each ``ablation-*`` configuration (the same small network, cases, batches, length and seeds; only what is named
differs) and judges them on the held-out cases: all sets of inputs on planes of simulated sweeps, T = 0.7. Goes on where
it was left. ``--data`` is as for ``MMHVAESynthesisLib train``. With several seeds (of weights, batches and noise) also
their mean: how far runs that differ in nothing else lie apart says what a difference is worth.
Writes ``ablations.md`` (with --only ``ablations-some.md``) and one CSV a configuration and seed.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "MMHVAESynthesis"))

import numpy as np  # noqa: E402

from MMHVAESynthesisLib.evaluation.metrics import Perceptual  # noqa: E402
from MMHVAESynthesisLib.evaluation.samples import simulated  # noqa: E402
from MMHVAESynthesisLib.evaluation.table import Table, input_sets  # noqa: E402
from MMHVAESynthesisLib.modalities import label  # noqa: E402
from MMHVAESynthesisLib.training import cases, presets  # noqa: E402
from MMHVAESynthesisLib.training.loop import train  # noqa: E402
from MMHVAESynthesisLib.training.running import run  # noqa: E402

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


def figures(table):
    """Return, for each target, the mean over all sets, over those without the target, over several inputs."""
    return np.array(
        [
            (
                mean(table, target, "psnr", lambda inputs: True),
                mean(table, target, "psnr", lambda inputs, target=target: target not in inputs),
                mean(table, target, "psnr", lambda inputs: len(inputs) > 1),
            )
            for target in table.targets
        ]
    )


def row(name, values):
    """Return a line: the figures of each target, then their mean over the targets."""
    cells = [" / ".join(f"{value:.2f}" for value in cell) for cell in [*values, values.mean(axis=0)]]
    return f"| {name} | " + " | ".join(cells) + " |"


def configuration(name, args, seed=0):
    """Return a configuration with its seed, and as long as was asked for."""
    config = dataclasses.replace(presets.configuration(name), seed=seed)
    return config if args.epochs is None else dataclasses.replace(config, epochs=args.epochs)


def trained(name, seed, args):
    """Return the table of a configuration that is trained with a seed, or has been."""
    config = configuration(name, args, seed)
    state = f"{name}-{seed}" if args.epochs is None else f"{name}-{seed}-{args.epochs}"
    session, complete = train(args.data, args.out / state, config)
    if not complete:
        raise SystemExit(f"{name} was stopped at step {session.step}; start again to go on.")
    folders = cases.split(cases.find(args.data, config.data.folders), config.data)[1]
    table = judge(session.learner.shipped, config, cases.load_all(folders, config.data), args.planes)
    table.write_csv(args.out / f"{state}.csv")
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--only", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--planes", type=int, default=12)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, help="of 50 batches each; default: those of the configurations")
    args = parser.parse_args()
    lines = []
    for name in args.only:
        values = []
        for seed in args.seeds:
            table = trained(name, seed, args)
            if not lines:
                heads = [*(label(target) for target in table.targets), "mean"]
                lines = ["| PSNR dB: all sets / target not seen / several inputs | " + " | ".join(heads) + " |"]
                lines.append("|---|" + "---|" * len(heads))
            values.append(figures(table))
            lines.append(row(f"{name}, seed {seed}", values[-1]))
            print(lines[-1], flush=True)
        if len(values) > 1:
            lines.append(row(f"{name}, mean of {len(values)}", np.mean(values, axis=0)))
    config = configuration(args.only[0], args)
    text = (
        "\n".join(lines) + f"\n\n{config.epochs * config.epoch_batches} batches of {config.data.slices} slices each.\n"
    )
    name = "ablations.md" if set(args.only) == set(NAMES) else "ablations-some.md"
    (args.out / name).write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
