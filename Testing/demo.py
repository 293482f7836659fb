"""The main job on an example: a simulated ultrasound sweep in a MRML scene, synthetic MR and uncertainty beside it.

Run by ``python3 Testing/run.py demo``. The patient is a procedural phantom, the ultrasound is simulated from it; scene,
volume nodes and the module's logic are those that run in Slicer. Leaves volumes, a scene and a picture in demo-output.
"""

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "MMHVAESynthesis"), str(ROOT / "Testing")]

OUTPUT = ROOT / "demo-output"
SEED = 0
SAMPLES = 3
PATIENT, SWEEP = 4, 1
"""Seeds of the phantom and of the probe's sweep over it."""


def example():
    """Return the simulated iUS of the phantom, and the phantom's MR: ``(image, {modality: image})``."""
    from MMHVAESynthesisLib.ultrasound.phantom import phantom
    from MMHVAESynthesisLib.ultrasound.simulate import CONTRASTS, simulate_sweep

    patient = phantom(PATIENT)
    mr = {modality: patient[modality] for modality in CONTRASTS}
    return simulate_sweep(mr, SWEEP, label=patient["label"]).us, mr


def untrained_model(folder):
    """Write a network of the demonstrator's size with seeded random weights, and return the file."""
    import torch

    from MMHVAESynthesisLib.models.checkpoint import save
    from MMHVAESynthesisLib.models.header import ModelHeader
    from MMHVAESynthesisLib.network.model import MMHVAE
    from MMHVAESynthesisLib.network.sizes import NetworkSizes

    sizes = NetworkSizes(size=96, max_features=64, halvings=5, decoder_blocks=4)
    torch.manual_seed(SEED)
    header = ModelHeader(name="untrained", sizes=sizes, spacing=1.0, training={"steps": 0, "weights": "random"})
    path = folder / "untrained.safetensors"
    save(path, header, MMHVAE(sizes))
    return path


def model(folder):
    """Return the model to ask for and whether it is trained: the default one, else random weights in ``folder``."""
    from MMHVAESynthesisLib.models.catalogue import default_name

    name = default_name()
    return (name, True) if name else (str(untrained_model(folder)), False)


def show_progress(progress):
    """Write one report over the last one."""
    left = "" if progress.seconds_left is None else f", {progress.seconds_left:.0f} s left"
    end = "\n" if progress.done == progress.total else ""
    print(f"\r  {progress.stage}: {progress.done} of {progress.total}{left}   ", end=end, flush=True)


def synthesize(slicer, module, file, name):
    """Load the ultrasound into the scene, run the module's logic, and return ``(input node, {modality: node})``."""
    source = slicer.util.loadVolume(str(file), {"name": "iUS"})
    progress = show_progress if sys.stdout.isatty() else None
    logic = module.MMHVAESynthesisLogic()
    return source, logic.synthesize({"us": source}, model=name, samples=SAMPLES, seed=SEED, progress=progress)


def save_scene(slicer, outputs):
    """Save each synthetic volume, each uncertainty map and the scene; return the files."""
    from MMHVAESynthesisLib.modalities import label
    from MMHVAESynthesisLib.scene.provenance import uncertainty_node

    files = []
    for modality, node in outputs.items():
        for suffix, volume in (("", node), ("-uncertainty", uncertainty_node(node))):
            # As the command line calls them: by such names what is loaded again is known to be synthetic.
            files.append(OUTPUT / f"iUS_synthetic-{label(modality)}{suffix}.nrrd")
            files[-1].unlink(missing_ok=True)
            slicer.util.saveNode(volume, str(files[-1]), {})
    files.append(OUTPUT / "demo.mrb")
    if not slicer.util.saveScene(str(files[-1]), {}):
        raise SystemExit(f"demo: the scene cannot be saved as {files[-1]}")
    return files


def planes(volume, centre):
    """Return the three planes of an array (k, j, i) through ``centre``."""
    return [volume.take(index, axis=axis) for axis, index in enumerate(centre)]


def truth(mr, image):
    """Return the phantom's own MR on the grid of the ultrasound, within its field: ``{modality: (k, j, i)}``."""
    import SimpleITK as sitk

    inside = sitk.GetArrayViewFromImage(image) > 0
    return {m: sitk.GetArrayFromImage(sitk.Resample(volume, image)) * inside for m, volume in mr.items()}


def picture(volumes, spacing, own_mr, trained):
    """Draw volumes in three planes, one a column, and below each of the phantom's own in the first plane.

    :param volumes: ``{title: (array (k, j, i), modality, colours)}``, the input first.
    :param spacing: mm, (k, j, i).
    :return: The file.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    first = next(iter(volumes.values()))[0]
    centre = [int(round(index)) for index in np.argwhere(first > 0).mean(axis=0)]
    aspects = [spacing[1] / spacing[2], spacing[0] / spacing[2], spacing[0] / spacing[1]]
    figure, axes = plt.subplots(4, len(volumes), figsize=(2.2 * len(volumes), 9), facecolor="black")
    for axis in axes.flat:
        axis.axis("off")

    def draw(row, column, plane, volume, aspect, colours, title=""):
        # A flat volume is shown grey, not white.
        middle, bright = np.percentile(volume[volume > 0], (50, 98))
        top = max(bright, 1.6 * middle)
        axes[row, column].imshow(plane, cmap=colours, vmin=0, vmax=top, aspect=aspect)
        axes[row, column].set_title(title, color="white", fontsize=10)

    for column, (title, (volume, modality, colours)) in enumerate(volumes.items()):
        for row, plane in enumerate(planes(volume, centre)):
            draw(row, column, plane, volume, aspects[row], colours, "" if row else title)
        if modality in own_mr and colours == "gray":
            own = own_mr[modality]
            draw(3, column, planes(own, centre)[0], own, aspects[0], colours, "for comparison:\nthe phantom's own")
    words = "Example of a phantom; not for clinical use."
    if not trained:
        words += "\nUNTRAINED network (random weights): this shows that the software runs, not what the method can do."
    figure.suptitle(words, color="orange", fontsize=11)
    figure.tight_layout()
    file = OUTPUT / "demo.png"
    figure.savefig(file, dpi=100, facecolor="black")
    return file


def volumes_to_show(slicer, source, outputs):
    """Return what :func:`picture` draws: the input, the synthetic volumes and one uncertainty map."""
    from MMHVAESynthesisLib.modalities import label
    from MMHVAESynthesisLib.scene.provenance import uncertainty_node

    array = slicer.util.arrayFromVolume
    shown = {"iUS (input, simulated)": (array(source), "us", "gray")}
    for modality, node in outputs.items():
        shown[f"SYNTHETIC {label(modality)}"] = (array(node), modality, "gray")
    mapped = "t2" if "t2" in outputs else next(iter(outputs))
    uncertainty = array(uncertainty_node(outputs[mapped]))
    shown[f"SYNTHETIC {label(mapped)}:\nuncertainty"] = (uncertainty, mapped, "inferno")
    return shown


def demonstrate(slicer):
    """Do the main job on the example; return the files that it left."""
    from MMHVAESynthesisLib.volumes import files
    from slicer_headless.modules import load_module

    module = load_module(ROOT / "MMHVAESynthesis" / "MMHVAESynthesis.py")
    print("Simulating an ultrasound sweep of a phantom ...")
    image, mr = example()
    written = [OUTPUT / "iUS_simulated.nrrd", *(OUTPUT / f"phantom_{modality}.nrrd" for modality in mr)]
    for volume, file in zip([image, *mr.values()], written):
        files.write(volume, file)
    name, trained = model(OUTPUT)
    if not trained:
        print("No trained model comes with this version: the network gets RANDOM weights, and its images mean nothing.")
    print(f"Synthesising with {name}, {SAMPLES} samples ...")
    source, outputs = synthesize(slicer, module, written[0], name)
    written += save_scene(slicer, outputs)
    shown = volumes_to_show(slicer, source, outputs)
    return [*written, picture(shown, source.GetSpacing()[::-1], truth(mr, image), trained)]


def main():
    """Run the demonstration and name what it left."""
    from slicer_headless import missing, start

    reason = missing()
    if reason:
        raise SystemExit(f"demo: {reason}")
    begin = time.monotonic()
    OUTPUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mmhvae-demo-", ignore_cleanup_errors=True) as temporary:
        written = demonstrate(start(temporary))
    print(f"Done in {time.monotonic() - begin:.0f} s. Written:")
    for file in written:
        print(f"  {file}")


if __name__ == "__main__":
    main()
