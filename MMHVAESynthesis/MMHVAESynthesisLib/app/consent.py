"""The user's consent to a model's licence: asked for once, before it is downloaded or used; kept in the settings."""

from typing import List, Optional

import slicer
from slicer.i18n import tr as _

from ..errors import ModelError
from ..models import catalogue, licences
from . import settings


def agrees(model: Optional[str]) -> bool:
    """Return whether a model may be used as far as its licence goes, after asking where that restricts the use.

    :param model: Name in the catalogue, a file, or None for the default.
    """
    try:
        entry = catalogue.find(model)
    except ModelError:
        return True  # what is wrong is said when it is used
    if not licences.restriction(entry) or licences.identity(entry) in _agreed():
        return True
    question = _("The model '{name}' has a licence that restricts its use:\n\n{licence}\n\nUse it?")
    text = question.format(name=entry.name, licence=licences.restriction(entry))
    if not slicer.util.confirmOkCancelDisplay(text, _("Licence of a model")):
        return False
    settings.keep(settings.LICENCES, " ".join(sorted({*_agreed(), licences.identity(entry)})))
    return True


def _agreed() -> List[str]:
    return settings.text(settings.LICENCES).split()
