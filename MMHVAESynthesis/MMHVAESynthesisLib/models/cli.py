"""The command ``models``: which models there are, and where; their cards; download, delete and convert."""

import argparse
import json
from pathlib import Path
from typing import Any, Dict, Optional

from ..errors import InputError, ModelError
from ..progress import CancelFlag, ProgressCallback
from ..request import modality_of
from . import catalogue, download
from .identify import SAFETENSORS, identify

HELP = "list the models, show a model's card, download, delete or convert one"

_LIST, _SHOW, _DOWNLOAD, _DELETE, _CONVERT = "list", "show", "download", "delete", "convert"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=(_LIST, _SHOW, _DOWNLOAD, _DELETE, _CONVERT),
        default=_LIST,
        help="default %(default)s",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="of the model, or its file; not for list")
    parser.add_argument(
        "--accept-licence", action="store_true", help="agree to a licence that restricts the model's use (download)"
    )
    parser.add_argument(
        "--modalities",
        metavar="LIST",
        help="the order of the modalities in which the model was trained, such as us,t2; default: the file's (convert)",
    )
    parser.add_argument("--spacing", type=float, metavar="MM", help="of the model's pixels; default: 0.5 (convert)")
    parser.add_argument(
        "--output", metavar="FILE", help="what to write, .safetensors; default: into your folder for models (convert)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there already (convert)")


def run(
    args: argparse.Namespace, progress: Optional[ProgressCallback] = None, cancel: Optional[CancelFlag] = None
) -> Dict[str, Any]:
    """Do what is asked for; JSON-able.

    :return: For ``list`` the user's ``folder``, the ``default`` model and all ``models``; for ``show`` the ``model``
        and its ``card``; for ``download``, ``delete`` and ``convert`` the ``path``.
    :raises MMHVAEError: when it cannot be done.
    """
    if args.action == _LIST:
        if args.name is not None:
            raise InputError("'models list' takes no name: to see one model, 'models show NAME'.")
        models = [_facts(entry) for entry in catalogue.list_models()]
        return {"folder": str(catalogue.models_dir()), "default": catalogue.default_name(), "models": models}
    if args.name is None:
        raise InputError(f"'models {args.action}' needs the name of a model: see 'models list'.")
    if args.action == _CONVERT:
        return _convert(args)
    entry = catalogue.find(args.name)
    if args.action == _SHOW:
        if not entry.in_catalogue:
            identify(entry.path)  # says of a file that is no model what it is, and of a folder
            if entry.problem:
                raise ModelError(entry.problem)
        return {"model": _facts(entry), "card": _card(entry)}
    if args.action == _DELETE:
        return {"path": str(download.delete(entry)), "said": f"The model '{entry.name}' is deleted."}
    path = download.download(entry, progress, cancel, args.accept_licence)
    verified = ", and verified" if entry.sha256 or entry.git_blob_id else ""
    return {"path": str(path), "said": f"The model '{entry.name}' is here{verified}: {path}"}


def _convert(args: argparse.Namespace) -> Dict[str, Any]:
    # Here, not above: it brings PyTorch with it.
    from .convert import convert

    keys = None if args.modalities is None else [modality_of(key) for key in args.modalities.replace(",", " ").split()]
    header = convert(args.name, keys, args.spacing, args.output, args.overwrite)
    path = Path(header.source)
    listed = path.parent == catalogue.models_dir()
    said = (
        f"Written: {path} ({', '.join(header.sizes.modalities)}; pixels of {header.spacing:g} mm). The panel and all "
        f"commands take it as the model {path.name if listed else 'at that path'}."
    )
    return {"path": str(path), "said": said}


def _facts(entry: catalogue.ModelEntry) -> Dict[str, str]:
    how = "" if entry.path else catalogue.how_to_get(entry)
    return {
        "name": entry.name,
        "title": entry.title,
        "where": entry.where if entry.in_catalogue else "file",
        "path": str(entry.path) if entry.path else "",
        "licence": entry.licence,
        "source": entry.source,
        "problem": entry.problem or how,
    }


def _card(entry: catalogue.ModelEntry) -> str:
    """Return the model card, or what the file says of itself; empty where there is neither."""
    if entry.card is not None:
        return entry.card.read_text(encoding="utf-8")
    if entry.path is None or entry.problem or identify(entry.path) != SAFETENSORS:
        return ""
    from .header import read_header

    header, _ = read_header(entry.path)
    return json.dumps(json.loads(header.to_json()), indent=1, ensure_ascii=False)


def describe(result: Dict[str, Any]) -> str:
    """Return the result for people."""
    if "said" in result:
        return result["said"]
    if "card" in result:
        facts = [f"{name}: {value}" for name, value in result["model"].items() if value]
        return "\n".join([*facts, *(["", result["card"]] if result["card"] else [])])
    lines = [f"Your folder for models: {result['folder']}"]
    for model in result["models"]:
        mark = "*" if model["name"] == result["default"] else " "
        lines.append(f"{mark} {model['name']} ({model['where']}, licence: {model['licence'] or 'not stated'})")
        lines.append(f"    {model['title']}")
        lines += [f"    {text}" for text in (model["path"], model["problem"]) if text]
    if result["default"]:
        lines.append("* the default")
    return "\n".join(lines)
