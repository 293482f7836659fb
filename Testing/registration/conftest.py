from slicer_headless.fixtures import scene, slicer  # noqa: F401
