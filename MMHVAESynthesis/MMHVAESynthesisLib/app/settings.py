"""What belongs to the machine and not to a scene: model, licences agreed to, device, threads, engine.

Kept in Slicer's settings.
"""

import qt
import slicer

_PREFIX = "MMHVAESynthesis/"
MODEL, MODEL_FILE, LICENCES, DEVICE, WORKERS, ENGINE = (
    _PREFIX + name for name in ("model", "modelFile", "agreedLicences", "device", "workers", "registrationEngine")
)


def text(key: str, default: str = "") -> str:
    """Return a setting; what somebody else wrote there that is no text, as a list, counts as none."""
    value = slicer.util.settingsValue(key, default)
    return value if isinstance(value, str) else default


def number(key: str, default: int = 0) -> int:
    """Return a setting that is a whole number; what somebody else wrote there counts as none."""
    try:
        return int(slicer.util.settingsValue(key, default))
    except (TypeError, ValueError):
        return default


def keep(key: str, value) -> None:
    """Keep a setting."""
    qt.QSettings().setValue(key, value)
