"""One model's bytes over the web: resumed over as many connections as it takes, from web addresses alone."""

import http.client
import logging
import os
import ssl
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Optional, Tuple

from .. import __version__
from ..errors import Cancelled, ModelError, OutputError
from ..paths import expanded
from ..progress import CancelFlag, ProgressCallback, Reporter
from . import catalogue
from .catalogue import ModelEntry
from .waiting import Waiting

log = logging.getLogger(__name__)

CERTIFICATES_VARIABLE = "MMHVAE_SSL_CERT_FILE"
"""Names a PEM file of certificates to trust beside the system's, such as those of an institute's proxy.

From Slicer a child gets the SSL_CERT_FILE of Slicer's Python by this name: the launcher PythonSlicer sets that itself.
"""

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as dead."""

_ATTEMPTS = 4
"""Connections in a row that bring nothing new before the download is given up."""

_BLOCK = 1 << 16
_UNIT = 1000
_LARGEST = 4 << 30
"""Bytes, where neither catalogue nor server states a size."""

_CUT = "the connection was cut"
_UNLIKE = (
    "the server does not say how large the file is, and what came is not the one that the catalogue describes: it was "
    "cut, or is another one"
)
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)


def scheme_of(url: str) -> str:
    """Return the scheme of an address in lower case."""
    return urllib.parse.urlsplit(url).scheme.lower()


def is_right(entry: ModelEntry, path: Path) -> bool:
    """Return whether a file is there, and the one that the catalogue describes."""
    try:
        catalogue.verify(entry, path)
        return True
    except (ModelError, FileNotFoundError):
        return False


def by_hand(entry: ModelEntry) -> str:
    """Say in a sentence how to get a model without this software's help."""
    return (
        f"By hand: open {entry.url} in a browser, on another machine if need be, and put the file under the name "
        f"'{entry.file}' into the folder '{catalogue.models_dir()}'; it is verified before use."
    )


def remove(part: Path) -> None:
    """Remove a file, if it is there.

    :raises OutputError: when it cannot be removed.
    """
    try:
        part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot delete {part}: {error.strerror or error}.") from error


def size_of(path: Path) -> int:
    """Return a file's size in bytes; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def can_go_on_with(part: Path) -> bool:
    """Return whether a part file is none, or one to go on with: a plain file of the user's own.

    In a folder of many users another one's may not be written to, or, where it may, not be put in place.
    """
    try:
        facts = os.lstat(part)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    is_own = not hasattr(os, "geteuid") or facts.st_uid == os.geteuid()
    return stat.S_ISREG(facts.st_mode) and is_own and os.access(part, os.R_OK | os.W_OK)


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects within the web, and none that leaves encryption."""

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302  # which Python 3.9 lacks

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        """Return the request to go on with.

        :raises Refused: when the new address is not to be followed.
        """
        scheme = scheme_of(newurl)
        if scheme not in ("http", "https") or (scheme_of(req.full_url) == "https" and scheme == "http"):
            raise Refused(f"the server leads on to {newurl}, an address that is not followed")
        # 308 is to a request without a body as 307; Python 3.9 knows this one alone.
        return super().redirect_request(req, fp, 307 if code == 308 else code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for http and https alone, through the system's proxy, without urllib's file and ftp.

    :raises ModelError: as :func:`_https`.
    """
    opener = urllib.request.OpenerDirector()
    handlers = [urllib.request.ProxyHandler, urllib.request.HTTPHandler, _https]
    handlers += [urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPErrorProcessor, Redirects]
    handlers += [urllib.request.UnknownHandler]
    for handler in handlers:
        opener.add_handler(handler())
    opener.addheaders = [("User-Agent", f"MMHVAE-for-3D-Slicer/{__version__}")]
    return opener


def _https() -> urllib.request.HTTPSHandler:
    """Return what opens https, with the certificates that :data:`CERTIFICATES_VARIABLE` names beside the system's.

    :raises ModelError: when their file is absent, or holds none.
    """
    file = os.environ.get(CERTIFICATES_VARIABLE)
    if not file:
        return urllib.request.HTTPSHandler()
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=expanded(file))
    except OSError as error:
        raise ModelError(
            f"The certificates in '{file}' cannot be read: {error.strerror or error}. The environment's "
            f"{CERTIFICATES_VARIABLE}, or SSL_CERT_FILE in Slicer, names that file: name a PEM file, or none."
        ) from error
    return urllib.request.HTTPSHandler(context=context)


class Refused(Exception):
    """The server's answer makes another attempt useless."""


@dataclass
class _Answer:
    """A response's body, the place in the file where it begins, and the whole file's size where that is stated."""

    body: http.client.HTTPResponse
    start: int
    whole: Optional[int]

    @property
    def ends_by_itself(self) -> bool:
        """Whether its end can be told from a cut though no size is stated."""
        return bool(self.body.chunked)


class Transfer:
    """Brings a model's bytes into a part file, over as many connections as it takes.

    :param part: What has arrived, and is gone on with; others that fetch the same may do so too. Where this cannot go
        on with it, because the server begins anew, or it is another user's or begun by another, it writes into a part
        of its own.
    """

    def __init__(
        self,
        entry: ModelEntry,
        part: Path,
        timeout: float,
        progress: Optional[ProgressCallback] = None,
        cancel: Optional[CancelFlag] = None,
    ):
        self._entry, self._shared, self._timeout = entry, part, timeout
        self._part = part if can_go_on_with(part) else self._of_its_own()
        self._progress, self._cancel = progress, cancel
        self._opener = _opener()
        self._reporter: Optional[Reporter] = None
        self._restarted = False
        self._in_one_piece = False

    def run(self) -> Path:
        """Bring all bytes, or raise; return the file that has them, which nobody else begins anew."""
        try:
            return self._run()
        except BaseException:
            if self._part != self._shared:
                remove(self._part)
            raise

    def _run(self) -> Path:
        failures, reason, most = 0, "", self._size()
        while failures < _ATTEMPTS:
            try:
                reason = self._connection()
                if not reason:
                    return self._part
            except Refused as error:
                if self._do_without_ranges():
                    continue
                raise self._failure(str(error)) from error
            except urllib.error.HTTPError as error:
                reason = _http_reason(error)
                if error.code not in _TRY_AGAIN or failures + 1 == _ATTEMPTS:
                    if self._do_without_ranges():
                        continue
                    raise self._failure(reason) from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = _network_reason(error)
                log.debug("downloading %s", self._entry.url, exc_info=True)
            # Measured by the most that ever arrived: a server that knows no ranges begins anew each time.
            failures = 0 if self._size() > most else failures + 1
            most = max(most, self._size())
            self._pause(failures)
        raise self._failure(reason)

    def _do_without_ranges(self) -> bool:
        """Ask for all of the file from now on; return False where that was done already.

        That a part was asked for may be why the server, or a proxy before it, refuses: going on would end so each time.
        """
        was_part = not self._in_one_piece and self._size() > 0
        self._in_one_piece = True
        return was_part

    def _pause(self, failures: int) -> None:
        end = time.monotonic() + (min(2.0 ** (failures - 1), self._timeout) if failures else 0)
        while time.monotonic() < end:
            self._check_cancel()
            time.sleep(0.05)

    def _check_cancel(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            kept = " What has arrived is kept: the next download goes on from there."
            raise Cancelled(f"Cancelled.{kept if self._part == self._shared else ''}")

    def _size(self) -> int:
        return size_of(self._part)

    def _failure(self, reason: str) -> ModelError:
        arrived = size_of(self._shared)
        kept = f" {arrived / 1e6:.1f} MB are kept: download again to go on." if arrived else ""
        return ModelError(
            f"The model '{self._entry.name}' could not be downloaded: {reason}.{kept} {by_hand(self._entry)}"
        )

    def _connection(self) -> str:
        """Bring what one connection gives; return why the file is not whole yet, empty when it is."""
        self._check_cancel()
        have = self._size()
        if self._entry.size is not None and have > self._entry.size:
            remove(self._part)
            have = 0
        have = 0 if self._in_one_piece else have
        headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {}
        request = urllib.request.Request(self._entry.url, headers=headers)
        waiting, response = Waiting(self._check_cancel), None
        try:
            response = waiting.do(lambda: self._opener.open(request, timeout=self._timeout))
            return self._copy(_answer(response, have, self._in_one_piece), waiting)
        except urllib.error.HTTPError as error:
            if error.code == 416 and have:
                return self._all_there()
            raise
        finally:
            # By the thread that may still be reading: closing would wait for that.
            waiting.end(*([response.close] if response is not None else []))

    def _all_there(self) -> str:
        """Decide what it means that the server has nothing behind what is there."""
        if self._restarted or is_right(self._entry, self._part):
            return ""
        self._restarted = True
        remove(self._part)
        return _CUT

    def _copy(self, answer: _Answer, waiting: Waiting) -> str:
        whole = self._expected(answer.whole)
        most = whole if whole is not None else _LARGEST
        self._start_reporting(answer.start, whole)
        have = answer.start

        def read() -> bytes:
            return answer.body.read1(min(_BLOCK, most - have)) if have < most else b""

        block = waiting.do(read)
        # Not opened for nothing: whoever finds an empty part has to think that somebody is at work on it.
        if block:
            with self._open(answer.start) as file:
                while block:
                    self._write(file, block)
                    have += len(block)
                    self._report(have - answer.start)
                    self._check_cancel()
                    block = waiting.do(read)
        if whole is not None or answer.ends_by_itself:
            return "" if whole in (None, have) else _CUT
        return "" if is_right(self._entry, self._part) else _UNLIKE

    def _expected(self, stated: Optional[int]) -> Optional[int]:
        """Return how large the file is to be, where catalogue or server say it."""
        wanted = self._entry.size
        if wanted is not None and stated is not None and stated != wanted:
            raise Refused(f"the server offers a file of {stated} bytes, the catalogue's has {wanted}")
        if stated == 0:
            raise Refused("what the server gave is empty")
        if stated is not None and stated > _LARGEST:
            raise Refused(f"the server offers a file of {stated} bytes, far too large for a model")
        return wanted if wanted is not None else stated

    def _open(self, start: int) -> BinaryIO:
        """Open the part file to write from a place on.

        Not to append: another window or program that goes on with the same puts the same bytes into the same places.
        Nor is what arrived ever cut off: another one may be at work on it, and who begins anew may bring a wrong file.
        """
        try:
            if start:
                file = open(self._part, "r+b")
                file.seek(start)
                return file
            self._part, file = self._begin()
            return file
        except FileNotFoundError as error:
            if not start:
                raise OutputError(f"Cannot write {self._part}: {error.strerror}.") from error
            # Another window or program was done with it, or dropped it.
            raise ConnectionAbortedError("what had arrived was removed meanwhile") from error
        except OSError as error:
            raise OutputError(f"Cannot write {self._part}: {error.strerror or error}.") from error

    def _begin(self) -> Tuple[Path, BinaryIO]:
        """Return an empty file to write into: the shared part where nobody began it, else one of this transfer's."""
        if self._part != self._shared:
            return self._part, open(self._part, "wb")
        try:
            return self._shared, open(self._shared, "xb")
        except FileExistsError:
            if can_go_on_with(self._shared):
                left = self._shared.stat()
                if left.st_size == 0 and time.time() - left.st_mtime > self._timeout:  # of one that never got a byte
                    return self._shared, open(self._shared, "r+b")
            own = self._of_its_own()
            return own, open(own, "xb")

    def _of_its_own(self) -> Path:
        """Return the name of a part that nobody else knows."""
        return self._shared.with_name(f".{self._entry.file}.{uuid.uuid4().hex}.part")

    def _write(self, file: BinaryIO, block: bytes) -> None:
        try:
            file.write(block)
            file.flush()
        except OSError as error:
            raise OutputError(f"Cannot write {self._part}: {error.strerror or error}. Is the disk full?") from error

    def _start_reporting(self, start: int, whole: Optional[int]) -> None:
        total = -(-(whole - start) // _UNIT) if whole else 0
        self._reporter = Reporter("download (kB)", total, self._progress)

    def _report(self, arrived: int) -> None:
        done = -(-arrived // _UNIT)
        self._reporter.total = max(self._reporter.total, done)
        self._reporter.step(done - self._reporter.done)


def _answer(response, have: int, in_one_piece: bool) -> _Answer:
    """Read from a response's head what its body is.

    :param in_one_piece: Whether all of the file was asked for because parts of it came wrong.
    :raises Refused: when it is a page for people, as of a proxy, or another part of the file than was asked for.
    """
    if response.headers.get_content_type() == "text/html":
        raise Refused("the server gave a web page in place of the file; behind a proxy, log in there first")
    length = response.headers.get("Content-Length", "")
    stated = int(length) if length.isdigit() else None
    if response.status == 206:
        start, whole = _content_range(response.headers.get("Content-Range", ""))
        if start != have or in_one_piece:
            raise Refused("the server sends another part of the file than was asked for")
        return _Answer(response, start, whole)
    # A server that knows no ranges sends all of it again.
    return _Answer(response, 0, stated)


def _content_range(header: str):
    """Return first byte and whole size, None where unknown, of a header such as ``bytes 100-199/200``.

    >>> _content_range("bytes 100-199/200"), _content_range("bytes 5-9/*"), _content_range("nonsense")
    ((100, 200), (5, None), (None, None))
    """
    unit, _, rest = header.strip().partition(" ")
    span, _, whole = rest.partition("/")
    first = span.partition("-")[0]
    if unit.lower() != "bytes" or not first.isdigit():
        return None, None
    return int(first), int(whole) if whole.isdigit() else None


def _http_reason(error: urllib.error.HTTPError) -> str:
    if error.code // 100 == 3:
        return f"the server leads in circles, or on to an address that is not followed (HTTP {error.code})"
    known = {
        401: "the server asks for a password",
        403: "the server refuses it",
        404: "it is not at its address any more",
        407: "the proxy asks for a password",
        410: "it is not at its address any more",
        429: "the server is asked too often at the moment",
    }
    return f"{known.get(error.code, 'the server has an error')} (HTTP {error.code})"


def _network_reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    if isinstance(cause, TimeoutError) or "timed out" in str(cause):
        return "the server does not answer, or stopped sending"
    return f"there is no connection to the server ({cause})"
