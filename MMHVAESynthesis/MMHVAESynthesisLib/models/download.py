"""Models from the network into the user's folder: resumed after a cut, checked against the catalogue, put in place
whole or not at all; and deleted.

What has arrived of a download is kept beside as ``.<file>.part`` and gone on with next time, also in another session.
"""

import glob
import shutil
import tempfile
from pathlib import Path
from typing import Optional

from ..errors import InputError, ModelError, OutputError
from ..paths import move
from ..progress import CancelFlag, ProgressCallback
from . import catalogue, identify
from .catalogue import BUNDLED, ModelEntry
from .licences import notice
from .transfer import TIMEOUT, Transfer, by_hand, can_go_on_with, is_right, remove, scheme_of, size_of


def download(
    entry: ModelEntry,
    progress: Optional[ProgressCallback] = None,
    cancel: Optional[CancelFlag] = None,
    accept_licence: bool = False,
    timeout: float = TIMEOUT,
) -> Path:
    """Fetch a model of the catalogue into the user's folder, unless it is there; one that was changed is replaced.

    :param progress: Stage ``download (kB)``.
    :param accept_licence: Whether the user was shown a licence that is not permissive, and agreed.
    :return: The model's file, as the catalogue describes it.
    :raises InputError: when the licence has to be agreed to first, which the message shows; or when the model is a file
        of the user's own.
    :raises ModelError: when the model cannot be had, or what arrives is another file; the message says how to get it by
        hand. Nothing but whole, verified files is ever in place.
    :raises OutputError: when the folder cannot be written into, or is too small.
    :raises Cancelled: when asked to stop; what has arrived is kept.
    """
    if not entry.in_catalogue:
        raise InputError(f"'{entry.path}' is a file of your own: there is nothing to download.")
    if entry.path is not None and (entry.bundled or is_right(entry, entry.path)):
        catalogue.verify(entry, entry.path)
        return entry.path
    _check(entry, accept_licence)
    folder = _folder(entry)
    part, target = folder / f".{entry.file}.part", folder / entry.file
    try:
        right = _bring(entry, part, target, Transfer(entry, part, timeout, progress, cancel))
        if right is not None:
            _put_in_place(right, target)
        remove(part)
    except (ModelError, OutputError):
        # Another window or program may have fetched it meanwhile; the part is gone then.
        if not is_right(entry, target):
            raise
    return target


def _bring(entry: ModelEntry, part: Path, target: Path, transfer: Transfer) -> Optional[Path]:
    """Bring all bytes into a part file, and make sure that they are the right ones.

    :return: The part file; None where the right file is in place already: somebody else put it there meanwhile.
    """
    if can_go_on_with(part) and is_right(entry, part):  # all there, of a download that ended before it was in place
        return part
    resumed = part.exists()
    arrived = transfer.run()
    if is_right(entry, arrived):
        return arrived
    if resumed and not is_right(entry, target):
        # The server's file may have changed between the two halves: once more, from the start.
        remove(arrived)
        arrived = transfer.run()
        if is_right(entry, arrived):
            return arrived
    if not is_right(entry, target):
        raise _wrong(entry, arrived)
    if arrived != part:
        remove(arrived)
    return None


def _put_in_place(part: Path, target: Path) -> None:
    try:
        move(part, target)
    except OSError as error:
        raise OutputError(f"Cannot write {target}: {error.strerror or error}.") from error


def delete(entry: ModelEntry) -> Path:
    """Delete a model from the user's folder, and what a broken download left of it; return its file's name.

    :raises InputError: when it is not there, or not in that folder.
    """
    folder = catalogue.models_dir()
    part = folder / f".{entry.file}.part"
    if entry.where == BUNDLED:
        raise InputError(f"The model '{entry.name}' came with this software and is not deleted.")
    path = entry.path if entry.path is not None else part
    if path.parent.resolve() != folder.resolve():
        raise InputError(f"'{path}' does not lie in your folder for models, '{folder}': delete it by hand.")
    if not path.is_file() and not part.is_file():
        raise InputError(f"The model '{entry.name}' is not on this machine: there is nothing to delete.")
    try:
        path.unlink(missing_ok=True)
        for left in (part, *folder.glob(f".{glob.escape(entry.file)}.*.part")):
            left.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot delete {path}: {error.strerror or error}.") from error
    return path


def _check(entry: ModelEntry, accept_licence: bool) -> None:
    if not entry.url or not (entry.sha256 or entry.git_blob_id):
        raise ModelError(f"The catalogue does not say where to get '{entry.name}', or how to verify it.")
    if scheme_of(entry.url) not in ("http", "https"):
        raise ModelError(f"The catalogue's address of '{entry.name}' is none of the web: {entry.url}.")
    if notice(entry) and not accept_licence:
        raise InputError(f"{notice(entry)} Read it ({entry.source or entry.url}), and give --accept-licence to agree.")


def _folder(entry: ModelEntry) -> Path:
    folder = catalogue.folder_to_write()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise OutputError(
            f"Cannot write into your folder for models, '{folder}': {error.strerror or error}. Set "
            f"{catalogue.MODELS_DIR_VARIABLE} to another one."
        ) from error
    part = folder / f".{entry.file}.part"
    arrived = size_of(part) if can_go_on_with(part) else 0
    missing = 0 if entry.size is None else entry.size - min(arrived, entry.size)
    if free < missing:
        raise OutputError(
            f"'{folder}' has {free / 1e6:.1f} MB left, the model needs {missing / 1e6:.1f} MB: free some space."
        )
    return folder


def _wrong(entry: ModelEntry, arrived: Path) -> ModelError:
    """Remove a file that is not the one that the catalogue describes, and return what to raise."""
    try:
        identify.identify(arrived)
        what = "is not the file that the catalogue describes: it was changed on its way, or on the server"
    except ModelError as error:
        what = f"is no model ({error})"
    remove(arrived)
    return ModelError(
        f"What {entry.url} gave {what}. It was deleted. Behind a proxy, log in there first. {by_hand(entry)}"
    )
