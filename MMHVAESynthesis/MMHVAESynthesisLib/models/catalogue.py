"""The models that this software knows: those that come with it, those in the user's folder, those to be had elsewhere.

``Resources/Models/catalogue.json``: ``{"version": 1, "default": name or null, "models": [...]}``; each model has
``name``, ``title``, ``file`` (its name beside the catalogue or in the user's folder) and any of ``bundled``, ``url``,
``sha256``, ``git_blob_id``, ``size`` (bytes), ``licence``, ``permissive``, ``source``, ``card`` (a Markdown file beside
the catalogue).
"""

import dataclasses
import hashlib
import json
import os
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Set, Tuple

from ..errors import ModelError, OutputError
from ..paths import absolute, expanded
from . import identify
from .header import read_header

RESOURCES = Path(__file__).resolve().parents[2] / "Resources" / "Models"
"""Where the catalogue and the bundled models lie."""

MODELS_DIR_VARIABLE = "MMHVAE_MODELS_DIR"
BUNDLED, DOWNLOADED, AVAILABLE = "bundled", "downloaded", "available"
"""Where a model is: it came with this software; it is in the user's folder; it has to be fetched first."""

SUFFIXES = (".safetensors", ".pth", ".pt")
_VERSION = 1
_FOUND = {"where", "path", "in_catalogue", "problem", "digest"}
"""What of an entry is not the catalogue's to say."""

_PERMISSIVE = ("mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "unlicense")
"""Licences that restrict nobody's use, as a file's header names them."""


@dataclass(frozen=True)
class ModelEntry:
    """One model.

    :param name: What users and requests call it.
    :param title: A line for people.
    :param file: The file's name.
    :param where: :data:`BUNDLED`, :data:`DOWNLOADED` or :data:`AVAILABLE`.
    :param path: The file, where there is one on this machine.
    :param in_catalogue: False for a file that the user gave, or put into the folder by hand.
    :param digest: Of the tensors, where the file itself states it.
    :param permissive: Whether the licence is; another one has to be shown before use.
    :param card: The model card, a Markdown file.
    :param problem: Why the file cannot be used, where its beginning shows it already; else empty.
    """

    name: str
    title: str
    file: str
    where: str = AVAILABLE
    path: Optional[Path] = None
    in_catalogue: bool = True
    bundled: bool = False
    url: Optional[str] = None
    sha256: Optional[str] = None
    git_blob_id: Optional[str] = None
    size: Optional[int] = None
    licence: str = ""
    permissive: bool = False
    source: str = ""
    card: Optional[Path] = None
    problem: str = ""
    digest: str = ""


def models_dir() -> Path:
    """Return the user's folder for models, which need not exist; the environment's MMHVAE_MODELS_DIR overrides it."""
    override = os.environ.get(MODELS_DIR_VARIABLE)
    if override:
        return expanded(override).absolute()
    if sys.platform == "win32":
        return expanded(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local") / "MMHVAE" / "models"
    if sys.platform == "darwin":
        return _home() / "Library" / "Application Support" / "MMHVAE" / "models"
    return expanded(os.environ.get("XDG_DATA_HOME") or _home() / ".local" / "share") / "mmhvae" / "models"


def _home() -> Path:
    """Return the user's home; for one without, as a service can be, a path that is not absolute."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("~")


def folder_to_write() -> Path:
    """Return :func:`models_dir`, to put something into.

    :raises OutputError: when nobody knows where it is, as for a service without a home.
    """
    folder = models_dir()
    if not folder.is_absolute():
        raise OutputError(
            f"There is no home folder, and so none for models: set {MODELS_DIR_VARIABLE} to a folder for them."
        )
    return folder


def list_models(resources: Path = RESOURCES) -> List[ModelEntry]:
    """Return all models: the catalogue's, then what else lies in the user's folder, by name.

    :raises ModelError: when the catalogue is damaged.
    """
    _, entries = _catalogue(resources)
    folder = models_dir()
    located = [_located(entry, resources, folder) for entry in entries]
    return located + _dropped(folder, _own_names(entries))


def default_name(resources: Path = RESOURCES) -> Optional[str]:
    """Return the name of the default model; None while there is none."""
    return _catalogue(resources)[0]


def stamp(model: Optional[str]) -> Optional[Tuple[int, int]]:
    """Return the size of a model's file, and when it was changed (ns): another one where it was replaced. None without.

    :param model: Name in the catalogue, a file, or None for the default.
    """
    try:
        path = find(model).path
        state = None if path is None else os.stat(path)
    except (ModelError, OSError):
        return None
    return None if state is None else (state.st_size, state.st_mtime_ns)


def find(model: Optional[str], resources: Path = RESOURCES) -> ModelEntry:
    """Return the entry of a model by its name in the catalogue or its file; None asks for the default model.

    :raises ModelError: when there is none.
    """
    name = default_name(resources) if model is None else str(model)
    if name is None:
        raise ModelError(
            "No model comes with this version yet. Give a model file by its path: the checkpoint that the authors "
            "published (.pth), or one trained with this software (.safetensors); or by its name, if it lies in the "
            f"folder '{models_dir()}'."
        )
    # Not by way of the list, for which every file in the folder is read.
    entries, folder = _catalogue(resources)[1], models_dir()
    for entry in entries:
        if entry.name == name:
            return _located(entry, resources, folder)
    if Path(name).name == name and _is_dropped(folder / name, _own_names(entries)):
        return _from_file(folder / name)
    path = expanded(name)
    # Nothing at all, as of a variable that is not set, would be the folder here.
    if name and os.path.exists(path):
        if os.path.isfile(path):
            return _from_file(path)
        return ModelEntry(path.name, path.name, path.name, DOWNLOADED, path, in_catalogue=False)
    known = ", ".join(entry.name for entry in list_models(resources)) or "none"
    raise ModelError(f"There is no model named '{name}', nor a file of that name. Known models: {known}.")


def from_anywhere(model: Optional[str], has_folder: bool) -> Optional[str]:
    """Return a model's name, or the path of its file as another process knows it, whatever its working folder is.

    What is not found stays as it is: that process may know it, or has to say so.

    :param has_folder: Whether that process looks into the same folder for models, and so knows its files by name.
    """
    if model is None:
        return None
    try:
        entry = find(model)
    except ModelError:
        return str(model)
    if entry.in_catalogue or entry.path is None:
        return str(model)
    is_named = has_folder and str(model) == entry.name and entry.path.parent == models_dir()
    return str(model) if is_named else absolute(entry.path)


def how_to_get(entry: ModelEntry) -> str:
    """Say in a sentence how to get a model that is not on this machine yet."""
    if entry.bundled:
        return (
            f"The model '{entry.name}' should have come with this software, but its file is missing: install it again."
        )
    absent, place = f"The model '{entry.name}' is not on this machine yet", f"put it into the folder '{models_dir()}'"
    if entry.url is None:
        return f"{absent}: get its file '{entry.file}' and {place}."
    return (
        f"{absent}: get it with 'models download {entry.name}' (panel: Download this model). Without a network, fetch "
        f"'{entry.file}' elsewhere from {entry.url} and {place}."
    )


def verify(entry: ModelEntry, path: Path) -> None:
    """Check a file against the catalogue's size and digests.

    :raises ModelError: when it is another file.
    """
    checks: Tuple[Tuple[str, Any, Any], ...] = (
        ("size", entry.size, lambda: path.stat().st_size),
        ("sha256", entry.sha256, lambda: sha256(path)),
        ("git blob id", entry.git_blob_id, lambda: git_blob_id(path)),
    )
    for what, stated, found in checks:
        if stated is not None and stated != _found(path, found):
            raise _another(entry, path, f"its {what} differs from the catalogue's")


def _another(entry: ModelEntry, path: Path, why: str) -> ModelError:
    return ModelError(
        f"'{path}' is not the model '{entry.name}': {why}. The download was not complete, or the file was changed: get "
        f"it again (models download {entry.name}), or rename it to use it as your own model."
    )


def _found(path: Path, look: Callable[[], Any]) -> Any:
    try:
        return look()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ModelError(f"'{path}' cannot be read: {error.strerror or error}.") from error


def git_blob_id(path: Path) -> str:
    """Return the name that git gives a file's content: sha1 over ``blob <size>``, a zero byte and the content."""
    header = f"blob {path.stat().st_size}\0".encode("ascii")
    return _hashed(
        path, hashlib.sha1(header, usedforsecurity=False)
    )  # git's choice; machines under FIPS refuse it else


def sha256(path: Path) -> str:
    """Return the sha256 of a file's content."""
    return _hashed(path, hashlib.sha256())


def _hashed(path: Path, result) -> str:
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            result.update(block)
    return result.hexdigest()


def _catalogue(resources: Path) -> Tuple[Optional[str], List[ModelEntry]]:
    """Return the default's name and the entries, not located yet."""
    path = resources / "catalogue.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != _VERSION:
            raise ValueError(f"version {content['version']}")
        entries = [_entry(model, resources) for model in content["models"]]
        names = [entry.name for entry in entries]
        default = content["default"]
        if len(set(names)) != len(names) or (default is not None and default not in names):
            raise ValueError("a name stands twice, or the default is none of them")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"The catalogue of models '{path}' cannot be read ({error}): install the software again."
        ) from error
    return default, entries


def _entry(content: Mapping[str, Any], resources: Path) -> ModelEntry:
    known = {field.name for field in dataclasses.fields(ModelEntry)} - _FOUND
    unknown = set(content) - known
    if unknown:
        raise ValueError(f"unknown entries {sorted(unknown)}")
    values: Dict[str, Any] = dict(content)
    if Path(values["file"]).name != values["file"]:
        raise ValueError(f"'{values['file']}' is no plain file name")
    if values.get("card") is not None:
        values["card"] = resources / values["card"]
    return ModelEntry(**values)


def _located(entry: ModelEntry, resources: Path, folder: Path) -> ModelEntry:
    path = (resources if entry.bundled else folder) / entry.file
    try:
        if not path.is_file():
            return entry
    except OSError as error:  # a folder of somebody else's
        hint = "" if entry.bundled else f" {MODELS_DIR_VARIABLE} names another folder."
        return replace(entry, problem=f"'{path}' cannot be read: {error.strerror or error}.{hint}")
    return replace(entry, where=BUNDLED if entry.bundled else DOWNLOADED, path=path, problem=_problem(entry, path))


def _own_names(entries: Iterable[ModelEntry]) -> Set[str]:
    """Return the names of files in the user's folder that are the catalogue's models, not the user's own."""
    return {entry.file for entry in entries if not entry.bundled}


def _dropped(folder: Path, known: Set[str]) -> List[ModelEntry]:
    """Return the models in the user's folder that no catalogue names; their file names are their names."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:  # no folder yet, or none that may be read: no models in it
        return []
    return [_from_file(path) for path in paths if _is_dropped(path, known)]


def _is_dropped(path: Path, known: Set[str]) -> bool:
    """Return whether a file is a model that the user put there; of one that cannot be followed :func:`_from_file` tells
    why."""
    is_named_so = path.suffix.lower() in SUFFIXES and path.name not in known and not path.name.startswith(".")
    try:
        return is_named_so and path.is_file()
    except OSError:
        return is_named_so


def _from_file(path: Path) -> ModelEntry:
    entry = ModelEntry(path.name, path.stem, path.name, DOWNLOADED, path, in_catalogue=False)
    try:
        entry = replace(entry, size=path.stat().st_size)
        if identify.identify(path) == identify.SAFETENSORS:
            header, _ = read_header(path)
            known = header.licence.strip().lower().replace(" ", "-") in _PERMISSIVE
            return replace(entry, title=header.name, licence=header.licence, permissive=known, digest=header.digest)
    except ModelError as error:
        return replace(entry, problem=str(error))
    except OSError as error:
        return replace(entry, problem=f"'{path}' cannot be read: {error.strerror or error}.")
    return entry


def _problem(entry: ModelEntry, path: Path) -> str:
    """Return what is wrong with a file as far as its beginning, its end and its size show it."""
    try:
        kind = identify.identify(path)
        if entry.size is not None and path.stat().st_size != entry.size:
            raise _another(entry, path, "its size differs from the catalogue's")
        if entry.url and kind == identify.TORCH and not zipfile.is_zipfile(path):
            raise _another(entry, path, "its end is missing")
    except ModelError as error:
        return str(error)
    except OSError as error:
        return f"'{path}' cannot be read: {error.strerror or error}."
    return ""
