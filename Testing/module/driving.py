"""How the tests work the panel, and the views."""

from contextlib import contextmanager


@contextmanager
def marks_on_views(module):
    """Have the marks put on the views as at Slicer's start."""
    from MMHVAESynthesisLib.scene import annotations

    module.prepareViews()
    yield
    annotations.uninstall()


def choose_file(panel, path):
    """Choose a model file."""
    panel.ui.modelSelector.currentIndex = panel.ui.modelSelector.count - 1
    panel.ui.modelPath.currentPath = path


def poll(panel):
    """Do what the timer does."""
    if panel.panel is not None:  # else it is gone, and its work with it
        panel.panel.work._runner.poll()


def settle():
    """Let Slicer handle what is due once the work of the moment is done."""
    import qt

    for _ in range(3):
        qt.QCoreApplication.processEvents()


def apply(panel):
    """Press Apply."""
    assert panel.ui.applyButton.text == "Apply"
    panel.ui.applyButton.click()


def cancel(panel):
    """Press Cancel, later than a double click would."""
    panel.panel.work._clickable -= 10
    assert panel.ui.applyButton.text == "Cancel"
    panel.ui.applyButton.click()


def finish(panel, child, targets=("t2", "cet1", "flair"), uncertainty=False, **provenance):
    """Let the child end with random volumes on the grid of the chosen ultrasound."""
    from scene import scenes

    made = scenes.result({"us": panel.ui.usSelector.currentNode()}, targets, 2 if uncertainty else 1)
    settings = {"model": "m", "temperature": 0.7, "samples": 2 if uncertainty else 1, "seed": 0, **provenance}
    child.finish(made.images, made.uncertainty, **settings)
    poll(panel)
    return made
