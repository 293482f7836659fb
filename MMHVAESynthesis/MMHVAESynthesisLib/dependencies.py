"""What has to be installed: the packages of every command; and PyTorch, which is loaded only for work that needs it."""

import importlib
import importlib.metadata
import importlib.util
import platform
import re
import sys

from .errors import TorchError

_PACKAGES = ("numpy", "scipy", "SimpleITK")
_LEAST = (2, 1)
_LEAST_FOR_NUMPY_2 = (2, 3)


def torch_requirement() -> str:
    """Return which versions of PyTorch to install here, as pip says it; ``Resources/requirements.txt`` has the same."""
    if sys.platform == "win32":
        # From 2.13 on its licence files have paths too long for Windows, and the installation breaks off.
        return ">=2.3,<2.13"
    # For Macs with Intel processors, and Slicer emulating one, 2.2 is the last.
    return ">=2.1" if sys.platform == "darwin" and platform.machine() == "x86_64" else ">=2.3"


_HOW = (
    "In Slicer, install the PyTorch extension (Extensions Manager), then use its module PyTorch Utils; "
    f'elsewhere: pip install "torch{torch_requirement()}".'
)
_MISSING = f"PyTorch is not installed. {_HOW}"
_IN_PART = (
    f"PyTorch is installed only in part: an earlier installation broke off. Uninstall it and install it anew. {_HOW}"
)


def _version(text: str):
    """Return major and minor version; of ``2.4a0`` too, as nightly builds have it.

    :raises ValueError: when it does not begin with figures.
    """
    numbers = re.match(r"(\d+)(?:\.(\d+))?", text)
    if numbers is None:
        raise ValueError(f"no version: {text!r}")
    return tuple(int(part or 0) for part in numbers.groups())


def _too_old(torch: str) -> str:
    return f"PyTorch {torch} is too old; 2.1 or later is needed. {_HOW}"


def _impossible_pair(torch: str, numpy: str) -> str:
    return (
        f"PyTorch {torch} cannot work with numpy {numpy}: PyTorch before 2.3 needs numpy below 2. Install a later "
        "PyTorch, or where there is none (macOS on Intel) numpy 1.26."
    )


def packages_problem() -> str:
    """Return which packages are not installed without which no command works, and how to get them; else empty."""
    missing = [name for name in _PACKAGES if not _is_installed(name)]
    if not missing:
        return ""
    verb = "is" if len(missing) == 1 else "are"
    return (
        f"{', '.join(missing)} {verb} not installed for this Python ({sys.executable}): "
        f'"{sys.executable}" -m pip install {" ".join(missing)}; or use PythonSlicer, which has them.'
    )


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # the latter where somebody loaded it in an unusual way
        return name in sys.modules


def torch_problem() -> str:
    """Return what shows, without loading it, that PyTorch cannot be used here; empty where nothing does.

    Takes some milliseconds. What shows only on loading, as a library that is missing, is found by
    :func:`require_torch` in the process that does the work.
    """
    importlib.invalidate_caches()
    try:
        spec = importlib.util.find_spec("torch")
    except ValueError:  # loaded by somebody in an unusual way: then it is there
        return ""
    if spec is None:
        return _MISSING
    torch, numpy = installed("torch"), installed("numpy")
    # What is left of a package that was removed or not fully copied: a folder without code, or without its record.
    if spec.origin is None or not torch:
        return _IN_PART
    try:
        if _version(torch) < _LEAST:
            return _too_old(torch)
        is_pair = _version(torch) >= _LEAST_FOR_NUMPY_2 or not numpy or _version(numpy) < (2,)
    except ValueError:  # a version that somebody made up
        return ""
    return "" if is_pair else _impossible_pair(torch, numpy)


def installed(name: str) -> str:
    """Return the version that an installed package states; empty where it states none."""
    try:
        return importlib.metadata.version(name) or ""
    except (ImportError, OSError, KeyError, TypeError, ValueError):  # no record, or as a damaged one has it
        return ""


def require_torch() -> None:
    """Raise :class:`TorchError` unless PyTorch can be used together with the numpy that is installed."""
    try:
        torch = importlib.import_module("torch")
        found = _version(torch.__version__)
    except Exception as error:  # a half-installed PyTorch fails in many ways
        if isinstance(error, ModuleNotFoundError) and error.name in ("torch", None):
            raise TorchError(_MISSING) from error
        raise TorchError(f"PyTorch is installed but does not load ({error}). Reinstall it. {_HOW}") from error
    if found < _LEAST:
        raise TorchError(_too_old(torch.__version__))
    _require_numpy_bridge(torch)


def _require_numpy_bridge(torch) -> None:
    numpy = importlib.import_module("numpy")
    try:
        torch.from_numpy(numpy.zeros(1, numpy.float32)).numpy()
    except (RuntimeError, TypeError) as error:
        raise TorchError(_impossible_pair(torch.__version__, numpy.__version__)) from error
