"""PyTorch in Slicer: looked for before the work, and installed through the extension PyTorch after asking."""

import importlib
import importlib.util
from typing import Tuple

import slicer
from slicer.i18n import tr as _

from .. import dependencies

_EXTENSION = "PyTorch"


def problem() -> str:
    """Return why PyTorch cannot be used, in a sentence; empty where nothing shows. Does not load it."""
    return dependencies.torch_problem()


def install() -> Tuple[bool, str]:
    """Ask the user and install PyTorch; return whether it can be used now, and a sentence (empty when declined).

    What is there of a PyTorch that cannot be used is removed first. Blocks, with Slicer's own dialog, while pip is at
    work.
    """
    try:
        utils = importlib.import_module("PyTorchUtils")
    except ImportError:
        return False, _install_extension()
    is_broken = importlib.util.find_spec("torch") is not None
    question = _(
        "PyTorch will be downloaded and installed into Slicer's Python. It takes some gigabytes and minutes. Go on?"
    )
    if is_broken:
        question += " " + _("What is there of PyTorch now does not work here: it will be removed first.")
    if not slicer.util.confirmOkCancelDisplay(question, _("Install PyTorch")):
        return False, ""
    try:
        logic = utils.PyTorchUtilsLogic()
        if is_broken:
            logic.uninstallTorch()
        if logic.installTorch(askConfirmation=False, torchVersionRequirement=dependencies.torch_requirement()) is None:
            return False, ""
    except Exception as error:  # pip and a half-installed torch fail in many ways
        return False, _(
            "The installation of PyTorch did not succeed ({error}). If an earlier one broke off half-way: open the "
            "module PyTorch Utils, uninstall PyTorch, restart Slicer and install it again. {by_hand}"
        ).format(error=error, by_hand=_by_hand())
    left = problem()
    return not left, left or _("PyTorch is installed. Apply again; if it still does not load, restart Slicer first.")


def _by_hand() -> str:
    return _("Or type into Slicer's Python console: slicer.util.pip_install('torch{requirement}').").format(
        requirement=dependencies.torch_requirement()
    )


def _install_extension() -> str:
    """Ask the user, install Slicer's extension, and return a sentence on how that ended."""
    by_hand = _("Install the extension PyTorch in the Extensions Manager and restart Slicer.") + " " + _by_hand()
    question = _("Slicer's extension PyTorch is needed to install PyTorch. Download and install it now?")
    manager = getattr(slicer.app, "extensionsManagerModel", lambda: None)()
    if manager is None:
        return by_hand
    if not slicer.util.confirmOkCancelDisplay(question, _("Install the extension PyTorch")):
        return ""
    is_interactive = getattr(manager, "interactive", None)
    try:
        if is_interactive:  # Slicer would ask again, without saying what for
            manager.interactive = False
        # False: no restart, before which Slicer would not have what is unsaved saved.
        begun = manager.installExtensionFromServer(_EXTENSION, False)
        # True of a download that failed too.
        installed = begun and manager.isExtensionInstalled(_EXTENSION)
    except Exception as error:  # the server, the network, the folder
        return _("The extension was not installed ({error}).").format(error=error) + " " + by_hand
    finally:
        if is_interactive:
            manager.interactive = True
    return _("The extension is installed: restart Slicer, then press Install PyTorch again.") if installed else by_hand
