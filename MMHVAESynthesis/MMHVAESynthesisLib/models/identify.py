"""What kind of file somebody gives as a model, from its first bytes."""

from pathlib import Path

from ..errors import ModelError

SAFETENSORS, TORCH = "safetensors", "torch"

_HOW = "Give a MMHVAE checkpoint: .safetensors, or .pth as published."

# Beginnings of files that people have been known to give instead of a checkpoint.
_FOREIGN = (
    (b"\x89PNG", "is a PNG picture"),
    (b"\xff\xd8\xff", "is a JPEG picture"),
    (b"%PDF", "is a PDF document"),
    (b"NRRD", "is an NRRD volume"),
    (b"\x89HDF", "is an HDF5 file (Keras weights?)"),
    (b"7z\xbc\xaf", "is a 7z archive: unpack it first"),
    (b"Rar!", "is a RAR archive: unpack it first"),
    (b"\x1f\x8b", "is compressed with gzip (a volume, or an archive to be unpacked first)"),
)
_LFS = b"version https://git-lfs"
_LEGACY_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""The number with which torch before 1.6 begins a file, as a pickle writes it."""


def identify(path: Path) -> str:
    """Return :data:`SAFETENSORS` or :data:`TORCH` (a zip file, so perhaps torch's).

    :raises ModelError: when there is no such file, it cannot be read, or it is something else; the message says what.
    """
    try:
        if path.is_dir():
            raise ModelError(f"'{path}' is a folder, not a model file. {_HOW}")
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(512)
    except FileNotFoundError as error:
        raise ModelError(f"There is no file '{path}'.") from error
    except OSError as error:
        raise ModelError(f"The model file '{path}' cannot be read: {error.strerror or error}.") from error
    if size == 0:
        raise ModelError(f"'{path}' is empty: the download failed, get the file again.")
    if head[:4] == b"PK\x03\x04":
        return TORCH
    # Behind eight bytes of length safetensors begins its JSON with a brace, which the format demands.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32:
        return SAFETENSORS
    raise ModelError(f"'{path}' {_foreign(head)}. {_HOW}")


def _foreign(head: bytes) -> str:
    """Say in words what a file with this beginning is."""
    for magic, words in _FOREIGN:
        if head.startswith(magic):
            return words
    if head.startswith(_LFS):
        return "is only a pointer of git LFS, not the file itself: run 'git lfs pull', or download the file on its page"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, not the file that it offers: download the file itself ('Raw' on GitHub)"
    if _LEGACY_TORCH in head[:16]:
        return (
            "is in torch's format of before version 1.6; convert it with a trusted Python: "
            "torch.save(torch.load('old.pth', map_location='cpu', weights_only=True), 'new.pth')"
        )
    if head[:1] == b"\x80":
        return "is a bare Python pickle, which may run code and is not opened"
    return "is no checkpoint"
