"""The models as the panel offers them: names, what is known of each, why one cannot be used."""

from dataclasses import dataclass
from typing import List, Union

from slicer.i18n import tr as _

from ..errors import ModelError
from ..models import catalogue, identify, licences

DEFAULT, FROM_FILE = "", "file:"


@dataclass(frozen=True)
class Choice:
    """A line of the model selector.

    :param key: What is kept in the settings: a name, :data:`DEFAULT` or :data:`FROM_FILE`.
    :param title: For people.
    :param problem: Why it cannot be used, and what to do; else empty.
    :param can_be_fetched: Whether it is not here yet, or damaged, and the catalogue knows from where to download it.
    :param said: What to know of it before it is used or downloaded; else empty.
    :param tip: More on what is wrong; else empty.
    """

    key: str
    title: str
    problem: str = ""
    can_be_fetched: bool = False
    said: str = ""
    tip: str = ""


def choices() -> List[Choice]:
    """Return the lines of the selector: the default where there is one, the known models, a file of the user's."""
    try:
        default, entries = catalogue.default_name(), catalogue.list_models()
    except ModelError as error:
        return [Choice(FROM_FILE, _("From a file ..."), str(error), tip=str(error))]
    lines = []
    if default is not None:
        title = _("Default: {name}").format(name=default)
        entry = next(entry for entry in entries if entry.name == default)
        problem = problem_of(entry)
        lines.append(Choice(DEFAULT, title, problem, False, licence_of(entry), problem))
    for entry in entries:
        lines.append(_choice(entry))
    return [*lines, Choice(FROM_FILE, _("From a file ..."))]


def _choice(entry: catalogue.ModelEntry) -> Choice:
    problem = problem_of(entry)
    if entry.url and entry.path is None and not entry.problem:
        title = _("{name} (not on this machine yet)").format(name=entry.name)
        text = _("The model '{name}' is not on this machine yet: download it first, or choose another one.")
        return Choice(entry.name, title, text.format(name=entry.name), True, facts(entry), problem)
    if entry.url and entry.path is not None and problem:
        problem = _("{problem} The button Download this model does it.").format(problem=problem)
        return Choice(entry.name, entry.name, problem, True, problem, problem)
    title = entry.name if entry.path else _("{name} (not on this machine yet)").format(name=entry.name)
    return Choice(entry.name, title, problem, False, licence_of(entry), problem)


def not_found(name: str) -> Choice:
    """Return the line of a model that was chosen, as in a former session, and is not among the known ones."""
    problem = problem_of(name)
    return Choice(name, _("{name} (not found)").format(name=name), problem, tip=problem)


def problem_of(model: Union[str, catalogue.ModelEntry]) -> str:
    """Return why a model, or that of a name or file, cannot be used, in a sentence; empty where it can."""
    try:
        entry = _entry_of(model)
        if entry.path is not None:
            identify.identify(entry.path)
    except ModelError as error:
        return str(error)
    return entry.problem or ("" if entry.path else catalogue.how_to_get(entry))


def licence_of(model: Union[str, catalogue.ModelEntry]) -> str:
    """Return in a line the licence of a model, where it restricts the use; else empty."""
    try:
        licence = licences.restriction(_entry_of(model))
    except ModelError:
        return ""
    return _("Licence: {licence}").format(licence=licence) if licence else ""


def _entry_of(model: Union[str, catalogue.ModelEntry]) -> catalogue.ModelEntry:
    return catalogue.find(model) if isinstance(model, str) else model


def facts(entry: catalogue.ModelEntry) -> str:
    """Return in a line what to know of a model before it is downloaded."""
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
