"""What Slicer packages is what is in the tree, and the tree is fit to be a repository of Slicer's catalogue."""

import ast
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from extension.update_file_lists import MODULE, RESOURCES, SCRIPTS, listed, packaged

ROOT = Path(__file__).resolve().parents[2]
PACKAGED_SCRIPTS = packaged()[SCRIPTS]
LARGEST_FILE = 10 * 2**20
LARGEST_REPOSITORY = 100 * 2**20
MOST_LINES = 500


def png_size(path):
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n", path
    return struct.unpack(">II", header[16:24])


@pytest.mark.parametrize("name", [SCRIPTS, RESOURCES])
def test_cmake_lists_every_file_of_the_module_and_nothing_else(name):
    in_cmake = listed((MODULE / "CMakeLists.txt").read_text(encoding="utf-8"), name)
    assert in_cmake == packaged()[name], "run: python3 Testing/extension/update_file_lists.py"


def test_packaged_files_have_the_endings_that_slicer_expects():
    endings = {Path(name).suffix for files in packaged().values() for name in files}
    assert endings <= {".py", ".ui", ".png", ".svg", ".json", ".txt", ".safetensors", ".md"}


def test_no_python_file_lies_beside_the_module():
    assert [path.name for path in MODULE.glob("*.py")] == ["MMHVAESynthesis.py"], "Slicer takes each for a module"


def test_every_room_is_a_package():
    rooms = {(MODULE / name).parent for name in PACKAGED_SCRIPTS} - {MODULE}
    assert [room.name for room in rooms if not (room / "__init__.py").is_file()] == []


@pytest.mark.parametrize("name", PACKAGED_SCRIPTS)
def test_packaged_scripts_are_python_3_9(name):
    ast.parse((MODULE / name).read_text(encoding="utf-8"), name, feature_version=(3, 9))


def test_scripts_that_a_built_slicer_tests_lie_beside_their_cmake_file():
    """Slicer looks for a script with a relative folder from wherever ctest runs, and does not find it."""
    script, scripts = re.compile(r"slicer_add_python_\w*test\(\s*SCRIPT\s+([^\s)]+)"), []
    for path in [ROOT / "CMakeLists.txt", *MODULE.rglob("CMakeLists.txt"), *(ROOT / "Testing").rglob("CMakeLists.txt")]:
        text = path.read_text(encoding="utf-8").replace("${MODULE_NAME}", MODULE.name)
        names = script.findall(text)
        assert [name for name in names if not (path.parent / name).is_file()] == [], path
        scripts += names
    assert sorted(scripts) == ["MMHVAELibraryTest.py", "MMHVAESynthesis.py"], "a script has a relative folder"


def test_every_folder_with_tests_for_a_built_slicer_is_added():
    for path in (ROOT / "Testing").rglob("CMakeLists.txt"):
        above = (path.parents[1] / "CMakeLists.txt").read_text(encoding="utf-8")
        assert f"add_subdirectory({path.parent.name})" in above


def test_requirements_for_slicer_leave_its_own_packages_alone():
    lines = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = {re.match(r"[\w-]+", line).group().lower() for line in lines if line and not line.startswith("#")}
    assert names >= {"torch"}
    assert not names & {"numpy", "simpleitk", "scipy", "vtk", "pyside6", "pyside6-essentials"}


def test_icons_have_the_size_that_slicer_wants():
    assert png_size(ROOT / "Resources" / "MMHVAE.png") == (128, 128)
    assert png_size(MODULE / "Resources" / "Icons" / "MMHVAESynthesis.png") == (128, 128)


def test_licence_is_the_whole_apache_2_0():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "Version 2.0, January 2004" in text
    assert "9. Accepting Warranty or Additional Liability" in text and "END OF TERMS AND CONDITIONS" in text


def test_no_file_is_too_large(tracked_files):
    sizes = {path: path.stat().st_size for path in tracked_files}
    assert [str(path) for path, size in sizes.items() if size > LARGEST_FILE] == []
    assert sum(sizes.values()) < LARGEST_REPOSITORY


def test_text_files_have_unix_line_ends_and_end_with_one(tracked_texts):
    assert [name for name, text in tracked_texts.items() if "\r" in text] == []
    assert [name for name, text in tracked_texts.items() if text and not text.endswith("\n")] == []


def test_names_of_files_differ_in_more_than_case(tracked_files):
    lower = [str(path).lower() for path in tracked_files]
    assert len(set(lower)) == len(lower), "Windows and macOS take such names for one file"


def test_no_absolute_path_of_somebodys_machine_is_in_the_tree(tracked_texts):
    personal = re.compile(r"(?<![\w.])/(?:" + "work|home|Users|root" + r")/[\w.]|[A-Z]:\\Users")
    assert [name for name, text in tracked_texts.items() if personal.search(text)] == []


def test_no_python_file_is_longer_than_a_person_reads(tracked_texts):
    lengths = {name: text.count("\n") for name, text in tracked_texts.items() if name.endswith(".py")}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_finds_nothing(command):
    pytest.importorskip("ruff", reason="ruff is not installed")
    environment = {**os.environ, "RUFF_NO_CACHE": "true"}
    run = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
