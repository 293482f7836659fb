"""Synthesis as a job: images to files, the command line in a child, files back to images."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import SimpleITK as sitk  # noqa: N813

from ..errors import MMHVAEError
from ..request import SynthesisRequest
from ..synthesis.result import SynthesisResult
from ..volumes import files
from .jobs import DONE, FAILED, RUNNING, Job, JobError
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


class SynthesisJob(Job):
    """A request, or a preview of it, in a child process.

    Inputs travel in world coordinates as uncompressed NRRD through a temporary folder, which :meth:`close` removes and
    so does the job's end.

    :param request: Its inputs are images.
    :param start: Starts the child.
    :param preview: Synthesise the middle slice only.
    :raises MMHVAEError: when the inputs cannot be written or the child cannot be started; nothing is left behind.
    """

    def __init__(self, request: SynthesisRequest, start: Start, preview: bool = False):
        self._inputs = {modality: request.names.get(modality, modality) for modality in request.inputs}
        self._names: Dict[str, str] = {}
        self._preview = preview
        self.images: Optional[Any] = None
        """The :class:`SynthesisResult` or :class:`PreviewResult` of a job that is done."""
        self._folder = Path(tempfile.mkdtemp(prefix="mmhvae-"))
        try:
            super().__init__([*self._write_inputs(request), *_settings(request), *self._outputs()], start)
        except BaseException:
            self.close()
            raise

    def poll(self) -> str:
        """Take in what the child said; once it is done, read its files."""
        before = self.state
        if super().poll() != RUNNING and before == RUNNING:
            try:
                if self.state == DONE:
                    self.images = self._read()
            except (MMHVAEError, AttributeError, KeyError, TypeError, ValueError) as error:
                self.state, self.error = FAILED, self._unreadable(error)
            finally:
                self.close()
            if self.error is not None:
                self.error = self._in_users_words(self.error)
        return self.state

    def kill(self) -> None:
        """End the child at once and remove its files."""
        super().kill()
        self.close()

    def close(self) -> None:
        """Remove the temporary folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write_inputs(self, request: SynthesisRequest) -> List[str]:
        arguments = ["synthesize"]
        for modality, image in request.inputs.items():
            path = files.write(image, self._folder / f"{modality}.nrrd", compress=False)
            self._names[str(path)] = self._inputs[modality]
            arguments += [f"--{modality}", str(path)]
        return arguments

    def _outputs(self) -> List[str]:
        where = ["--output-dir", str(self._folder / "results"), "--uncompressed"]
        return [*where, "--preview"] if self._preview else where

    def _read(self) -> Any:
        images = _read_all(self.result["outputs"])
        if self._preview:
            warnings = [self._in_words(each) for each in self.result["warnings"]]
            return PreviewResult(images, int(self.result["plane"]), float(self.result["seconds"]), warnings)
        provenance = dict(self.result["provenance"])
        provenance["inputs"] = self._inputs
        warnings = [self._in_words(each) for each in provenance["warnings"]]
        provenance["warnings"] = warnings
        uncertainty = _read_all(self.result["uncertainty"])
        return SynthesisResult(images, uncertainty, provenance["reference"], provenance, warnings)

    @staticmethod
    def _unreadable(error: Exception) -> MMHVAEError:
        return JobError(
            f"The computation ended, but its results cannot be read back ({error}). Is the disk full? Nothing was "
            "changed."
        )

    def _in_words(self, text: str) -> str:
        """Return a message with the volumes' names where it says the names of temporary files."""
        for path, name in self._names.items():
            text = text.replace(path, name)
        return text

    def _in_users_words(self, error: MMHVAEError) -> MMHVAEError:
        return type(error)(self._in_words(str(error)))


def _settings(request: SynthesisRequest) -> List[str]:
    """Return a request's settings as the command line has them."""
    pairs: List[Tuple[str, Any]] = [
        ("targets", None if request.targets is None else ",".join(request.targets)),
        ("model", request.model),
        ("temperature", repr(request.temperature)),
        ("samples", request.samples),
        ("seed", request.seed),
        ("noise", request.noise),
        ("device", request.device),
        ("batch", request.batch),
        ("workers", request.workers),
    ]
    arguments = [f"--{name}={value}" for name, value in pairs if value is not None]
    return [*arguments, "--half"] if request.half_precision else arguments


def _read_all(paths: Mapping[str, str]) -> Dict[str, sitk.Image]:
    return {modality: files.read(path) for modality, path in paths.items()}
