"""The script that sets everything up: what it says where it cannot work, and that it works only once."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "run.py"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """The script as a module, with its environments in a folder of the test."""
    specification = importlib.util.spec_from_file_location("run_script", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "ENVIRONMENTS", str(tmp_path / "environments"))
    return module


@pytest.fixture
def environment(run, tmp_path, monkeypatch):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# nothing\n", encoding="utf-8")
    environment = run.Environment(sys.executable, "of-test", str(requirements))
    # Copying pip into an environment takes ten times as long as all the rest, and no test here installs anything.
    monkeypatch.setattr(environment, "_logged", lambda command: subprocess.call([*command, "--without-pip"]))
    return environment


@pytest.mark.parametrize("arguments, code", [([], 2), (["tests"], 2), (["--help"], 0)])
def test_wrong_or_no_command_shows_the_usage(arguments, code):
    result = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True)
    assert result.returncode == code
    assert "Testing/run.py demo" in result.stdout


@pytest.mark.parametrize("version", [(3, 6, 15), (3, 9, 18), (3, 14, 0)])
def test_unfit_python_is_named_with_those_that_fit(run, monkeypatch, version):
    monkeypatch.setattr(run.sys, "version_info", version)
    with pytest.raises(SystemExit, match=r"3\.10, 3\.11, 3\.12 or 3\.13 is needed"):
        run.check_python()


@pytest.mark.parametrize("version", [(3, 10, 0), (3, 13, 9)])
def test_fit_python_is_taken(run, monkeypatch, version):
    monkeypatch.setattr(run.sys, "version_info", version)
    run.check_python()


def test_environment_is_made_once(environment):
    installs = []
    environment.prepare(installs.append)
    environment.prepare(installs.append)
    assert len(installs) == 1
    assert (
        subprocess.run([environment.python, "-c", "import sys; sys.exit(sys.prefix == sys.base_prefix)"]).returncode
        == 0
    )


def test_environment_is_made_anew_when_the_requirements_change(environment):
    installs = []
    environment.prepare(installs.append)
    Path(environment.requirements).write_text("# something else\n", encoding="utf-8")
    environment.prepare(installs.append)
    assert len(installs) == 2


def test_interrupted_set_up_is_done_anew(environment):
    def interrupted(made):
        (Path(made.folder) / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="interrupted"):
        environment.prepare(interrupted)
    installs = []
    environment.prepare(installs.append)
    assert len(installs) == 1
    assert not (Path(environment.folder) / "half").exists()


@pytest.mark.parametrize(
    "printed, sentence",
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("NewConnectionError('<pip> Failed to establish a new connection')", "cannot be reached"),
        ("ERROR: No matching distribution found for torch==0.0", "No matching distribution found for torch==0.0"),
    ],
)
def test_failed_installation_ends_in_one_sentence(environment, monkeypatch, printed, sentence):
    def pip(*arguments):
        with open(environment._log, "a", encoding="utf-8") as log:
            log.write(printed + "\n")
        return False

    monkeypatch.setattr(environment, "pip", pip)
    with pytest.raises(SystemExit, match=sentence):
        environment.prepare(lambda made: made.pip_all())


def test_full_disk_is_seen_before_anything_is_downloaded(run, environment, monkeypatch):
    usage = run.shutil.disk_usage(".")
    monkeypatch.setattr(run.shutil, "disk_usage", lambda path: usage._replace(free=10**9))
    monkeypatch.setattr(environment, "pip", lambda *arguments: pytest.fail("pip was called"))
    with pytest.raises(SystemExit, match="about 4 GB.*MMHVAE_ENVIRONMENTS"):
        run.install_everything(environment)


def test_environments_go_where_the_user_says(tmp_path):
    place = "import run; print(run.Environment('python', '3', run.REQUIREMENTS).folder)"
    for given, expected in ((str(tmp_path / "elsewhere"), tmp_path / "elsewhere"), ("", SCRIPT.parents[1] / ".venv")):
        settings = {**os.environ, "PYTHONPATH": str(SCRIPT.parent), "MMHVAE_ENVIRONMENTS": given}
        found = subprocess.run([sys.executable, "-c", place], env=settings, capture_output=True, text=True).stdout
        assert found.strip() == str(expected / "python3")


def test_torch_is_asked_for_in_a_cpu_build_first_and_its_absence_is_said(run, environment, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(environment, "pip", lambda *arguments: asked.append(arguments))
    run.install_cpu_torch(environment)
    assert [arguments[1] for arguments in asked] == [run.torch_requirement() + "+cpu"] * 2
    assert run.CPU_INDEX in asked[1]
    assert "several GB" in capsys.readouterr().out


def test_exit_code_of_the_work_is_passed_on(run):
    assert run.run([sys.executable, "-c", "raise SystemExit(5)"]) == 5


@pytest.mark.skipif(os.name == "nt", reason="signals are not exit codes on Windows")
def test_killed_work_has_the_exit_code_of_a_shell(run):
    assert run.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == 137


def test_python_settings_of_the_user_do_not_reach_the_children(run, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("PIP_TARGET", "elsewhere")
    assert "elsewhere" not in run.child_settings().values()


def test_missing_python_3_9_is_skipped_with_the_reason(run, monkeypatch, capsys):
    monkeypatch.setattr(run, "working_python39", lambda: None)
    assert run.test39([]) == 0
    assert "Skipped" in capsys.readouterr().out
