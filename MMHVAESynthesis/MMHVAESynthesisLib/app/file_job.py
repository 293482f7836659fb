"""A job whose volumes travel through a temporary folder."""

import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Dict, List, Optional

import SimpleITK as sitk

from ..errors import DeviceError, MMHVAEError
from ..volumes import files
from .i18n import _
from .jobs import DONE, FAILED, RUNNING, Job, memory_ran_out
from .process import JobError, Start

_PREFIX = "mmhvae-job-"
_LEFT_BEHIND = 7 * 24 * 3600.0
"""Seconds after which a folder of this name belongs to no job that still runs."""


class FileJob(Job, ABC):
    """A run of the command line with volumes as files, uncompressed NRRD in world coordinates.

    A class of its own says what to run (:meth:`arguments_in`) and what comes of it (:meth:`read`). The folder is
    removed when the job ends, however it ends; those of a Slicer that was killed, with a patient's images in them, when
    a later one begins.

    :param start: Starts the child.
    :raises MMHVAEError: when the inputs cannot be written or the child cannot be started; nothing is left behind.
    """

    def __init__(self, start: Start):
        self.made: Optional[Any] = None
        """What :meth:`read` returned, once the job is done."""
        self._names: Dict[str, str] = {}
        """What the user calls the files."""
        _remove_left_behind()
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            super().__init__(self.arguments_in(self._folder), start)
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def arguments_in(self, folder: Path) -> List[str]:
        """Write the inputs into ``folder`` and return the command line."""

    @abstractmethod
    def read(self) -> Any:
        """Return what the child's ``result`` and files say."""

    def poll(self) -> str:
        """Take in what the child said; once it is done, read its files."""
        before = self.state
        if super().poll() != RUNNING and before == RUNNING:
            try:
                if self.state == DONE:
                    self.made = self.read()
            except (MemoryError, DeviceError):  # the latter of a file that is read
                self.state, self.error = FAILED, JobError(memory_ran_out())
            except (MMHVAEError, AttributeError, KeyError, TypeError, ValueError) as error:
                self.state, self.error = FAILED, _unreadable(error)
            finally:
                self.close()
            if self.error is not None:
                self.error = type(self.error)(self.in_words(str(self.error)))
        return self.state

    def kill(self) -> None:
        """End the child at once and remove its files."""
        super().kill()
        self.close()

    def close(self) -> None:
        """Remove the temporary folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def written(self, image: sitk.Image, file_name: str, name: str) -> str:
        """Write an input into the folder and return its path; messages will call it ``name``."""
        path = str(files.write(image, self._folder / file_name, compress=False))
        self._names[path] = name
        return path

    def in_words(self, text: str) -> str:
        """Return a message with the volumes' names where it says the names of temporary files."""
        for path, name in self._names.items():
            text = text.replace(path, name)
        return text


def _remove_left_behind() -> None:
    """Remove the folders of jobs that nobody removed: old ones of this user's."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime > _LEFT_BEHIND:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            # Another Slicer was quicker.
            continue


def _unreadable(error: Exception) -> MMHVAEError:
    words = _("The computation ended, but its results cannot be read back ({error}). Is the disk full?")
    return JobError(f"{words.format(error=error)} {_('Nothing was changed.')}")
