"""What the tests of the scene ask for by name; the library is imported when the scene is there."""

import pytest


@pytest.fixture
def scenes(scene):
    from scene import scenes

    return scenes


@pytest.fixture
def made(scene):
    from scene import registered

    return registered


@pytest.fixture
def registration(scene):
    from MMHVAESynthesisLib.scene import registration

    return registration


@pytest.fixture
def plan(scene):
    from MMHVAESynthesisLib.scene.registration_plan import plan

    return plan
