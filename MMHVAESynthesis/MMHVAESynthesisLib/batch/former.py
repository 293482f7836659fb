"""Results of a former batch with other settings or patients: known before any work, and replaced only on demand."""

import logging
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ..errors import MMHVAEError, OutputError
from .case_folder import FORMAT, described, read_provenance
from .cases import Case, place
from .checks import trouble_of
from .settings import OF_REGISTRATION, Settings
from .work import model_digest

log = logging.getLogger(__name__)

_SHOWN = 10
_REGISTRATION = "registration"

HOW = "They would be replaced: choose another folder for the results, or give --overwrite (in Python overwrite=True)."
"""What to do, to be said behind :func:`in_words`."""

_OTHER_FILES = "from other files"

ALLOWED = "They will be replaced, as --overwrite allows."
"""The same where that was said already."""


def made_otherwise(
    cases: Sequence[Case], settings: Settings, output: Path, digest: Optional[str]
) -> Dict[str, List[str]]:
    """Return what differs, by case, of the finished cases that were made otherwise and would be replaced.

    With other settings, another model, or of other files: where all lie elsewhere and hold something else, the case is
    another cohort's. A file that was changed where it lies is not: such a case is merely out of date.

    :param digest: Of the model; None where it is not known.
    """
    found = {}
    for case in cases:
        provenance = read_provenance(output / case.name)
        if provenance is not None and not trouble_of(case, settings):
            differences = _differences(provenance, settings, digest)
            differences += [_OTHER_FILES] if _is_of_other_files(case, provenance) else []
            if differences:
                found[case.name] = differences
    return found


def listed(cases: Sequence[Case], settings: Settings, output: Path) -> Dict[str, List[str]]:
    """Return as :func:`made_otherwise`; the model is looked at only where there are results to compare it with."""
    if not any(read_provenance(output / case.name) for case in cases):
        return {}
    try:
        digest: Optional[str] = model_digest(settings.model)
    except MMHVAEError as error:
        log.warning("Whether earlier results were made with this model is not known: %s", error)
        digest = None
    return made_otherwise(cases, settings, output, digest)


def check_replacing(cases: Sequence[Case], settings: Settings, output: Path, digest: str, overwrite: bool) -> None:
    """Say which finished cases will be replaced since they were made with other settings.

    :raises OutputError: unless they may be overwritten.
    """
    found = made_otherwise(cases, settings, output, digest)
    if found and not overwrite:
        raise OutputError(f"{in_words(found, output)} {HOW}")
    if found:
        log.warning("%s They are replaced.", in_words(found, output))


def in_words(found: Mapping[str, Sequence[str]], output: Path) -> str:
    """Return a sentence on the cases that :func:`made_otherwise` found."""
    differences = "; ".join(dict.fromkeys(each for several in found.values() for each in several))
    names = ", ".join(list(found)[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
    were = "1 finished case was" if len(found) == 1 else f"{len(found)} finished cases were"
    alone = differences == _OTHER_FILES
    how = f"{_OTHER_FILES} (of another cohort?)" if alone else f"with other settings ({differences})"
    return f"{were} made {how}, in {output}: {names}."


def _differences(provenance: Mapping[str, Any], settings: Settings, digest: Optional[str]) -> List[str]:
    then, now = _flat(provenance["settings"]), _flat(settings.that_matter())
    if then[_REGISTRATION] != now[_REGISTRATION]:  # its own settings are then on one side alone
        then, now = (
            {name: value for name, value in each.items() if name not in OF_REGISTRATION} for each in (then, now)
        )
    found = [_said(name, then, now) for name in dict.fromkeys([*then, *now]) if then.get(name) != now.get(name)]
    if provenance["format"] != FORMAT:
        found.append("another version of this software")
    if digest is not None and provenance["model"]["digest"] != digest:
        found.append(f"another model ({provenance['model'].get('name', provenance['model']['digest'][:12])})")
    return found


def _is_of_other_files(case: Case, provenance: Mapping[str, Any]) -> bool:
    pairs = list(_pairs(case, provenance))
    if not pairs or any(place(str(then.get("file", ""))) == place(file) for then, file in pairs):
        return False
    try:
        # Only now, since it takes as long as reading them.
        return all(described({"": file})[""]["sha256"] != then["sha256"] for then, file in pairs)
    except MMHVAEError:  # what cannot be read fails by itself, and its results stay
        return False


def _pairs(case: Case, provenance: Mapping[str, Any]) -> Iterator[Tuple[Mapping[str, str], str]]:
    """Yield what is noted of a former file, and the present one, of each that has the same part in the case."""
    for then, now in ((provenance["inputs"], case.inputs), (provenance["preoperative"], case.preoperative)):
        yield from ((then[modality], file) for modality, file in now.items() if modality in then)


def _flat(settings: Mapping[str, Any]) -> Dict[str, Any]:
    """Return settings with those of the registration among them, and whether there is one."""
    registration = settings.get(_REGISTRATION) or {}
    return {**settings, _REGISTRATION: bool(registration), **registration}


def _said(name: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return f"{name.replace('_', ' ')} {_value(then.get(name))}, now {_value(now.get(name))}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    if value is None:
        return "not given"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
