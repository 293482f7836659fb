"""Licences of models: which of them restrict the use, and what to show of those before it."""

import hashlib
import string

from .catalogue import ModelEntry

NOT_STATED = "not stated: all rights may be reserved"


def restriction(entry: ModelEntry) -> str:
    """Return the licence that has to be shown before a model is used.

    :return: Empty for a permissive one; and for a file that the user brought and that states none, of which nothing is
        known here.
    """
    if entry.permissive or not (entry.licence or entry.in_catalogue):
        return ""
    return entry.licence or NOT_STATED


def notice(entry: ModelEntry) -> str:
    """Return :func:`restriction` as a sentence; empty where there is none."""
    licence = restriction(entry)
    return f"The model '{entry.name}' has a licence that restricts its use: {_sentence(licence)}" if licence else ""


def identity(entry: ModelEntry) -> str:
    """Return what tells this model under this licence from all others: who agreed to it need not be asked again."""
    model = entry.sha256 or entry.git_blob_id or entry.digest or entry.name
    return hashlib.sha256(f"{model}\n{restriction(entry)}".encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _sentence(text: str) -> str:
    return text.rstrip(string.whitespace + ".") + "."
