"""The command ``machine``: whether PyTorch works here, and on which devices."""

import argparse
import platform
from typing import Any, Dict, Optional

from ..dependencies import require_torch
from ..progress import CancelFlag, ProgressCallback

HELP = "say which PyTorch and which devices the work would use here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command: none of its own."""


def run(
    args: argparse.Namespace, progress: Optional[ProgressCallback] = None, cancel: Optional[CancelFlag] = None
) -> Dict[str, Any]:
    """Return the devices (best first, with their names) and the versions, JSON-able.

    :raises DependencyError: when PyTorch is missing or does not work.
    """
    require_torch()
    import torch

    from ..synthesis.devices import available_devices, cores

    return {
        "devices": {name: _described(name, cores()) for name in available_devices()},
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _described(device: str, cores: int) -> str:
    if device.startswith("cuda"):
        import torch

        return f"{torch.cuda.get_device_name(device)}, {torch.cuda.mem_get_info(device)[1] / 1e9:.0f} GB"
    return "Apple GPU" if device == "mps" else f"{cores} core{'s' if cores > 1 else ''}"


def describe(result: Dict[str, Any]) -> str:
    """Return the result for people."""
    lines = [f"{name}: {text}" for name, text in result["devices"].items()]
    return "\n".join([*lines, f"PyTorch {result['torch']}, Python {result['python']}"])
