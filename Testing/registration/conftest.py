import pytest

from slicer_headless.fixtures import scene, slicer  # noqa: F401

from . import phantom


@pytest.fixture(scope="module")
def head():
    """A small head."""
    return phantom.head(size=80)


@pytest.fixture(scope="module")
def field(head):
    """A field of view in it."""
    return phantom.field(head, size=(32, 30, 28))
