"""What to do, as one typed object, checked once when it is made. Everything after it may trust it."""

import difflib
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, Mapping, Optional, Sequence, Tuple, Union

from .errors import InputError
from .modalities import CET1, LABELS, MODALITIES, US, label, labels
from .paths import check_letters, expanded

ImageSource = Union[str, Path, Any]
"""A file name, or a ``SimpleITK.Image``. The room that reads it says what is wrong with it."""

NOISE_INDEPENDENT, NOISE_SHARED = "independent", "shared"

ONE_DIRECTION, THREE_DIRECTIONS = 1, 3

_KEYS = {name.lower(): key for key in MODALITIES for name in (key, LABELS[key])}
_KEYS.update(dict.fromkeys(("t1ce", "t1c", "t1gd"), CET1))

_DICOM_ENDINGS = (".dcm", ".dicom", ".ima")
_DICOM_HEAD, _DICOM_MARK = 128, b"DICM"


def modality_of(name: Any) -> str:
    """Return the key of the modality that a name stands for; one of a model's own stands for itself.

    >>> modality_of("T2"), modality_of("iUS"), modality_of("t1ce"), modality_of("PET")
    ('t2', 'us', 'cet1', 'PET')
    """
    text = str(name).strip()
    return _KEYS.get(text.lower(), text)


def by_modality(given: Any, what: str) -> Dict[str, Any]:
    """Return ``{key: image}`` of what a user gave, without what is None.

    :param what: What the images are for, as messages begin: ``The inputs``.
    :raises InputError: when it is no mapping, or names one modality twice.
    """
    if not isinstance(given, Mapping):
        raise InputError(
            f"{what} must say which volume is what, such as {{'us': volume}}, not {type(given).__name__}. "
            f"The modalities are {', '.join(MODALITIES)}."
        )
    found: Dict[str, Any] = {}
    for name, image in given.items():
        key = modality_of(name)
        if image is not None and key in found:
            raise InputError(f"{what} name {label(key)} twice: leave out {name!r} or the other name of it.")
        if image is not None:
            found[key] = image
    return found


def checked_targets(targets: Optional[Sequence[Any]]) -> Optional[Tuple[str, ...]]:
    """Return the keys of the modalities to synthesise, each once; None stands for all.

    :raises InputError: when there is none, or it is a text.
    """
    if targets is None:
        return None
    if isinstance(targets, str) or not isinstance(targets, Iterable):
        what = f"the text {targets!r}" if isinstance(targets, str) else repr(targets)
        raise InputError(f"The targets must be a list of modalities, such as ['t2'], not {what}.")
    found = tuple(dict.fromkeys(modality_of(target) for target in targets))
    if not found:
        raise InputError("No output is chosen: choose at least one contrast to synthesise.")
    return found


def check_words(call: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Raise :class:`TypeError` where a call is given a word that it does not know."""
    for word in given:
        if word not in known:
            alike = difflib.get_close_matches(word, known, 1)
            meant = f" Did you mean {alike[0]!r}?" if alike else ""
            raise TypeError(f"{call} has no setting {word!r}.{meant} It takes {', '.join(known)}.")


def check_no_dicom(source: ImageSource) -> None:
    """Raise :class:`InputError` where a file is DICOM's: it would be read as a volume of one slice."""
    if not isinstance(source, (str, Path)):
        return
    path = expanded(source)
    try:
        with open(path, "rb") as file:
            marked = file.read(_DICOM_HEAD + len(_DICOM_MARK))[_DICOM_HEAD:] == _DICOM_MARK
    except OSError:  # whoever reads it says what is wrong with it
        return
    if marked or path.suffix.lower() in _DICOM_ENDINGS:
        raise InputError(
            f"{path} is a DICOM file, most often one slice of many: give a volume's file (load a DICOM series in "
            "Slicer and save it as .nrrd)."
        )


def _check_file(source: ImageSource) -> None:
    """Raise :class:`InputError` where a file is seen to be no volume's by its name or its first bytes."""
    if isinstance(source, (str, Path)):
        check_letters(source, InputError)
        check_no_dicom(source)


def _identity(source: ImageSource) -> Union[str, int]:
    """Return what two sources have in common that are one volume, whatever links and roundabout ways lead to it."""
    return os.path.realpath(expanded(source)) if isinstance(source, (str, Path)) else id(source)


def _whole_number(name: str, value, least: int) -> int:
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        whole = None
    if whole is None or whole != value or whole < least:
        raise InputError(f"{name} must be a whole number of {least} or more, not {value!r}.")
    return whole


@dataclass(frozen=True)
class SynthesisRequest:
    """Which images to synthesise from which, and how.

    :param inputs: ``{modality: image}``; a modality is one of ``us, t2, cet1, flair`` or another name of it that
        :func:`modality_of` knows (or of the model's own), an image a file name or a ``SimpleITK.Image`` in world
        coordinates.
    :param targets: The modalities to synthesise; None means all that the model knows.
    :param model: Name in the catalogue or a checkpoint file; None means the default model.
    :param temperature: 0 to 1, scales the spread of every latent sample: 0 gives the most likely image, the same at
        every run; 1 samples the full posterior.
    :param samples: How many images to draw; 2 or more give their mean and standard deviation.
    :param seed: Of the noise; 0 or more. The same seed gives the same images.
    :param device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    :param noise: ``independent`` for each slice, or ``shared`` by all, which flickers less through the plane.
    :param half_precision: Compute in float16; on CUDA only.
    :param batch: Slices at a time on CUDA or MPS; None chooses. A CPU always works on one a thread, which is fastest.
    :param workers: Threads on a CPU; None means one a core.
    :param directions: 1: slices across the K axis of the reference, as published; 3: across each of its axes, and their
        mean, in three times the time. None takes as many as the model was trained on, where the volume allows it.
    :raises InputError: when a value cannot be used; the message says which and what to do.
    """

    inputs: Mapping[str, ImageSource]
    targets: Optional[Tuple[str, ...]] = None
    model: Optional[str] = None
    temperature: float = 0.7
    samples: int = 1
    seed: int = 0
    device: str = "auto"
    noise: str = NOISE_INDEPENDENT
    half_precision: bool = False
    batch: Optional[int] = None
    workers: Optional[int] = None
    directions: Optional[int] = None
    names: Mapping[str, str] = field(default_factory=dict)
    """What the user calls the inputs; used in messages and provenance."""

    def __post_init__(self):
        checked: Dict[str, Any] = {
            "inputs": self._checked_inputs(),
            "targets": checked_targets(self.targets),
            "names": {modality_of(name): called for name, called in self.names.items()},
            "model": None if self.model is None else str(self.model),
            "temperature": self._checked_temperature(),
            "samples": _whole_number("The number of samples", self.samples, 1),
            "seed": _whole_number("The seed", self.seed, 0),
            "device": self._checked_device(),
            "batch": None if self.batch is None else _whole_number("The batch size", self.batch, 1),
            "workers": None if self.workers is None else _whole_number("The number of workers", self.workers, 1),
        }
        if self.noise not in (NOISE_INDEPENDENT, NOISE_SHARED):
            raise InputError(f"The noise must be '{NOISE_INDEPENDENT}' or '{NOISE_SHARED}', not {self.noise!r}.")
        if not isinstance(self.half_precision, bool):
            raise InputError(f"Half precision must be True or False, not {self.half_precision!r}.")
        if self.directions not in (None, ONE_DIRECTION, THREE_DIRECTIONS):
            raise InputError(f"The number of directions must be 1 or 3, not {self.directions!r}.")
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def draws(self) -> int:
        """Samples that differ: at temperature 0 there is nothing random, and every sample is the same."""
        return 1 if self.temperature == 0 else self.samples

    def _checked_inputs(self) -> Dict[str, ImageSource]:
        given = by_modality(self.inputs, "The inputs")
        if not given:
            raise InputError("There is no input: give at least one volume among " + labels(MODALITIES) + ".")
        seen: Dict[Any, str] = {}
        for modality, image in given.items():
            identity = _identity(image)
            if identity in seen:
                raise InputError(
                    f"The same volume is given as {labels([seen[identity]])} and as {labels([modality])}: "
                    "choose a different volume for one of them, or none."
                )
            seen[identity] = modality
            _check_file(image)
        return given

    def _checked_temperature(self) -> float:
        try:
            value = float(self.temperature)
        except (TypeError, ValueError):
            value = math.nan
        if not 0 <= value <= 1:
            raise InputError(f"The temperature must lie between 0 and 1, not {self.temperature!r}.")
        return value

    def _checked_device(self) -> str:
        device = str(self.device).strip().lower()
        family, _, index = device.partition(":")
        if family not in ("auto", "cpu", "cuda", "mps") or (index and (family != "cuda" or not index.isdigit())):
            raise InputError(f"Unknown device {self.device!r}: choose auto, cpu, cuda, cuda:<number> or mps.")
        return device


RIGID, AFFINE = "rigid", "affine"

ENGINES = ("auto", "lncc", "mattes", "brainsfit")


@dataclass(frozen=True)
class RegistrationRequest:
    """Which pre-operative MR to bring to which synthetic MR, and how.

    :param fixed: ``{modality: image}``: the synthetic MR, which lie on the ultrasound; an image is a file name or a
        ``SimpleITK.Image`` in world coordinates.
    :param moving: ``{modality: image}``: the pre-operative MR, which lie on one another. Modalities in both are used
        together.
    :param us: The ultrasound that the synthetic MR were made of. Its field of view, above 0, is what counts, for which
        a mask of it will do; with ``completion`` it is itself registered to iUS made of the MR. None means where the
        fixed images are above 0.
    :param initial: Where to start: a linear ``SimpleITK.Transform`` or its file, from fixed to moving points; None
        means the images' own placement.
    :param kind: ``rigid``, or ``affine``: rigid first, then a stretch of at most 5 % in any direction.
    :param engine: ``auto``, ``lncc`` (needs PyTorch), ``mattes`` or ``brainsfit`` (Slicer's); ``auto`` takes ``lncc``
        where PyTorch can be used, else ``mattes``.
    :param starts: From how many places to start: the initial one, and the best others of a search, or where iUS is
        among several pairs of each of two. 1 means no search.
    :param seed: Of the perturbed repeats that give the confidence; 0 or more.
    :param device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    :param completion: Whether what lacks its partner is synthesised from the pre-operative MR and used beside it: iUS
        for the ultrasound, and, where a single contrast has both, those that are synthetic only. Needs PyTorch and a
        model that knows them.
    :param model: Of the completion: the model that made the synthetic MR; None: the default.
    :raises InputError: when a value cannot be used; the message says which and what to do.
    """

    fixed: Mapping[str, ImageSource]
    moving: Mapping[str, ImageSource]
    us: Optional[ImageSource] = None
    initial: Optional[ImageSource] = None
    kind: str = RIGID
    engine: str = "auto"
    starts: int = 4
    seed: int = 0
    device: str = "auto"
    completion: bool = True
    model: Optional[str] = None
    names: Mapping[str, str] = field(default_factory=dict)
    """What the user calls the moving images; used in messages and provenance."""

    _checked_device = SynthesisRequest._checked_device

    def __post_init__(self):
        given = {
            "fixed": by_modality(self.fixed, "The synthetic MR"),
            "moving": by_modality(self.moving, "The pre-operative MR"),
            "names": {modality_of(name): called for name, called in self.names.items()},
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)
        self._check_images()
        if self.kind not in (RIGID, AFFINE):
            raise InputError(f"The kind of registration must be '{RIGID}' or '{AFFINE}', not {self.kind!r}.")
        if self.engine not in ENGINES:
            raise InputError(f"Unknown engine {self.engine!r} for the registration: choose {', '.join(ENGINES)}.")
        object.__setattr__(self, "starts", _whole_number("The number of starts", self.starts, 1))
        object.__setattr__(self, "seed", _whole_number("The seed", self.seed, 0))
        object.__setattr__(self, "device", self._checked_device())
        if not isinstance(self.completion, bool):
            raise InputError(f"The completion must be True or False, not {self.completion!r}.")
        object.__setattr__(self, "model", None if self.model is None else str(self.model))

    @property
    def pairs(self) -> Tuple[str, ...]:
        """The modalities that are both fixed and moving, in the order of the fixed ones."""
        return tuple(modality for modality in self.fixed if modality in self.moving)

    @property
    def synthetic_only(self) -> Tuple[str, ...]:
        """The modalities that are fixed but not moving."""
        return tuple(modality for modality in self.fixed if modality not in self.moving)

    @property
    def to_complete(self) -> Tuple[str, ...]:
        """The modalities that a completion synthesises from the pre-operative MR, ``us`` the last; empty for none.

        Contrasts only where there is one pair: several correct one another. None where the engine is not one that
        completes. An ultrasound of which only a mask is given turns out when it is read; a synthetic iUS is a field of
        view alone.
        """
        if not self.completion or self.engine not in ("auto", "lncc"):
            return ()
        contrasts = tuple(modality for modality in self.synthetic_only if modality != US)
        is_acquired = self.us is not None and _identity(self.us) != _identity(self.fixed.get(US))
        missing = (US,) if is_acquired and US not in self.pairs else ()
        return (*contrasts, *missing) if len(self.pairs) == 1 else missing

    def _check_images(self) -> None:
        if not self.fixed:
            raise InputError("There is no synthetic MR to register to: synthesise at least one contrast first.")
        if not self.moving:
            raise InputError("There is no pre-operative MR to register: choose at least one.")
        if not self.pairs:
            raise InputError(
                f"The synthetic MR ({labels(self.fixed)}) and the pre-operative MR ({labels(self.moving)}) share no "
                f"contrast: synthesise {labels(self.moving)}, or choose a pre-operative {labels(self.fixed)}."
            )
        self._check_differ()
        for image in (*self.fixed.values(), *self.moving.values(), self.us):
            _check_file(image)

    def _check_differ(self) -> None:
        uses: Dict[Any, str] = {}
        for kind, images in (("synthetic", self.fixed), ("pre-operative", self.moving)):
            for modality, image in images.items():
                use = f"{kind} {labels([modality])}"
                former = uses.setdefault(_identity(image), use)
                if former != use:
                    what = "a different volume for one of them, or none"
                    if not former.startswith(kind):
                        what = "the MR that was acquired before the operation"
                    raise InputError(f"The same volume is given as {former} and as {use}: choose {what}.")
        use = None if self.us is None else uses.get(_identity(self.us))
        # The synthetic iUS itself will do as a field of view.
        if use not in (None, f"synthetic {label(US)}"):
            which = "synthesised from it" if use.startswith("synthetic") else "acquired before the operation"
            raise InputError(f"The same volume is given as ultrasound and as {use}: give the MR that was {which}.")
