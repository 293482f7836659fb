"""What a plain U-Net learns of the same cases, beside a model: whether method or data set the limit.

The U-Net knows one task alone, from one MR to the others or from simulated iUS to MR; it has no latent variables, no
missing inputs and no uncertainty to learn. Cases, crops, target greys and measures are those of the model's training
and of ``evaluate`` (T = 0.7), in one run. Where it ends no nearer to the truth on the held-out cases, while it goes on
learning those that it is trained on, another network or a longer training will not bring what is missing.

    python Testing/benchmarks/data_limit.py --data DIR --task mr

Needs torch, scikit-image and the data that training needs; about 0.3 s a step on one core.
"""

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "MMHVAESynthesis"), str(Path(__file__).resolve().parent)]

import unseen  # noqa: E402

from MMHVAESynthesisLib.evaluation.evaluate import Evaluation, training_configuration  # noqa: E402
from MMHVAESynthesisLib.evaluation.metrics import Perceptual  # noqa: E402
from MMHVAESynthesisLib.evaluation.table import Table  # noqa: E402
from MMHVAESynthesisLib.modalities import MR, US  # noqa: E402
from MMHVAESynthesisLib.models.loading import load  # noqa: E402
from MMHVAESynthesisLib.network.model import BACKGROUND  # noqa: E402
from MMHVAESynthesisLib.progress import Reporter  # noqa: E402
from MMHVAESynthesisLib.training import cases as case_folders  # noqa: E402
from MMHVAESynthesisLib.training.batches import Loader  # noqa: E402
from MMHVAESynthesisLib.training.crops import Crops  # noqa: E402
from MMHVAESynthesisLib.training.losses import l1_term, l2_term  # noqa: E402
from MMHVAESynthesisLib.training.running import run  # noqa: E402

TASKS = {"mr": ("mr", MR), "ius": ("sweep", (US,))}
"""Which kind of batches each task learns from, and its inputs, one of them at a time."""
_OWN_HEADS = 4
"""Of the cases that were trained on so many are measured."""
_METRICS = ("psnr", "ssim")


def _block(given, wanted):
    layers = []
    for count in (given, wanted):
        layers += [nn.Conv2d(count, wanted, 3, padding=1), nn.InstanceNorm2d(wanted), nn.SiLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Five sizes, two convolutions each. In: the image, its mask, and which of the inputs it is; out: all MR."""

    def __init__(self, inputs, width):
        super().__init__()
        widths = [width, 2 * width, 4 * width, 6 * width, 6 * width]
        self.down = nn.ModuleList(map(_block, [2 + len(inputs), *widths[:-1]], widths))
        self.up = nn.ModuleList(_block(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1]))
        self.out = nn.Conv2d(width, len(MR), 1)
        self.inputs = inputs

    def forward(self, image, modality):
        """(B, 1, S, S) -> ``{modality: (B, 1, S, S)}``, background where the input is."""
        mask = image > BACKGROUND
        which = image.new_zeros(len(image), len(self.inputs), *image.shape[2:])
        which[:, self.inputs.index(modality)] = 1
        features, kept = torch.cat([image, mask.float(), which], 1), []
        for level, block in enumerate(self.down):
            features = block(functional.avg_pool2d(features, 2) if level else features)
            kept.append(features)
        for block, skip in zip(self.up, kept[-2::-1]):
            features = functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
            features = block(torch.cat([features, skip], 1))
        images = torch.tanh(self.out(features)).masked_fill(~mask, BACKGROUND)
        return {name: images[:, number : number + 1] for number, name in enumerate(MR)}

    def images(self, batch, modality):
        """Return what it makes of a batch, as arrays."""
        with torch.no_grad():
            made = self.eval()(torch.from_numpy(batch.inputs[modality]), modality)
        return {name: image.numpy() for name, image in made.items()}


def measured(samples, inputs, images):
    """Return the table of one input to each other MR; ``images(sample, modality)`` makes them."""
    table, perceptual = Table(), Perceptual()
    for sample in samples:
        for modality in (each for each in inputs if each in sample.batch.inputs):
            made = images(sample, modality)
            for target in (each for each in MR if each != modality and each in sample.batch.targets):
                table.add((modality,), target, sample.batch.targets[target], made[target], perceptual)
    return table


def figures(table, inputs):
    """Return PSNR and SSIM of each target in words, the mean over the inputs, as ``evaluate`` takes it."""
    said = []
    for target in MR:
        means = [[table.mean((each,), target, metric) for each in inputs if each != target] for metric in _METRICS]
        said.append("/".join(f"{np.mean(values) * scale:.1f}" for values, scale in zip(means, (1, 100))))
    return " | ".join(said)


class Sides:
    """What is measured: held-out samples and some that were trained on."""

    def __init__(self, model, config, held_out, to_train, planes, task):
        self.inputs = TASKS[task][1]
        with tempfile.TemporaryDirectory() as folder:
            rest = (planes, Reporter("data limit", 1, None, None))
            self._judged = Evaluation(model, config, held_out, to_train, Path(folder), *rest)
            self._own = Evaluation(model, config, to_train[:_OWN_HEADS], to_train, Path(folder), *rest)
        self._is_mr = task == "mr"

    def _samples(self, evaluation):
        return evaluation.heads if self._is_mr else evaluation.sweeps

    def row(self, name, images):
        """Print a line of the table: held-out cases, then those trained on."""
        for where, evaluation in (("held out", self._judged), ("trained on", self._own)):
            table = measured(self._samples(evaluation), self.inputs, images)
            print(f"| {name} | {where} | {figures(table, self.inputs)} |", flush=True)

    def baselines(self):
        """Print the lines of what both have to beat."""
        for where, evaluation in (("held out", self._judged), ("trained on", self._own)):
            found = evaluation.polynomials() if self._is_mr else evaluation.depth_profiles()
            for fitted, table in found.items():
                what = "polynomial" if self._is_mr else "constant per depth"
                print(f"| {what}, fitted on the {fitted} | {where} | {figures(table, self.inputs)} |", flush=True)


def learn(network, crops, inputs, steps, every, report):
    """Train on the crops, the error that of the demonstrator; call ``report(step)`` every so many steps."""
    rng, loader = np.random.default_rng(0), Loader(crops, lambda index: index, 0)
    adam = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps, 1e-5)
    try:
        for step in range(1, steps + 1):
            batch = loader.take()
            here = [each for each in inputs if each in batch.inputs and set(batch.targets) & set(MR) - {each}]
            modality = here[int(rng.integers(len(here)))]
            made = network.train()(torch.from_numpy(batch.inputs[modality]), modality)
            wanted = {m: torch.from_numpy(t) for m, t in batch.targets.items() if m in MR and m != modality}
            adam.zero_grad()
            (0.3 * l1_term(made, wanted) + 6 * l2_term(made, wanted)).backward()
            adam.step()
            schedule.step()
            if step % every == 0 or step == steps:
                report(step)
    finally:
        loader.close()


def main(words=None):
    """Measure a model and a U-Net that is trained for the purpose."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="as training has it")
    parser.add_argument("--task", choices=sorted(TASKS), default="mr", help="from which inputs; default %(default)s")
    parser.add_argument("--model", help="name or file; default: the software's")
    parser.add_argument("--steps", type=int, default=9000, metavar="N", help="of the U-Net; default %(default)s")
    parser.add_argument("--every", type=int, default=3000, metavar="N", help="measured so often; default %(default)s")
    parser.add_argument("--slices", type=int, default=6, metavar="N", help="a step; default %(default)s")
    parser.add_argument("--width", type=int, default=16, metavar="N", help="of the U-Net; default %(default)s")
    parser.add_argument("--planes", type=int, default=16, metavar="N", help="a sweep or head; default %(default)s")
    args = parser.parse_args(words)
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    model = load(args.model)
    config = training_configuration(model)
    kind, inputs = TASKS[args.task]
    data = dataclasses.replace(config.data, kinds={kind: 1.0}, slices=args.slices, sampling="crops")
    config = dataclasses.replace(config, data=data)
    names = unseen.names(model)
    found = case_folders.load_all(case_folders.find(args.data, config.data.folders), data)
    complete = [case for case in found if set(MR) <= set(case.modalities)]
    held_out = [case for case in complete if case.name in names]
    to_train = [case for case in complete if case.name not in names]
    if not held_out or not to_train:
        raise SystemExit("There must be cases with all of T2, ceT1 and FLAIR, to train on and among those held out.")
    sides = Sides(model, config, held_out, to_train, args.planes, args.task)
    network = UNet(inputs, args.width)
    count = sum(parameter.numel() for parameter in network.parameters())
    print(f"{len(to_train)} cases to train on, {len(held_out)} held out; U-Net of {count / 1e6:.2f} M parameters.\n")
    print("| PSNR dB / SSIM % | cases | T2 | ceT1 | FLAIR |\n|---|---|---|---|---|")
    sides.baselines()
    sides.row(
        model.header.name, lambda sample, modality: run(model.network, sample.batch, (modality,), targets=MR).images
    )
    learn(
        network,
        Crops(to_train, config),
        inputs,
        args.steps,
        args.every,
        lambda step: sides.row(f"U-Net, {step} steps", lambda sample, modality: network.images(sample.batch, modality)),
    )


if __name__ == "__main__":
    main()
