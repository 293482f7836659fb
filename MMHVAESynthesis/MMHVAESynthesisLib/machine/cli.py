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
    """Return the devices that PyTorch can compute on (best first, with their names) and the versions, JSON-able.

    :raises DependencyError: when PyTorch is missing or does not work.
    """
    require_torch()
    from ..synthesis import devices

    working = [name for name in devices.available_devices() if devices.computes(name)]
    found = {name: devices.described(name) for name in working}
    return {"devices": found, "torch": devices.torch_version(), "python": platform.python_version()}


def describe(result: Dict[str, Any]) -> str:
    """Return the result for people."""
    lines = [f"{name}: {text}" for name, text in result["devices"].items()]
    return "\n".join([*lines, f"PyTorch {result['torch']}, Python {result['python']}"])
