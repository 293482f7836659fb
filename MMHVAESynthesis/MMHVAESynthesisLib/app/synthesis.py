"""Synthesis as a job: images to files, the command line in a child, files back to images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

import SimpleITK as sitk

from ..models import catalogue
from ..request import SynthesisRequest
from ..synthesis.result import SynthesisResult
from ..volumes import files
from .file_job import FileJob
from .process import Start


@dataclass(frozen=True)
class PreviewResult:
    """One synthetic slice, and what the whole would take.

    :param images: ``{modality: volume of one plane}``.
    :param plane: Index along K of the reference input.
    :param seconds: Estimate for the whole.
    :param warnings: Sentences for the user.
    """

    images: Dict[str, sitk.Image]
    plane: int
    seconds: float
    warnings: List[str]


class SynthesisJob(FileJob):
    """A request, or a preview of it, in a child process; makes a :class:`SynthesisResult` or :class:`PreviewResult`.

    :param request: Its inputs are images.
    :param start: Starts the child.
    :param preview: Synthesise the middle slice only.
    :raises MMHVAEError: as :class:`FileJob`.
    """

    def __init__(self, request: SynthesisRequest, start: Start, preview: bool = False):
        self._inputs = {modality: request.names.get(modality, modality) for modality in request.inputs}
        self._preview = preview
        # Only for the time in which the inputs are written: they may be large.
        self._request = request
        super().__init__(start)
        del self._request

    def arguments_in(self, folder: Path) -> List[str]:
        """Write the inputs into ``folder`` and return the command line."""
        arguments = ["synthesize", "--output-dir", str(folder / "results"), "--uncompressed"]
        for modality, image in self._request.inputs.items():
            arguments += [f"--{modality}", self.written(image, f"{modality}.nrrd", self._inputs[modality])]
        return [*arguments, *_settings(self._request), *(["--preview"] if self._preview else [])]

    def read(self) -> Any:
        """Return the result with the volumes' own names."""
        images = _read_all(self.result["outputs"])
        if self._preview:
            warnings = [self.in_words(each) for each in self.result["warnings"]]
            return PreviewResult(images, int(self.result["plane"]), float(self.result["seconds"]), warnings)
        warnings = [self.in_words(each) for each in self.result["provenance"]["warnings"]]
        provenance = {**self.result["provenance"], "inputs": self._inputs, "warnings": warnings}
        uncertainty = _read_all(self.result["uncertainty"])
        return SynthesisResult(images, uncertainty, provenance["reference"], provenance, warnings)


def _settings(request: SynthesisRequest) -> List[str]:
    """Return a request's settings as the command line has them."""
    pairs: List[Tuple[str, Any]] = [
        ("targets", None if request.targets is None else ",".join(request.targets)),
        ("model", catalogue.from_anywhere(request.model, has_folder=True)),
        ("temperature", repr(request.temperature)),
        ("samples", request.samples),
        ("seed", request.seed),
        ("noise", request.noise),
        ("device", request.device),
        ("batch", request.batch),
        ("workers", request.workers),
        ("directions", request.directions),
    ]
    arguments = [f"--{name}={value}" for name, value in pairs if value is not None]
    return [*arguments, "--half"] if request.half_precision else arguments


def _read_all(paths: Mapping[str, str]) -> Dict[str, sitk.Image]:
    return {modality: files.read(path) for modality, path in paths.items()}
