"""BRAINSFit, Slicer's general registration module, one resolution at a time, behind an interface.

It has one resolution and no smoothing, so it gets each level's own volumes, smoothed and cropped, in local
coordinates. Johnson et al., "BRAINSFit: Mutual Information Registrations of Whole-Brain 3D Images, Using the Insight
Toolkit", Insight Journal 2007.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Protocol

import numpy as np
import SimpleITK as sitk

from ..errors import DependencyError, InputError
from ..paths import for_itk
from ..progress import Reporter
from .pyramid import Level, local_image
from .stepwise import sampled_part
from .transforms import matrix_of, transform_of

SAMPLED, BINS = 0.1, 50

NO_TRANSFORM = "gave back no transform"

_POLL_SECONDS = 0.05

_LAST_CHARACTERS = 400
"""Of BRAINSFit's own text that an error keeps."""


def failure(what: str, text: str) -> DependencyError:
    """Return the error to raise when BRAINSFit did ``what``; ``text`` is what it wrote, of which the end is kept."""
    said = text.strip()[-_LAST_CHARACTERS:]
    return DependencyError(
        f"BRAINSFit {what}: choose another engine. " + (f"It said: {said}" if said else "It said nothing.")
    )


class BrainsFitRunner(Protocol):
    """What runs BRAINSFit: Slicer's command-line modules, or its executable."""

    def run(
        self,
        images: Dict[str, sitk.Image],
        initial: sitk.Transform,
        settings: Dict[str, Any],
        check: Callable[[], None],
    ) -> sitk.Transform:
        """Run once and return the linear transform found, from fixed to moving points.

        :param images: ``fixedVolume``, ``movingVolume``, ``fixedBinaryVolume``, ``movingBinaryVolume``.
        :param initial: From fixed to moving points.
        :param settings: BRAINSFit's other parameters by name: bool, int, float or str.
        :param check: To be called while waiting; raises :class:`Cancelled` once asked to stop, and the run must end
            then.
        :raises DependencyError: when BRAINSFit fails; the message holds the end of what it wrote.
        """


class BrainsFitDescent:
    """Mattes mutual information by BRAINSFit's regular-step gradient descent."""

    name = "brainsfit"

    def __init__(self, runner: BrainsFitRunner):
        self.runner = runner

    def __enter__(self) -> "BrainsFitDescent":
        return self

    def __exit__(self, *error) -> None:
        pass

    def run(
        self, level: Level, pair: int, start: np.ndarray, step: float, mask: np.ndarray, affine: bool, report: Reporter
    ) -> np.ndarray:
        """Return the (4, 4) local pose reached from ``start``; see :class:`Descent`."""
        images = {
            "fixedVolume": local_image(level.fixed[pair], level.fixed_origin, level.spacing),
            "movingVolume": local_image(level.moving[pair], level.moving_origin, level.spacing),
            "fixedBinaryVolume": local_image(mask, level.fixed_origin, level.spacing),
            "movingBinaryVolume": local_image(level.valid[pair], level.moving_origin, level.spacing),
        }
        settings = self._settings(step, sampled_part(SAMPLED, mask), affine)
        report.check()
        found = self.runner.run(images, transform_of(start, np.zeros(3)), settings, report.check)
        report.check()
        try:
            return matrix_of(found)
        except InputError as error:
            raise DependencyError(
                "BRAINSFit gave back a transform that cannot be used: choose another engine."
            ) from error

    @staticmethod
    def _settings(step: float, sampled: float, affine: bool) -> Dict[str, Any]:
        settings: Dict[str, Any] = {
            "useRigid": True,
            "initializeTransformMode": "Off",
            # Both masks are demanded in this mode, so the moving one is given even where it is all ones.
            "maskProcessingMode": "ROI",
            "samplingPercentage": sampled,
            "costMetric": "MMI",
            "numberOfHistogramBins": BINS,
            "maximumStepLength": float(step),
            "minimumStepLength": float(step) / 100,
            # More threads would not repeat bit for bit.
            "numberOfThreads": 1,
        }
        if affine:
            settings.update(useScaleVersor3D=True, useScaleSkewVersor3D=True, useAffine=True)
        return settings


class ExecutableRunner:
    """Runs BRAINSFit's executable, with files between, in a child that ends when the user cancels."""

    def __init__(self, *command: str):
        """Take the words that start it: the executable, and what must come before its own arguments."""
        self.command = command

    def run(
        self,
        images: Dict[str, sitk.Image],
        initial: sitk.Transform,
        settings: Dict[str, Any],
        check: Callable[[], None],
    ) -> sitk.Transform:
        """Run once and return the linear transform found; see :class:`BrainsFitRunner`."""
        with tempfile.TemporaryDirectory(prefix="mmhvae-brainsfit-") as name:
            folder = Path(name)
            words = list(self.command)
            for key, image in images.items():
                sitk.WriteImage(image, for_itk(folder / f"{key}.nrrd"))
                words += [f"--{key}", for_itk(folder / f"{key}.nrrd")]
            sitk.WriteTransform(initial, for_itk(folder / "initial.h5"))
            output = folder / "found.h5"
            words += ["--initialTransform", for_itk(folder / "initial.h5"), "--linearTransform", for_itk(output)]
            words += [word for item in settings.items() for word in _words(*item)]
            self._wait(words, folder / "text", check)
            try:
                return sitk.ReadTransform(for_itk(output))
            except RuntimeError as error:
                raise failure(NO_TRANSFORM, _read(folder / "text")) from error

    def _wait(self, words, text: Path, check: Callable[[], None]) -> None:
        try:
            with open(text, "wb") as file:
                child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
        except OSError as error:
            raise DependencyError(
                f"BRAINSFit cannot be started from {self.command[0]}: choose another engine."
            ) from error
        try:
            while True:
                try:
                    child.wait(_POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    check()
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        if child.returncode != 0:
            raise failure(f"failed (exit code {child.returncode})", _read(text))


def executable_runner() -> Optional[ExecutableRunner]:
    """Return a runner of the BRAINSFit on the search path, None where there is none."""
    found = shutil.which("BRAINSFit")
    return None if found is None else ExecutableRunner(found)


def _words(name: str, value: Any):
    if isinstance(value, bool):
        return [f"--{name}"] if value else []
    return [f"--{name}", str(value)]


def _read(text: Path) -> str:
    return text.read_text(encoding="utf-8", errors="replace")
