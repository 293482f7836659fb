"""What the tests of the scene ask for by name; the library is imported when the scene is there."""

import importlib

import pytest


def _imported(name, attribute=None):
    """Return a fixture that is a module, or something in it."""

    @pytest.fixture
    def imported(scene):
        module = importlib.import_module(name)
        return module if attribute is None else getattr(module, attribute)

    return imported


scenes = _imported("scene.scenes")
made = _imported("scene.registered")
outputs = _imported("MMHVAESynthesisLib.scene.outputs")
provenance = _imported("MMHVAESynthesisLib.scene.provenance")
registration = _imported("MMHVAESynthesisLib.scene.registration")
plan = _imported("MMHVAESynthesisLib.scene.registration_plan", "plan")


@pytest.fixture
def pair(scenes):
    """A synthetic T2 and a pre-operative one, each at a place of its own."""
    synthetic = scenes.volume("US synthetic T2")
    synthetic.SetAttribute("MMHVAE.synthetic", "1")
    return synthetic, scenes.volume("Case1 T2", matrix=scenes.oblique(left_handed=True), seed=1)
