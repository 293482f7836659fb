from scene.fixtures import made, outputs, pair, plan, provenance, registration, scenes  # noqa: F401
from slicer_headless.fixtures import main_window, scene, slicer  # noqa: F401
