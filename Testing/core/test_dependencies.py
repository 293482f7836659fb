import platform
import sys
import types
from pathlib import Path

import pytest

from MMHVAESynthesisLib import dependencies
from MMHVAESynthesisLib.errors import DependencyError, TorchError

REQUIREMENTS = Path(__file__).parents[2] / "MMHVAESynthesis" / "Resources" / "requirements.txt"


def with_torch(monkeypatch, torch):
    real = dependencies.importlib.import_module

    def fake(name):
        if name != "torch":
            return real(name)
        if isinstance(torch, Exception):
            raise torch
        return torch

    monkeypatch.setattr(dependencies.importlib, "import_module", fake)


def numpy_bridge_broken(_):
    raise RuntimeError("Numpy is not available")


@pytest.mark.parametrize(
    ("torch", "message"),
    [
        (ModuleNotFoundError("No module named 'torch'"), "not installed"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "not installed"),
        (ModuleNotFoundError("No module named 'sympy'", name="sympy"), "does not load .No module named 'sympy'"),
        (OSError("WinError 126: c10.dll"), "does not load"),
        (AttributeError("half an install"), "does not load"),
        (types.SimpleNamespace(), "does not load"),
        (types.SimpleNamespace(__version__=None), "does not load"),
        (types.SimpleNamespace(__version__="1.13.1+cpu"), "too old"),
        (types.SimpleNamespace(__version__="2.2.2", from_numpy=numpy_bridge_broken), "needs numpy below 2"),
    ],
)
def test_each_state_of_torch_has_its_sentence(monkeypatch, torch, message):
    with_torch(monkeypatch, torch)
    with pytest.raises(DependencyError, match=message):
        dependencies.require_torch()


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder of installed packages that hides the real ones from a look that loads nothing."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    # Python's own library stays: some of it is loaded late.
    own = [entry for entry in sys.path if entry and "site-packages" not in entry and "dist-packages" not in entry]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *own])
    return tmp_path


def install(folder, name, version, code=True):
    """Put what pip would leave: code, and a record with the version; None for no record, empty for a damaged one."""
    (folder / name).mkdir()
    if code:
        (folder / name / "__init__.py").write_text("raise SystemExit('loaded')")
    if version is not None:
        record = folder / f"{name}-{version or 1}.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n" if version else "")


@pytest.mark.parametrize(
    ("torch", "numpy", "problem"),
    [
        (None, "2.0.2", "not installed"),
        (("2.4.1", False), "2.0.2", "only in part"),
        ((None, True), "2.0.2", "only in part"),
        (("", True), "2.0.2", "only in part"),
        (("2.0.1+cpu", True), "1.26.4", "too old"),
        (("2.2.2", True), "2.0.2", "PyTorch 2.2.2 cannot work with numpy 2.0.2"),
        (("2.2.2", True), "1.26.4", ""),
        (("2.3.0+cu121", True), "2.4.6", ""),
        (("2.13.0", True), None, ""),
        (("somebody's own", True), "2.0.2", ""),
    ],
)
def test_what_is_wrong_with_torch_is_seen_without_loading_it(packages, torch, numpy, problem):
    if torch is not None:
        install(packages, "torch", *torch)
    if numpy is not None:
        install(packages, "numpy", numpy)
    found = dependencies.torch_problem()
    assert problem in found and bool(problem) == bool(found)
    assert "torch" not in sys.modules


@pytest.mark.parametrize("machine", ["win32 AMD64", "linux x86_64", "linux aarch64", "darwin arm64", "darwin x86_64"])
def test_all_places_ask_for_the_same_versions_of_torch(monkeypatch, machine):
    requirements = pytest.importorskip("packaging.requirements", reason="not installed: packaging")
    system, processor = machine.split()
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: processor)
    there = {"sys_platform": system, "platform_machine": processor}
    lines = [line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    every = [requirements.Requirement(line) for line in lines]
    asked = [each for each in every if each.marker is None or each.marker.evaluate(there)]
    wanted = dependencies.torch_requirement()
    assert [(each.name, each.specifier) for each in asked] == [("torch", requirements.SpecifierSet(wanted))]


def test_who_lacks_torch_is_told_the_versions_that_fit(packages):
    assert f'pip install "torch{dependencies.torch_requirement()}"' in dependencies.torch_problem()


def test_every_fault_of_torch_is_told_as_one_of_torch(monkeypatch):
    with_torch(monkeypatch, ModuleNotFoundError("No module named 'torch'"))
    with pytest.raises(TorchError):
        dependencies.require_torch()


def test_a_working_torch_passes():
    pytest.importorskip("torch")
    dependencies.require_torch()
