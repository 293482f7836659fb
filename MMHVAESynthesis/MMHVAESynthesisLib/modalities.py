"""The four modalities: their keys, their names for people, and how to recognise a volume as one of them."""

import re
from functools import lru_cache
from typing import List, Mapping, Optional, Tuple

US, T2, CET1, FLAIR = "us", "t2", "cet1", "flair"

MODALITIES: Tuple[str, ...] = (US, T2, CET1, FLAIR)
"""Keys in the order of the published model. The first modality of a run in this order is its reference."""

MR: Tuple[str, ...] = (T2, CET1, FLAIR)
"""Those of :data:`MODALITIES` that are MR: what is registered."""

LABELS = {US: "iUS", T2: "T2", CET1: "ceT1", FLAIR: "FLAIR"}
"""How the modalities are written for people."""

DESCRIPTIONS = {
    US: "intra-operative ultrasound",
    T2: "T2-weighted MR",
    CET1: "contrast-enhanced T1-weighted MR",
    FLAIR: "T2-FLAIR MR",
}

_OWN_NAME = re.compile(r"_synthetic-\w|(^|_)preview-(iUS|T2|ceT1|FLAIR)\b|\bsynthetic \w+( uncertainty)? \(MMHVAE\)")
_OWN_CONTRAST = re.compile(r"(?:_synthetic-|(?:^|_)preview-|\bsynthetic )(iUS|T2|ceT1|FLAIR)\b")

# Patterns for names as _words writes them: lower case, words apart by single spaces.
_SYNTHETIC = re.compile(r"\b(synth\w*|mmhvae|predicted|generated|uncertainty|stdev)\b")
_LABEL = re.compile(r"\b(seg\w*|label\w*|mask|roi)\b")
_ULTRASOUND = re.compile(
    r"\b(i ?us|us|io ?us|3d ?us|ius ?\d+|us ?\d+|us ?(pre|intra|post|before|after|during)\w*"
    r"|ultra ?sound|ultraschall|sono\w*|echograph\w*|predura|postdura)\b"
)
_FLAIR = re.compile(r"\b(t2 ?)?(flair|dark ?fluid|da ?fl|tirm?|(space|spc) ?ir\w*)\b")
_CONTRAST = r"(ce|gd|gad\w*|\+ ?c|post ?contrast|post ?con\w*|post|km|contrast\w*|enhanced|c|gado\w*|dotarem|gadovist)"
_T1 = r"(t ?1w?i?|mprage|mp ?rage|bravo|spgr|fspgr|t ?1 ?weighted|t ?1 ?tfe|vibe)"
_CET1 = re.compile(rf"\b{_T1}\b.*\b{_CONTRAST}\b|\b{_CONTRAST}\b.*\b{_T1}\b|\bt ?1 ?w?({_CONTRAST})\b")
_NO_CONTRAST = re.compile(
    rf"\b(pre|non|no|ohne|o|vor|sans|avant|w ?o|minus) ?{_CONTRAST}\b"
    r"|\b(without|native|nativ|unenhanced|sans)\b"
)
_PRE = re.compile(r"\bpre\b(?! ?op)")
_POST_WHAT = re.compile(r"\bpost ?(op\w*|resection|surg\w*|treatment|rt)\b")
"""After what, when it is not the contrast agent."""
_C_MINUS = re.compile(r"(?<![a-z+])C-(?=$|[\s_.])", re.IGNORECASE)
_SEQUENCE = r"(tirm|tse|fse|3d|2d|ax\w*|cor\w*|sag\w*|tra\w*|blade|propeller|cube)"
_T1_FLAIR = re.compile(rf"(?<!space )(?<!to )(?<!reg )\b{_T1} ({_SEQUENCE} )*(flair|tirm?|dark ?fluid)\b")
"""A T1 that was made as a FLAIR; not a FLAIR that lies in the space of a T1."""
_T2 = re.compile(r"\b(t ?2w?i?|t ?2 ?weighted|ciss|fiesta|t ?2 ?tse|t ?2 ?fse)\b")
_OF_MR = re.compile(rf"\b(mri?|{_T1})\b")
_PREOPERATIVE = re.compile(r"(?<![a-z])pr(?:e|ae|ä)[ _.-]?op(erative|erativ)?(?![a-z])", re.IGNORECASE)
_T2_STAR = re.compile(r"\b(t ?2 ?\*|t ?2 ?star|swi|gre|dsc|perf\w*|epi|map|t2s)\b|t2 ?\*")


def label(modality: str) -> str:
    """Return the name for people of a modality key; a key that is not one of :data:`MODALITIES` stands for itself."""
    return LABELS.get(modality, modality)


def labels(modalities) -> str:
    """Return the names for people of several modality keys, in a sentence: ``iUS, T2``."""
    return ", ".join(label(modality) for modality in modalities)


def is_preoperative(name: str) -> bool:
    """Return whether a volume's name says that it is from before the operation, and so lies where the brain was then.

    >>> is_preoperative("T2_pre-op"), is_preoperative("T2 präop.nrrd"), is_preoperative("preoptimised T2")
    (True, True, False)
    """
    return bool(_PREOPERATIVE.search(name))


def is_synthetic_name(name: str) -> bool:
    """Return whether a volume's name, or its file's, is one that this software gives to what it synthesises.

    >>> is_synthetic_name("us_synthetic-T2.nii.gz"), is_synthetic_name("Case3 synthetic ceT1 (MMHVAE)")
    (True, True)
    >>> is_synthetic_name("preview-T2.nrrd"), is_synthetic_name("synthetic phantom"), is_synthetic_name("T2")
    (True, False, False)
    """
    return bool(_OWN_NAME.search(name))


def of_synthetic_input(modality: str, name: str) -> str:
    """Return the warning of an input that is itself synthetic."""
    what = f"The {label(modality)} '{name}' is itself synthetic"
    return f"{what}: what is computed from it says nothing new about the patient."


def _words(name: str) -> str:
    """Return ``name`` as lower-case words, with T1ce, T1Gd, t1c and the like cut behind the figure."""
    text = re.sub(r"\.(nii|nrrd|nhdr|mha|mhd|gz|dcm|seq)\b", " ", name, flags=re.IGNORECASE)
    text = _C_MINUS.sub(" native ", text)
    text = re.sub(r"(?<=[a-z])(?=[A-Z][0-9A-Z])", " ", text)
    text = re.sub(r"[^A-Za-z0-9*+]+", " ", text).lower()
    text = re.sub(r"\b(ce|gd|c)\s?(t[12])", r"\1 \2", text)
    text = re.sub(r"\bt1\s?w?\s?(ce|gd|gado?|c|km|\+c|post)\b", r"t1 \1", text)
    return text.strip()


def recognise(name: str, dicom: Optional[Mapping[str, str]] = None) -> Optional[str]:
    """Guess which modality a volume is from its name and, where known, its DICOM tags.

    :param name: The volume's name, or its file name.
    :param dicom: Tags by keyword; ``Modality``, ``SeriesDescription``, ``ProtocolName`` and ``ContrastBolusAgent``
        are read.
    :return: A key of :data:`MODALITIES`, or None where nothing speaks clearly for one. A guess: the user has to see it.

    A T1 without a sign of contrast agent (T1-FLAIR too), a T2*, a label map or a synthetic volume is none of the four.

    >>> recognise("Case3-US-before.nii.gz"), recognise("T2_FLAIR_AX"), recognise("t1ce"), recognise("T1_MPRAGE_pre")
    ('us', 'flair', 'cet1', None)
    """
    tags = dicom or {}
    text = _words(" ".join([name, tags.get("SeriesDescription", ""), tags.get("ProtocolName", "")]))
    if _SYNTHETIC.search(text) or _LABEL.search(text):
        return None
    scanner = tags.get("Modality", "").upper()
    if scanner == "US":
        return US
    if scanner and scanner != "MR":
        return None
    return _recognise_mr(text, bool(tags.get("ContrastBolusAgent", "").strip())) or (
        US if not scanner and _ULTRASOUND.search(text) else None
    )


def _recognise_mr(text: str, agent: bool) -> Optional[str]:
    text = _POST_WHAT.sub(" ", text)
    if _T1_FLAIR.search(text):
        text = _FLAIR.sub(" ", text)
    if _FLAIR.search(text):
        return FLAIR
    if _CET1.search(text) and not _NO_CONTRAST.search(text):
        return CET1
    if re.search(rf"\b{_T1}\b", text):
        return CET1 if agent and not _NO_CONTRAST.search(text) and not _PRE.search(text) else None
    if _T2.search(text) and not _T2_STAR.search(text):
        return T2
    return None


@lru_cache(maxsize=1024)
def other_modality(modality: str, name: str) -> Optional[str]:
    """Return what an input's name, or its file's, says that it is, where no part of it says what it is given as.

    Names speak of other modalities too: ``iUS_on_T2.nrrd`` lies in the space of a T2. A T1 may have been made with
    contrast agent though its name does not say so, and MR that speaks of ultrasound is none.

    >>> other_modality("us", "T2.nrrd"), other_modality("us", "iUS_on_T2.nrrd"), other_modality("us", "scan.nrrd")
    ('t2', None, None)
    >>> other_modality("t2", "us_synthetic-FLAIR.nrrd"), other_modality("flair", "us_synthetic-FLAIR.nrrd")
    ('flair', None)
    """
    own = _OWN_CONTRAST.search(name) if is_synthetic_name(name) else None
    if own:
        other = next(each for each in MODALITIES if label(each) == own.group(1))
        return None if other == modality else other
    other = recognise(name)
    if modality not in MODALITIES or other in (None, modality):
        return None
    text = _words(name)
    if (other == US and _OF_MR.search(text)) or (modality == CET1 and re.search(rf"\b{_T1}\b", text)):
        return None
    words = re.findall(r"[A-Za-z0-9*+]+", name)
    parts = (" ".join(words[i:j]) for j in range(len(words) + 1) for i in range(j))
    return None if any(recognise(part) == modality for part in parts) else other


def of_other_modalities(names: Mapping[str, str], what: str) -> List[str]:
    """Return a warning for every input (``{modality: name}``) that is called as another one.

    :param what: What the names are of: ``file`` or ``volume``.
    """
    others = {modality: other_modality(modality, name) for modality, name in names.items()}
    return [
        f"'{names[modality]}' is given as {label(modality)} and looks like {label(other)} by its name: is it the right "
        f"{what}?"
        for modality, other in others.items()
        if other is not None
    ]
