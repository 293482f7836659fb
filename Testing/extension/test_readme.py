"""What the README says exists."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_pictures_and_files_that_it_links_are_there():
    targets = re.findall(r"\]\(([^)]+)\)", README)
    local = [target for target in targets if not target.startswith("https://")]
    assert local
    assert [target for target in local if not (ROOT / target).exists()] == []


def test_files_and_folders_that_it_names_are_there():
    named = set(re.findall(r"`((?:Testing|MMHVAESynthesis|MMHVAESynthesisLib|Resources)/[\w./]*)", README))
    homes = (ROOT, ROOT / "MMHVAESynthesis")
    assert named
    assert [name for name in named if not any((home / name).exists() for home in homes)] == []


def test_commands_of_the_set_up_script_are_its_commands():
    usage = subprocess.run(
        [sys.executable, "Testing/run.py", "--help"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    named = set(re.findall(r"python3 Testing/run\.py (\w+)", README))
    assert named >= {"demo", "test"}
    assert named <= set(re.findall(r"run\.py (\w+)", usage))


def commands():
    """The command lines of the library in the README: ``[(command, its options)]``."""
    blocks = re.findall(r"(?:python|PythonSlicer) -m MMHVAESynthesisLib (\w+)((?:[^\n]*\\\n)*[^\n]*)", README)
    return [(command, sorted(set(re.findall(r"--[\w-]+", options)))) for command, options in blocks]


def test_there_is_a_command_line():
    assert commands()


@pytest.mark.parametrize("command, options", commands())
def test_options_of_the_command_line_exist(command, options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "MMHVAESynthesis")}
    line = [sys.executable, "-m", "MMHVAESynthesisLib", command, "--help"]
    run = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert [option for option in options if option not in run.stdout] == []


PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", PYTHON)
def test_python_calls_of_the_logic_have_the_words_that_it_takes(block):
    module = ast.parse((ROOT / "MMHVAESynthesis" / "MMHVAESynthesis.py").read_text(encoding="utf-8"))
    logic = next(each for each in module.body if getattr(each, "name", "") == "MMHVAESynthesisLogic")
    takes = {each.name: [arg.arg for arg in each.args.args] for each in logic.body if isinstance(each, ast.FunctionDef)}
    settings = {"targets", "samples", "seed", "register"}
    for call in (each for each in ast.walk(ast.parse(block)) if isinstance(each, ast.Call)):
        if isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "logic":
            assert {word.arg for word in call.keywords} <= {*takes[call.func.attr], *settings}


def test_python_imports_of_the_library_are_there():
    imports = {
        line for block in PYTHON for line in block.splitlines() if "import" in line and "MMHVAESynthesisLib" in line
    }
    assert len(imports) >= 2
    code = "\n".join(sorted(imports)).replace("from MMHVAESynthesisLib.scene.registration import undo", "")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "MMHVAESynthesis")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_samples_that_it_names_are_registered():
    text = (ROOT / "MMHVAESynthesis" / "MMHVAESynthesisLib" / "scene" / "sample_data.py").read_text(encoding="utf-8")
    named = re.findall(r'downloadSamples\("([^"]+)"\)', README)
    assert named and all(f'"{name}"' in text for name in named)
