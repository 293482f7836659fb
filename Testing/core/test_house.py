"""Who may know whom: the imports of each room, read from its files."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "MMHVAESynthesis" / "MMHVAESynthesisLib"
FILES = sorted(path.relative_to(LIBRARY) for path in LIBRARY.rglob("*.py"))

SLICER = {"slicer", "vtk", "qt", "ctk", "SampleData", "PyTorchUtils"}
ROOMS_OF_SLICER = {"scene", "app"}
ROOMS_OF_TORCH = {"network", "synthesis", "registration", "training", "evaluation", "models"}


def imported(path):
    """Return the top-level packages that a file imports, and the rooms of this library."""
    packages, rooms = set(), set()
    for node in ast.walk(ast.parse((LIBRARY / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            packages.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            packages.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.level == len(path.parts):
            rooms.update([node.module.split(".")[0]] if node.module else [alias.name for alias in node.names])
    return packages, rooms


def room(path):
    return path.parts[0] if len(path.parts) > 1 else path.stem


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_room_knows_what_it_may(path):
    packages, rooms = imported(path)
    if room(path) not in ROOMS_OF_SLICER:
        assert not packages & SLICER
        assert not rooms & ROOMS_OF_SLICER
    if room(path) not in ROOMS_OF_TORCH:
        assert "torch" not in packages
    if room(path) == "network":
        assert packages.isdisjoint({"SimpleITK", "numpy", "scipy"})
        assert rooms <= {"errors", "modalities"}
    if room(path) == "training":
        assert "evaluation" not in rooms
    if room(path) == "volumes":
        assert packages.isdisjoint({"torch", "scipy"})
        assert rooms <= {"errors", "modalities", "paths"}


def test_the_rooms_that_the_rules_name_exist():
    rooms = {room(path) for path in FILES}
    assert rooms >= ROOMS_OF_SLICER | ROOMS_OF_TORCH | {"volumes"}
