"""Pictures of the panel in its main states, and of the comparison, into Resources/Screenshots.

    python3 Testing/screenshots.py [MODEL]

Rendered outside Slicer: the real panel, scene, views and child process, with Qt's own looks in place of Slicer's. The
patient is a phantom, its ultrasound simulated. Without a model (its name in the catalogue, or a file) the network gets
random weights, and its images mean nothing.
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
WIDTH = 460
VIEW = 300


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
        for height in (200, None):
            parent.resize(WIDTH, height or parent.layout().heightForWidth(WIDTH))
            parent.show()
            for _ in range(5):
                qt.QCoreApplication.processEvents()
        parent.grab().save(str(OUTPUT / f"{name}.png"))

    def fold(self, *unfolded):
        """Fold all sections but some."""
        for name in ("inputs", "outputs", "settings", "advanced", "results", "registration"):
            getattr(self._panel.ui, f"{name}Button").collapsed = name not in unfolded


def wait(panel, until=lambda: False):
    """Work on until the job has ended, or something is so."""
    while panel.panel.work.is_running and not until():
        panel.panel.work._runner.poll()
        time.sleep(0.02)


def views_picture(slicer, layout, path):
    """Save what the views of the comparison show, side by side."""
    import vtk

    from slicer_headless import views

    tiles = []
    for name in layout.sliceViewNames():
        widget = layout.sliceWidget(name)
        if widget.mrmlSliceNode().IsMappedInLayout():
            volume = slicer.mrmlScene.GetNodeByID(widget.sliceLogic().GetSliceCompositeNode().GetBackgroundVolumeID())
            widget.write_in_corner(volume.GetName())
            tiles.append(vtk.vtkImageData())
            tiles[-1].DeepCopy(widget.picture())
    views._write(views._tiled(tiles, 4), path)


def main():
    """Take all pictures."""
    from slicer_headless import start

    slicer = start()
    import ctk  # noqa: F401
    import qt

    import demo
    from slicer_headless.modules import load_module, open_panel

    folder = Path(tempfile.mkdtemp(prefix="screenshots-"))
    os.environ["MMHVAE_MODELS_DIR"] = str(folder)
    model = sys.argv[1] if len(sys.argv) > 1 else Path(demo.untrained_model(folder)).name
    OUTPUT.mkdir(parents=True, exist_ok=True)
    module = load_module(ROOT / "MMHVAESynthesis" / "MMHVAESynthesis.py")
    qt.QSettings().clear()
    layout = slicer.app.layoutManager()
    layout.start((VIEW, VIEW))
    panel = open_panel(module)
    camera = Camera(panel)
    us, mr = demo.example()
    volume_node(slicer, us, "iUS before resection")
    for modality, image in mr.items():
        volume_node(slicer, image, f"preop {modality}")
    panel.panel.inputs.guess()
    for modality in mr:
        getattr(panel.ui, f"{modality}Selector").setCurrentNode(None)
    assert panel.panel.options.choose_model(model), f"no model {model}"
    panel.ui.guessState.setText("")
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
    camera.take("running")
    wait(panel)
    camera.fold("results")
    camera.take("results")
    panel.ui.compareButton.click()
    views_picture(slicer, layout, OUTPUT / "comparison.png")
    panel.ui.proposeButton.click()
    camera.fold("registration")
    camera.take("registration")
    panel.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
