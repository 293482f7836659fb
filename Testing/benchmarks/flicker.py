"""Flicker through the plane: how much neighbouring synthetic slices differ, for each choice of noise.

    python Testing/benchmarks/flicker.py --us FILE [--model NAME|FILE] [--temperature 0.7]

Slices are synthesised one by one, so that noise drawn independently for each shows as flicker in the other two views
(directions.py says what slices across all three axes do about it; here they lie across one).
Printed for each target: the mean absolute difference of neighbouring slices within the field of view (grey values of
0 to 255), for temperature 0 (no noise: the anatomy's own change), shared and independent noise, and for comparison
the same of the input; with the ratio to temperature 0.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).parents[2] / "MMHVAESynthesis"))

from MMHVAESynthesisLib.modalities import label
from MMHVAESynthesisLib.request import NOISE_INDEPENDENT, NOISE_SHARED, ONE_DIRECTION, SynthesisRequest
from MMHVAESynthesisLib.synthesis.engine import synthesize
from MMHVAESynthesisLib.volumes.files import read


def flicker(image: sitk.Image) -> float:
    """Return the mean absolute difference of neighbouring slices where both show something."""
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    both = (values[1:] > 0) & (values[:-1] > 0)
    return float(np.abs(np.diff(values, axis=0))[both].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--us", required=True)
    parser.add_argument("--model")
    parser.add_argument("--temperature", type=float, default=0.7)
    args = parser.parse_args()
    us = read(args.us)
    settings = {
        "temperature 0": {"temperature": 0.0},
        NOISE_SHARED: {"temperature": args.temperature, "noise": NOISE_SHARED},
        NOISE_INDEPENDENT: {"temperature": args.temperature, "noise": NOISE_INDEPENDENT},
    }
    found = {
        name: synthesize(SynthesisRequest({"us": us}, model=args.model, directions=ONE_DIRECTION, **setting)).images
        for name, setting in settings.items()
    }
    sys.stdout.write(
        f"input iUS: {flicker(us):.2f}\n| target | {' | '.join(settings)} |\n|---|{'---|' * len(settings)}\n"
    )
    for target in found["temperature 0"]:
        values = [flicker(images[target]) for images in found.values()]
        cells = [f"{value:.2f} ({value / values[0]:.2f}x)" for value in values]
        sys.stdout.write(f"| {label(target)} | {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
