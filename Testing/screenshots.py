"""Pictures of the panel in its main states, and of the views, into Resources/Screenshots; their caption in the README.

    python3 Testing/screenshots.py [MODEL]

Rendered outside Slicer: the real panel, scene, views and child process, with Qt's own looks in place of Slicer's. The
patient is a phantom, its ultrasound simulated. MODEL is a model's name in the catalogue, or a file; else the default
model is taken, and where there is none the network gets random weights, and its images mean nothing.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "MMHVAESynthesis"), str(ROOT / "Testing")]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

OUTPUT = ROOT / "Resources" / "Screenshots"
README = ROOT / "README.md"
CAPTION = "<!-- caption of the pictures: written by Testing/screenshots.py -->\n"
WIDTH = 440
VIEW = 300
DISPLACEMENT = (4.0, (3.0, -5.0, 4.0))
"""By how much the pre-operative MR lies wrong: degrees about an oblique axis, and mm."""


def volume_node(slicer, image, name):
    """Add an image to the scene as a volume node."""
    import numpy as np
    import SimpleITK as sitk

    to_ras = np.eye(4)
    to_ras[:3, :3] = np.diag([-1, -1, 1]) @ np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    to_ras[:3, 3] = np.array(image.GetOrigin()) * (-1, -1, 1)
    return slicer.util.addVolumeFromArray(sitk.GetArrayFromImage(image), to_ras, name)


class Camera:
    """Takes pictures of one panel."""

    def __init__(self, panel):
        self._panel = panel

    def take(self, name):
        import qt

        parent = self._panel.parent
        # Texts that wrap find their height only in a window of the final width, and then only step by step.
        wrapping = [label for label in parent.findChildren(qt.QLabel) if label.wordWrap]
        height, heights = 2000, []
        while heights[-3:] != [height] * 3:
            heights.append(height)
            parent.resize(WIDTH, height)
            parent.show()
            for _ in range(5):
                qt.QCoreApplication.processEvents()
            height = parent.layout().totalHeightForWidth(WIDTH)
            # In Slicer's side panel, which scrolls, labels get the height that they need at their width.
            for label in wrapping:
                label.setMinimumHeight(max(0, label.heightForWidth(label.width)))
        picture = parent.grab()
        for label in wrapping:
            label.setMinimumHeight(0)
        assert picture.width() == WIDTH, f"{name}: the panel is too wide for Slicer's side panel"
        picture.save(str(OUTPUT / f"{name}.png"))

    def fold(self, *unfolded):
        """Fold all sections but some."""
        for name in ("inputs", "outputs", "settings", "advanced", "results", "registration"):
            getattr(self._panel.ui, f"{name}Button").collapsed = name not in unfolded


def wait(panel, until=lambda: False):
    """Work on until the job has ended, or something is so."""
    while panel.panel.work.is_running and not until():
        panel.panel.work._runner.poll()
        time.sleep(0.02)


def views_picture(slicer, layout, path, names=None):
    """Save what the views in the layout show, side by side, with the name of each one's background volume."""
    import vtk

    from slicer_headless import views

    tiles = []
    for name in names or layout.sliceViewNames():
        widget = layout.sliceWidget(name)
        if widget.mrmlSliceNode().IsMappedInLayout():
            volume = slicer.mrmlScene.GetNodeByID(widget.sliceLogic().GetSliceCompositeNode().GetBackgroundVolumeID())
            widget.write_in_corner(volume.GetName())
            tiles.append(vtk.vtkImageData())
            tiles[-1].DeepCopy(widget.picture())
    views._write(views._tiled(tiles, 4), path)


def chosen_model(folder):
    """Return what to choose in the panel (None for the default), and what the caption says of it."""
    import demo
    from MMHVAESynthesisLib.models.catalogue import default_name

    if len(sys.argv) > 1:
        return sys.argv[1], f"model `{Path(sys.argv[1]).name}`"
    if default_name() is not None:
        return None, f"model `{default_name()}`"
    return Path(
        demo.untrained_model(folder)
    ).name, "untrained network (random weights), so that the images mean nothing"


def write_caption(model):
    """Put the caption into the README wherever it marks the place."""
    text = README.read_text(encoding="utf-8")
    head, *places = text.split(CAPTION)
    caption = f"*Rendered outside Slicer, by `Testing/screenshots.py`; phantom with simulated ultrasound; {model}.*\n"
    README.write_text("".join([head, *(CAPTION + caption + place.partition("\n")[2] for place in places)]), "utf-8")


def load_samples(slicer):
    """Load the example case of the module Sample Data, as a user would; return whether there is one."""
    names = {file.stem.rpartition("-")[2]: file for file in sorted((ROOT / "Resources" / "SampleData").glob("*.nrrd"))}
    for name, file in names.items():
        slicer.util.loadVolume(str(file), {"name": "Phantom iUS" if name == "iUS" else f"Phantom preop {name}"})
    return bool(names)


def load_phantom(slicer):
    """Load the phantom's ultrasound and its MR, which lies where a navigation that is wrong would put it."""
    import vtk

    import demo

    us, mr = demo.example()
    volume_node(slicer, us, "Phantom iUS")
    placement = vtk.vtkTransform()
    placement.Translate(*DISPLACEMENT[1])
    placement.RotateWXYZ(DISPLACEMENT[0], 1, 2, -1)
    navigation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Navigation")
    navigation.SetMatrixTransformToParent(placement.GetMatrix())
    for modality, image in mr.items():
        node = volume_node(slicer, image, f"Phantom preop {modality}")
        node.SetAndObserveTransformNodeID(navigation.GetID())


def main():
    """Take all pictures."""
    from slicer_headless import start

    slicer = start()
    import ctk  # noqa: F401
    import qt

    from slicer_headless.modules import load_module, open_panel

    folder = Path(tempfile.mkdtemp(prefix="screenshots-"))
    os.environ["MMHVAE_MODELS_DIR"] = str(folder)
    model, said_of_model = chosen_model(folder)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    module = load_module(ROOT / "MMHVAESynthesis" / "MMHVAESynthesis.py")
    qt.QSettings().clear()
    # Nobody is here to be asked, about the model's licence for instance.
    slicer.util.confirmOkCancelDisplay = lambda *_, **__: True
    layout = slicer.app.layoutManager()
    layout.start((VIEW, VIEW))
    panel = open_panel(module)
    camera = Camera(panel)
    without_torch(panel, camera)
    run(slicer, layout, panel, camera, model)
    register(slicer, layout, panel, camera)
    panel.cleanup()
    shutil.rmtree(folder, ignore_errors=True)
    write_caption(said_of_model)


def without_torch(panel, camera):
    """The panel in a Slicer without PyTorch."""
    from MMHVAESynthesisLib import dependencies

    panel.panel._torch = dependencies._MISSING
    panel.panel.update()
    camera.fold()
    camera.take("pytorch")
    panel.panel._torch = ""


def run(slicer, layout, panel, camera, model):
    """From what is loaded to results and their comparison."""
    if not load_samples(slicer):
        load_phantom(slicer)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "Tractography")
    panel.panel.inputs.guess()
    assert panel.panel.options.choose_model(model), f"no model {model}"
    panel.ui.uncertaintyCheckBox.checked = True
    panel.ui.samplesSpinBox.value = 2
    camera.fold("inputs", "outputs", "settings")
    camera.take("panel")
    panel.ui.previewButton.click()
    wait(panel)
    camera.fold("inputs")
    camera.take("preview")
    panel.ui.applyButton.click()
    wait(panel, lambda: panel.panel.work._runner.job.progress and panel.panel.work._runner.job.progress.done > 5)
    camera.fold("outputs")
    camera.take("running")
    wait(panel)
    camera.fold("results")
    camera.take("results")
    panel.ui.compareButton.click()
    views_picture(slicer, layout, OUTPUT / "comparison.png")
    panel.ui.formerLayoutButton.click()


def register(slicer, layout, panel, camera):
    """The registration, and the checkerboard before and after it."""
    import qt

    camera.fold("registration")
    items = panel.ui.alsoList
    for row in range(items.count):
        items.item(row).setCheckState(qt.Qt.Checked)
    panel.ui.registerButton.click()
    wait(panel)
    assert panel.panel.registration._last() is not None, panel.ui.statusLabel.text
    camera.take("registration")
    panel.ui.lookSelector.currentIndex = 1
    first = layout.sliceViewNames()[0]
    logic = layout.sliceWidget(first).sliceLogic()
    logic.GetSliceNode().RotateToVolumePlane(panel.ui.t2Synthetic.currentNode())
    logic.FitSliceToBackground()
    logic.SnapSliceOffsetToIJK()
    for name, before in (("before", True), ("after", False)):
        panel.ui.beforeCheckBox.checked = before
        views_picture(slicer, layout, OUTPUT / f"checkerboard-{name}.png", [first])


if __name__ == "__main__":
    main()
