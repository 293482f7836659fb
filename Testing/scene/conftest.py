from scene.fixtures import made, plan, registration, scenes  # noqa: F401
from slicer_headless.fixtures import scene, slicer  # noqa: F401
