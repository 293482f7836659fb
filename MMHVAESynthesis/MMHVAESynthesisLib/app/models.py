"""The models as the panel offers them: names, what is known of each, why one cannot be used."""

from dataclasses import dataclass
from typing import List

from slicer.i18n import tr as _

from ..errors import ModelError
from ..models import catalogue, identify

DEFAULT, FROM_FILE = "", "file:"


@dataclass(frozen=True)
class Choice:
    """A line of the model selector.

    :param key: What is kept in the settings: a name, :data:`DEFAULT` or :data:`FROM_FILE`.
    :param title: For people.
    :param problem: Why it cannot be used, and what to do; else empty.
    :param can_be_fetched: Whether it is not here yet, and the catalogue knows from where to download it.
    """

    key: str
    title: str
    problem: str = ""
    can_be_fetched: bool = False


def choices() -> List[Choice]:
    """Return the lines of the selector: the default where there is one, the known models, a file of the user's."""
    try:
        default, entries = catalogue.default_name(), catalogue.list_models()
    except ModelError as error:
        return [Choice(FROM_FILE, _("From a file ..."), str(error))]
    lines = []
    if default is not None:
        lines.append(Choice(DEFAULT, _("Default: {name}").format(name=default), problem_of(default)))
    for entry in entries:
        where = "" if entry.path else _(" (not on this machine yet)")
        fetch = entry.path is None and bool(entry.url)
        lines.append(Choice(entry.name, entry.name + where, problem_of(entry.name), fetch))
    return [*lines, Choice(FROM_FILE, _("From a file ..."))]


def problem_of(name: str) -> str:
    """Return why a model cannot be used, in a sentence; empty where it can."""
    try:
        entry = catalogue.find(name)
        if entry.path is not None:
            identify.identify(entry.path)
    except ModelError as error:
        return str(error)
    return entry.problem or ("" if entry.path else catalogue.how_to_get(entry))


def licence_to_agree_to(name: str) -> str:
    """Return the licence that a user has to agree to before a model is downloaded; empty for a permissive one."""
    entry = catalogue.find(name)
    return "" if entry.permissive else entry.licence or _("No licence is stated: all rights may be reserved.")


def facts(name: str) -> str:
    """Return in a line what to know of a model before it is downloaded."""
    entry = catalogue.find(name)
    size = f", {entry.size / 1e6:.0f} MB" if entry.size else ""
    return _("{title}. Licence: {licence}{size}.").format(
        title=entry.title, licence=entry.licence or _("not stated"), size=size
    )


def card(name: str) -> str:
    """Return what is known of a model as Markdown: its card where it has one, else the catalogue's facts.

    :param name: Name in the catalogue, a file, or empty for the default.
    """
    try:
        entry = catalogue.find(name or None)
    except ModelError as error:
        return str(error)
    if entry.card is not None and entry.card.is_file():
        return entry.card.read_text(encoding="utf-8")
    facts = {
        _("Licence"): entry.licence or _("not stated"),
        _("Source"): entry.source or entry.url,
        _("File"): str(entry.path) if entry.path else None,
        _("Size"): f"{entry.size / 1e6:.0f} MB" if entry.size else None,
        _("Problem"): problem_of(name) if name else None,
    }
    lines = [f"**{what}:** {text}" for what, text in facts.items() if text]
    return "\n\n".join([f"### {entry.title}", *lines])
