"""The command ``models``: which models there are, and where."""

import argparse
from typing import Any, Dict, Optional

from ..progress import CancelFlag, ProgressCallback
from . import catalogue

HELP = "list the models: bundled, in your folder, to be had elsewhere"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command: none of its own."""


def run(
    args: argparse.Namespace, progress: Optional[ProgressCallback] = None, cancel: Optional[CancelFlag] = None
) -> Dict[str, Any]:
    """Return the user's folder, the default model and all models, JSON-able."""
    models = []
    for entry in catalogue.list_models():
        how = "" if entry.path else catalogue.how_to_get(entry)
        path = str(entry.path) if entry.path else ""
        models.append(
            {
                "name": entry.name,
                "title": entry.title,
                "where": entry.where,
                "path": path,
                "licence": entry.licence,
                "problem": entry.problem or how,
            }
        )
    return {"folder": str(catalogue.models_dir()), "default": catalogue.default_name(), "models": models}


def describe(result: Dict[str, Any]) -> str:
    """Return the result for people."""
    lines = [f"Your folder for models: {result['folder']}"]
    for model in result["models"]:
        mark = "*" if model["name"] == result["default"] else " "
        lines.append(f"{mark} {model['name']} ({model['where']}, licence: {model['licence'] or 'not stated'})")
        lines.append(f"    {model['title']}")
        lines += [f"    {text}" for text in (model["path"], model["problem"]) if text]
    if result["default"]:
        lines.append("* the default")
    return "\n".join(lines)
