"""Make the example case of Slicer's module Sample Data, in Resources/SampleData, and its thumbnails.

    python3 Testing/sample_data.py

A simulated ultrasound sweep of the demonstration's phantom, and the phantom's MR as if taken before the operation: the
head lay elsewhere by :data:`TURN` and :data:`SHIFT`, and the grid is along the axes of that head. What is printed
belongs into ``scene/sample_data.py``. Slicer asks the repository's main branch for the files, and so do older versions
of the module: a file that changes needs a new name.
"""

import hashlib
import math
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "MMHVAESynthesis"), str(ROOT / "Testing")]

TURN = (5.0, -4.0, 9.0)
"""Degrees about x, then y, then z (LPS), about the middle of the phantom."""
SHIFT = (7.0, -6.0, 8.0)
"""Millimetres, after the turn."""
US_SPACING, MR_SPACING = 0.65, 1.35
"""Millimetres."""
LARGEST = 2120.0
"""The phantom's MR value that becomes 255."""


def displacement():
    """Return the rigid transform that takes a point of the phantom (mm, LPS) to where the pre-operative MR has it."""
    import SimpleITK as sitk

    # Euler3DTransform turns about z, then x, then y unless told otherwise.
    transform = sitk.Euler3DTransform()
    transform.SetComputeZYX(True)
    transform.SetRotation(*map(math.radians, TURN))
    transform.SetTranslation(SHIFT)
    return transform


def preoperative(image):
    """Return a phantom's MR as taken before the operation: uint8, :data:`MR_SPACING` mm, displaced."""
    import numpy as np
    import SimpleITK as sitk

    size = [int(np.ceil(n * s / MR_SPACING)) for n, s in zip(image.GetSize(), image.GetSpacing())]
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing([MR_SPACING] * 3)
    grid.SetOrigin([-(n - 1) * MR_SPACING / 2 for n in size])
    brain = sitk.Resample(image > 0, grid, sitk.Transform(), sitk.sitkNearestNeighbor)
    values = sitk.GetArrayFromImage(
        sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    )
    inside = sitk.GetArrayViewFromImage(brain) > 0
    grey = np.where(inside, np.clip(np.rint(values * (255 / LARGEST)), 1, 255), 0).astype(np.uint8)
    moved = sitk.GetImageFromArray(grey)
    moved.CopyInformation(grid)
    transform = displacement()
    moved.SetOrigin(transform.TransformPoint(grid.GetOrigin()))
    moved.SetDirection(transform.GetMatrix())
    return moved


def volumes():
    """Return the example case: ``{modality: image}``."""
    from demo import PATIENT, SWEEP
    from MMHVAESynthesisLib.ultrasound.phantom import phantom
    from MMHVAESynthesisLib.ultrasound.simulate import CONTRASTS, simulate_sweep

    patient = phantom(PATIENT)
    mr = {modality: patient[modality] for modality in CONTRASTS}
    ultrasound = simulate_sweep(mr, SWEEP, label=patient["label"], spacing=US_SPACING).us
    return {"us": ultrasound, **{modality: preoperative(image) for modality, image in mr.items()}}


def thumbnail(image, plane, file):
    """Draw one plane of a volume, 260 x 280 pixels, grey."""
    import numpy as np
    import SimpleITK as sitk

    height, width = 280, 260
    axis, index = plane
    shown = np.take(sitk.GetArrayViewFromImage(image), index, axis=axis)
    shown = shown if axis == 0 else shown[::-1]
    rows, columns = (np.flatnonzero(shown.any(axis=1 - each)) for each in (0, 1))
    shown = shown[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    source = sitk.GetImageFromArray(shown.astype(np.float32))
    step = max(shown.shape[0] / (height - 16), shown.shape[1] / (width - 16))
    middle = [(n - 1) / 2 for n in source.GetSize()]
    origin = [m - step * (n - 1) / 2 for m, n in zip(middle, (width, height))]
    drawn = sitk.Resample(source, [width, height], sitk.Transform(), sitk.sitkLinear, origin, [step, step])
    white = float(np.percentile(shown[shown > 0], 99.5))
    grey = np.clip(sitk.GetArrayFromImage(drawn) * (255 / white), 0, 255).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(grey), str(file))


def main():
    """Write files and thumbnails and print the files' digests."""
    from MMHVAESynthesisLib.scene import sample_data
    from MMHVAESynthesisLib.volumes import files

    made = volumes()
    folder = ROOT / "Resources" / "SampleData"
    folder.mkdir(exist_ok=True)
    for sample in sample_data.SAMPLES:
        for each in sample.files:
            path = files.write(made[each.modality], folder / each.name)
            print(f"{each.name} {path.stat().st_size} bytes, SHA256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
    middle = made["cet1"].GetSize()[2] * 2 // 3
    thumbnail(made["us"], (0, made["us"].GetSize()[2] // 2), sample_data.ICONS / sample_data.SAMPLES[0].thumbnail)
    thumbnail(made["cet1"], (0, middle), sample_data.ICONS / sample_data.SAMPLES[1].thumbnail)


if __name__ == "__main__":
    main()
