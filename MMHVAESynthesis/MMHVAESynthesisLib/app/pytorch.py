"""PyTorch in Slicer: installed through the extension PyTorch, after asking."""

import importlib
import sys

import slicer
from slicer.i18n import tr as _

_EXTENSION = "PyTorch"
# From 2.13 on PyTorch's licence files have paths too long for Windows, and its installation breaks off.
_REQUIREMENT = ">=2.1,<2.13" if sys.platform == "win32" else ">=2.1"


def install() -> str:
    """Ask the user, install PyTorch, and return a sentence on how that ended; it is empty when the user declined.

    Blocks, with Slicer's own dialog, while pip is at work.
    """
    try:
        utils = importlib.import_module("PyTorchUtils")
    except ImportError:
        return _install_extension()
    question = _(
        "PyTorch will be downloaded and installed into Slicer's Python. It takes some gigabytes and minutes. Go on?"
    )
    if not slicer.util.confirmOkCancelDisplay(question, _("Install PyTorch")):
        return ""
    try:
        logic = utils.PyTorchUtilsLogic()
        if logic.installTorch(askConfirmation=False, torchVersionRequirement=_REQUIREMENT) is None:
            return ""
    except Exception as error:  # pip and a half-installed torch fail in many ways
        return _(
            "The installation of PyTorch did not succeed ({error}). If an earlier one broke off half-way: open the "
            "module PyTorch Utils, uninstall PyTorch, restart Slicer and install it again."
        ).format(error=error)
    return _("PyTorch is installed. Apply again; if it still does not load, restart Slicer first.")


def _install_extension() -> str:
    by_hand = _(
        "Install the extension PyTorch in the Extensions Manager and restart Slicer; or type into the Python console: "
        "slicer.util.pip_install('torch{requirement}')."
    ).format(requirement=_REQUIREMENT)
    question = _("Slicer's extension PyTorch is needed to install PyTorch. Download and install it now?")
    manager = getattr(slicer.app, "extensionsManagerModel", lambda: None)()
    if manager is None:
        return by_hand
    if not slicer.util.confirmOkCancelDisplay(question, _("Install the extension PyTorch")):
        return ""
    try:
        installed = manager.installExtensionFromServer(_EXTENSION)
    except Exception as error:  # the server, the network, the folder
        return _("The extension was not installed ({error}). ").format(error=error) + by_hand
    return _("The extension is installed: restart Slicer, then press Install PyTorch again.") if installed else by_hand
