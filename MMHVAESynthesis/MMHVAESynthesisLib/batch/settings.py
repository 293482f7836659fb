"""How all cases of a batch are done."""

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

from ..errors import OutputError
from ..outputs import ending
from ..request import NOISE_INDEPENDENT, RIGID, RegistrationRequest, SynthesisRequest
from ..volumes import files

TEMPERATURE = 0.7
"""Of the published prediction."""

OF_REGISTRATION = ("kind", "engine", "starts", "completion")
"""Settings on which a registration depends, where there is one."""


@dataclass(frozen=True)
class Settings:
    """The words of ``SynthesisRequest`` and ``RegistrationRequest``, once for all cases.

    :param temperature: None is 0.7, but 0 where the single image of a case is to be registered to.
    :param format: Ending of the volumes written; None takes that of a case's first input, where it can be written.
    :param register: Whether the pre-operative MR of a case is registered to its synthetic MR; a ``completion`` of
        contrasts is made with the batch's model.
    :raises MMHVAEError: when a value cannot be used; the message says which and what to do.
    """

    targets: Optional[Tuple[str, ...]] = None
    model: Optional[str] = None
    temperature: Optional[float] = None
    samples: int = 1
    seed: int = 0
    device: str = "auto"
    noise: str = NOISE_INDEPENDENT
    half_precision: bool = False
    batch: Optional[int] = None
    workers: Optional[int] = None
    directions: Optional[int] = None
    format: Optional[str] = None
    register: bool = False
    kind: str = RIGID
    engine: str = "auto"
    starts: int = 4
    completion: bool = True

    def __post_init__(self):
        if self.temperature is None:
            object.__setattr__(self, "temperature", 0.0 if self.register and self.samples == 1 else TEMPERATURE)
        request = self.synthesis({"us": "us"})
        self.registration({"t2": "synthetic"}, {"t2": "preoperative"}, "us")
        object.__setattr__(self, "targets", request.targets)
        if self.format is not None:
            object.__setattr__(self, "format", ending(self.format))
        if self.format is not None and self.format not in files.WRITABLE:
            raise OutputError(f"Cannot write {self.format!r}: choose one of {', '.join(files.WRITABLE)}.")

    def synthesis(self, inputs: Mapping[str, Any], device: Optional[str] = None) -> SynthesisRequest:
        """Return the request for one case, on another device than the settings' where one is given."""
        return SynthesisRequest(
            inputs,
            self.targets,
            self.model,
            self.temperature,
            self.samples,
            self.seed,
            device or self.device,
            self.noise,
            self.half_precision,
            self.batch,
            self.workers,
            self.directions,
        )

    def registration(
        self,
        fixed: Mapping[str, Any],
        moving: Mapping[str, Any],
        us: Any,
        names: Optional[Mapping[str, str]] = None,
    ) -> RegistrationRequest:
        """Return the request for one case; registration takes no part of the synthesis' device but ``cpu``.

        :param names: ``{modality: name}`` of the moving images, where those are no files.
        """
        device = "cpu" if self.device == "cpu" else "auto"
        return RegistrationRequest(
            fixed,
            moving,
            us,
            None,
            self.kind,
            self.engine,
            self.starts,
            self.seed,
            device,
            self.completion,
            self.model,
            names or {},
        )

    def that_matter(self) -> Dict[str, Any]:
        """Return what the results depend on, JSON-able: where and how fast they are computed is no part of it.

        The model is left out: its digest says more than its name.
        """
        matter: Dict[str, Any] = {
            "targets": None if self.targets is None else list(self.targets),
            "temperature": self.temperature,
            "samples": self.samples,
            "seed": self.seed,
            "noise": self.noise,
            "half_precision": self.half_precision,
            "directions": self.directions,
            "format": self.format,
        }
        if self.register:
            matter["registration"] = {name: getattr(self, name) for name in OF_REGISTRATION}
        return matter
