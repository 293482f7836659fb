"""The errors that reach a user, and the exit codes of the command line.

Each message says what is wrong and what to do about it. Anything else that is raised is a fault of this software.

========  ===========================================================
exit code  meaning
========  ===========================================================
0          done
1          unexpected fault of the software (traceback on stderr)
2          the command line was used wrongly
3          an input or a setting cannot be used; a device of an unknown name is such a setting
4          a model cannot be used, or there is none
5          the device is absent or unfit, or memory ran out
6          an output cannot be written
7          a required Python package is missing or unusable
8          cancelled
9          some cases of a batch failed, which the report names; the others are done
========  ===========================================================
"""

SOME_CASES_FAILED = 9
"""The one exit code of a command that ends with a result."""


class MMHVAEError(Exception):
    """Base of all errors whose message is meant for the user."""

    exit_code = 1


class InputError(MMHVAEError, ValueError):
    """An input volume or a setting cannot be used."""

    exit_code = 3


class ModelError(MMHVAEError):
    """A checkpoint is wrong, damaged, foreign or malicious, or there is no model."""

    exit_code = 4


class DeviceError(MMHVAEError):
    """The device is absent or cannot do what is asked of it, or its memory does not suffice."""

    exit_code = 5


class OutputError(MMHVAEError):
    """An output cannot be written."""

    exit_code = 6


class DependencyError(MMHVAEError):
    """A Python package is missing, or its version does not work here."""

    exit_code = 7


class TorchError(DependencyError):
    """PyTorch is missing, or does not work here."""


class Cancelled(MMHVAEError):
    """The user stopped the work."""

    exit_code = 8
