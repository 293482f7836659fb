"""What --help says of the commands."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="not installed: torch")

from MMHVAESynthesisLib import __main__ as command_line  # noqa: E402
from MMHVAESynthesisLib.__main__ import COMMANDS, parser  # noqa: E402
from MMHVAESynthesisLib.errors import DependencyError  # noqa: E402


def options(command):
    (commands,) = (each for each in parser(command)._actions if isinstance(each, argparse._SubParsersAction))
    return {each.dest: each for each in commands.choices[command]._actions if each.dest != "help"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_is_and_what_it_is_by_default(command):
    for name, option in options(command).items():
        assert option.help, name
        is_value = option.nargs != 0 and option.default not in (None, (), argparse.SUPPRESS)
        assert not is_value or "default" in option.help, f"{name}: {option.help}"


@pytest.mark.parametrize("command", ["synthesize", "batch", "evaluate"])
def test_models_are_named_in_the_same_words_by_all(command):
    assert options(command)["model"].help == (
        "a model's name (see the command models) or its file; default: the one that models marks with *"
    )


def test_help_says_what_the_program_is_for():
    said = parser().format_help()
    assert "ultrasound" in said.split("positional arguments")[0] and "``" not in said


def test_the_temperature_of_a_batch_is_said_as_it_is():
    """With several samples it is 0.7 where cases are registered, too."""
    assert "of one sample" in options("batch")["temperature"].help


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["models", "--json"], []])
def test_without_a_package_a_sentence_says_what_to_install(words, tmp_path):
    """As with a Python that is not Slicer's."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nfrom importlib.abc import MetaPathFinder\n"
        "class None_(MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('SimpleITK', 'scipy'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, None_())\n",
        encoding="utf-8",
    )
    paths = os.pathsep.join([str(tmp_path), str(Path(command_line.__file__).parents[1])])
    command = [sys.executable, "-m", "MMHVAESynthesisLib", *words]
    ended = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == DependencyError.exit_code and "Traceback" not in ended.stderr
    assert "scipy, SimpleITK are not installed" in ended.stderr and "pip install scipy SimpleITK" in ended.stderr
