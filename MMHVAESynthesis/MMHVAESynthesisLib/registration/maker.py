"""Which model made the synthetic MR: what is completed has to come from the same one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, Mapping, Optional, Tuple, Union

from ..modalities import labels
from ..models.recognition import recognised
from ..paths import expanded
from ..request import RegistrationRequest
from ..synthesis import record

Maker = Tuple[Optional[str], Optional[str]]
"""A model's name and digest, as what was made by it notes them; ``(None, None)`` where nothing is noted."""

UNKNOWN: Maker = (None, None)


def completing(makers: Iterable[Maker], model: Optional[str]) -> Dict[str, Any]:
    """Return ``model`` and ``completion`` of a request to register to volumes of these makers.

    Another model than theirs does not fit: where the volumes note theirs, and it is none or not on this machine,
    nothing is completed.

    :param model: The one that was asked for, which is kept.
    """
    made_by = set(makers)
    if model or made_by <= {UNKNOWN}:
        return {}
    found = recognised(*(fact or "" for fact in made_by.pop())) if len(made_by) == 1 else None
    return {"model": found} if found is not None else {"completion": False}


def why_not_completed(request: RegistrationRequest, makers: Iterable[Maker], advice: str = "") -> str:
    """Return the warning that a request is not completed, since the model of its synthetic volumes is not found.

    :param advice: What else can be done, ``", or ..."``.
    :return: Nothing where there would be nothing to complete.
    """
    missing = replace(request, completion=True).to_complete
    if request.completion or not missing:
        return ""
    names = list(dict.fromkeys(name or "?" for name, _ in makers))
    why = (
        f"not one and the same model made all synthetic MR ({', '.join(names)}). Synthesise them anew, with "
        f"one{advice}."
        if names[1:]
        else f"the model '{names[0]}', which made the synthetic MR, is not among the models of this machine. Put its "
        f"file into your folder for models, or synthesise anew{advice}."
    )
    verb = "is" if len(missing) == 1 else "are"
    return f"{labels(missing)} {verb} not completed from {labels(request.pairs)}: {why}"


def makers_of(files: Iterable[Union[str, Path]]) -> Tuple[Maker, ...]:
    """Return the maker of each file, as the record says that the command or the batch left beside it."""
    return tuple(next(_noted(expanded(file)), UNKNOWN) for file in files)


def _noted(file: Path) -> Iterator[Maker]:
    """Give what the records beside a file say of the model that made it."""
    try:
        beside = sorted(file.parent.glob("*.json"))
    except OSError:
        return
    for path in beside:
        try:
            if path.name == "provenance.json":
                yield from _of_a_case(json.loads(path.read_text(encoding="utf-8")), file)
            elif path.name.endswith("_synthetic.json"):
                yield from _of_runs(record.runs(path), file)
        except (OSError, ValueError, AttributeError, LookupError, TypeError):
            continue  # no record of ours


def _of_runs(runs: Iterable[Mapping[str, Any]], file: Path) -> Iterator[Maker]:
    for run in runs:
        if file.name in run[record.FILES]:
            yield _maker(run.get("model"), run.get("model_digest"))


def _of_a_case(provenance: Mapping[str, Any], file: Path) -> Iterator[Maker]:
    if file.name in provenance.get("outputs", ()):
        yield _maker(provenance["model"].get("name"), provenance["model"].get("digest"))


def _maker(name: Any, digest: Any) -> Maker:
    """Return what a record notes; of one by another software nothing but texts."""
    return (name if isinstance(name, str) else None), (digest if isinstance(digest, str) else None)
