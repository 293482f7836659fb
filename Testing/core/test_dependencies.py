import types

import pytest

from MMHVAESynthesisLib import dependencies
from MMHVAESynthesisLib.errors import DependencyError


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


def test_a_working_torch_passes():
    pytest.importorskip("torch")
    dependencies.require_torch()
