"""PyTorch: is it there, and does it work here? Asked only when the user wants work done."""

import importlib

from .errors import DependencyError

_LEAST = (2, 1)

_HOW = (
    "In Slicer, install the PyTorch extension (Extensions Manager), then use its module PyTorch Utils; "
    "elsewhere: pip install 'torch>=2.1'."
)


def _version(text: str):
    return tuple(int(part) for part in text.split("+")[0].split(".")[:2])


def require_torch() -> None:
    """Raise :class:`DependencyError` unless PyTorch can be used together with the numpy that is installed."""
    try:
        torch = importlib.import_module("torch")
        found = _version(torch.__version__)
    except ModuleNotFoundError as error:
        raise DependencyError(f"PyTorch is not installed. {_HOW}") from error
    except Exception as error:  # a half-installed PyTorch fails in many ways
        raise DependencyError(f"PyTorch is installed but does not load ({error}). Reinstall it. {_HOW}") from error
    if found < _LEAST:
        raise DependencyError(f"PyTorch {torch.__version__} is too old; 2.1 or later is needed. {_HOW}")
    _require_numpy_bridge(torch)


def _require_numpy_bridge(torch) -> None:
    numpy = importlib.import_module("numpy")
    try:
        torch.from_numpy(numpy.zeros(1, numpy.float32)).numpy()
    except (RuntimeError, TypeError) as error:
        raise DependencyError(
            f"PyTorch {torch.__version__} cannot work with numpy {numpy.__version__}: PyTorch before 2.3 needs "
            "numpy below 2. Install a later PyTorch, or where there is none (macOS on Intel) numpy 1.26."
        ) from error
