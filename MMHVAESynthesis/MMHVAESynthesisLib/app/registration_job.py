"""Registration as a job: images to files, the command line in a child, its figures back."""

from pathlib import Path
from typing import Any, List

import numpy as np

from ..models import catalogue
from ..registration.result import ContrastSimilarity, RegistrationResult
from ..registration.transforms import affine_of
from ..request import RegistrationRequest
from .file_job import FileJob
from .process import Start


class RegistrationJob(FileJob):
    """A request in a child process; makes a :class:`RegistrationResult`.

    :param request: Its volumes are images; ``initial`` is not used.
    :param start: Starts the child.
    :raises MMHVAEError: as :class:`FileJob`.
    """

    def __init__(self, request: RegistrationRequest, start: Start):
        self._moving = {modality: request.names.get(modality, modality) for modality in request.moving}
        # Only for the time in which the inputs are written: they may be large.
        self._request = request
        super().__init__(start)
        del self._request

    def arguments_in(self, folder: Path) -> List[str]:
        """Write the inputs into ``folder`` and return the command line."""
        request = self._request
        arguments = ["register", "--output", str(folder / "transform.tfm")]
        used = {*request.pairs, *request.to_complete}
        for modality in filter(used.__contains__, request.fixed):
            fixed = self.written(request.fixed[modality], f"synthetic-{modality}.nrrd", modality)
            arguments += [f"--synthetic-{modality}", fixed]
        for modality in request.pairs:
            moving = self.written(request.moving[modality], f"{modality}.nrrd", self._moving[modality])
            arguments += [f"--{modality}", moving]
        if request.us is not None:
            arguments += ["--us", self.written(request.us, "us.nrrd", "iUS")]
        if not request.completion:
            arguments.append("--no-completion")
        settings = {name: getattr(request, name) for name in ("kind", "engine", "starts", "seed", "device")}
        settings["model"] = catalogue.from_anywhere(request.model, has_folder=True)
        return [*arguments, *(f"--{name}={value}" for name, value in settings.items() if value is not None)]

    def read(self) -> Any:
        """Return the result with the volumes' own names."""
        said = self.result
        matrix = np.array(said["fixed_to_moving"], dtype=float).reshape(4, 4)
        warnings = [self.in_words(each) for each in said["provenance"]["warnings"]]
        provenance = {**said["provenance"], "moving": self._moving, "warnings": warnings}
        return RegistrationResult(
            fixed_to_moving=affine_of(matrix),
            moving_to_fixed=affine_of(np.linalg.inv(matrix)),
            metric_before=float(said["metric_before"]),
            metric_after=float(said["metric_after"]),
            confidence=float(said["confidence_mm"]),
            overlap=float(said["overlap"]),
            moved=float(said["moved_mm"]),
            kept_start=bool(said["kept_start"]),
            contrasts=[ContrastSimilarity(**contrast) for contrast in said["contrasts"]],
            warnings=warnings,
            seconds=float(said["provenance"].get("seconds", 0.0)),
            provenance=provenance,
        )
