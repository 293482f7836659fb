import gzip
import json
import os
import pickle
import zipfile
from collections import OrderedDict

import pytest

torch = pytest.importorskip("torch")

from MMHVAESynthesisLib.errors import ModelError  # noqa: E402
from MMHVAESynthesisLib.models import loading  # noqa: E402
from MMHVAESynthesisLib.models.checkpoint import save  # noqa: E402
from MMHVAESynthesisLib.models.header import ModelHeader  # noqa: E402

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 55000000\n"

FOREIGN = {
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG picture"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(100), "JPEG picture"),
    "pdf": (b"%PDF-1.7\n", "PDF document"),
    "nrrd": (b"NRRD0004\n", "NRRD volume"),
    "nifti": (gzip.compress(bytes(400)), "compressed with gzip"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    "html": (b"<!DOCTYPE html>\n<html lang='en'>", "web page"),
    "html_with_mark": (b"\xef\xbb\xbf\r\n <HTML><body>", "web page"),
    "lfs": (LFS, "pointer of git LFS.*git lfs pull"),
    "empty": (b"", "is empty"),
    "text": (b"weights", "no checkpoint"),
    "zeros": (bytes(1000), "no checkpoint"),
    "noise": (bytes(range(256)) * 4, "no checkpoint"),
    "one_byte": (b"P", "no checkpoint"),
    "pickle": (pickle.dumps({"a": 1}, protocol=2), "bare Python pickle"),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_foreign_file_is_said_to_be_what_it_is(tmp_path, kind, suffix):
    content, words = FOREIGN[kind]
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        loading.load(str(path))
    assert str(path) in str(caught.value)


def test_the_kind_is_told_by_the_content_not_by_the_ending(tiny, tiny_sizes, released_state, tmp_path):
    torch.save(released_state(tiny), tmp_path / "a.safetensors")
    save(tmp_path / "b.pth", ModelHeader("b", tiny_sizes), tiny)
    assert (
        loading.load(str(tmp_path / "a.safetensors")).header.digest
        == loading.load(str(tmp_path / "b.pth")).header.digest
    )


def test_a_file_that_is_not_there_and_a_folder(tmp_path):
    with pytest.raises(ModelError, match="no model named .*absent.pth', nor a file"):
        loading.load(str(tmp_path / "absent.pth"))
    with pytest.raises(ModelError, match="is a folder"):
        loading.load(str(tmp_path))


def test_a_file_without_permission_to_read(tmp_path):
    path = tmp_path / "closed.pth"
    path.write_bytes(b"PK\x03\x04")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything, or the system knows no such permission")
    with pytest.raises(ModelError, match="cannot be read"):
        loading.load(str(path))


def test_a_checkpoint_of_old_torch_says_how_to_convert_it(tiny, tmp_path):
    path = tmp_path / "old.pth"
    torch.save(tiny.state_dict(), path, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match=r"before version 1\.6; convert it .*weights_only=True"):
        loading.load(str(path))


def test_an_ordinary_zip_is_no_checkpoint(tmp_path):
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("CP_main_1000.pth", b"...")
    with pytest.raises(ModelError, match="zip archive, but no checkpoint of torch: unpack it"):
        loading.load(str(path))


@pytest.mark.parametrize("part", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_cut_off_pth_says_so(tiny, released_state, tmp_path, part):
    path = tmp_path / "cut.pth"
    torch.save(released_state(tiny), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ModelError, match="cut off or damaged .* get the file again"):
        loading.load(str(path))


@pytest.fixture
def own_file(tiny, tiny_sizes, tmp_path):
    path = tmp_path / "m.safetensors"
    save(path, ModelHeader("m", tiny_sizes), tiny)
    return path


@pytest.mark.parametrize("cut", [-1, -5000, 20_000, 1000, 9])
def test_a_cut_off_safetensors_says_so(own_file, cut):
    own_file.write_bytes(own_file.read_bytes()[:cut])
    with pytest.raises(ModelError, match="is cut off: it has .* get the file again"):
        loading.load(str(own_file))


def rewrite(path, change):
    """Change the JSON of a safetensors file."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    content = json.loads(data[8 : 8 + length])
    change(content)
    text = json.dumps(content).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def first(content):
    return content["coarsest.down.bias"]


CHANGES = {
    "no_header": (lambda c: c["__metadata__"].pop("mmhvae"), "something else: it has no MMHVAE header"),
    "no_metadata": (lambda c: c.pop("__metadata__"), "something else"),
    "metadata_no_texts": (lambda c: c["__metadata__"].update(a=1), "damaged"),
    "header_no_json": (lambda c: c["__metadata__"].update(mmhvae="{"), "damaged"),
    "newer": (lambda c: c["__metadata__"].update(mmhvae='{"format": 99}'), "newer version of this software"),
    "negative_offset": (lambda c: first(c).update(data_offsets=[-4, 124]), "does not fit together"),
    "overlap": (lambda c: c["coarsest.up.bias"].update(data_offsets=first(c)["data_offsets"]), "does not fit together"),
    "float_offsets": (lambda c: first(c).update(data_offsets=[0.5, 128.5]), "does not fit together"),
    "no_offsets": (lambda c: first(c).pop("data_offsets"), "does not fit together"),
    "entry_no_object": (lambda c: c.update({"coarsest.down.bias": 3}), "does not fit together"),
    "shape_larger_than_bytes": (lambda c: first(c).update(shape=[2**40]), "does not fit together"),
    "shape_negative": (lambda c: first(c).update(shape=[-32]), "does not fit together"),
    "shape_of_floats": (lambda c: first(c).update(shape=[32.0]), "does not fit together"),
    "many_dimensions": (lambda c: first(c).update(shape=[1] * 50 + [32]), "does not fit together"),
    "unknown_type": (lambda c: first(c).update(dtype="I64"), "type 'I64', which is not supported"),
    "renamed": (lambda c: c.update({"other": c.pop("coarsest.down.bias")}), r"1 missing .*1 unexpected \(other\)"),
    "other_shape": (lambda c: first(c).update(shape=[4, 8]), "1 of another shape"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_safetensors_header_is_noticed(own_file, change):
    rewrite(own_file, CHANGES[change][0])
    with pytest.raises(ModelError, match=CHANGES[change][1]):
        loading.load(str(own_file))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{}" + b" " * 6, "something else"),
        (b"{" * 8, "no JSON"),
        (b'{"a": \xff}', "no JSON"),
        (b"{" + b"[" * 50_000, "no JSON"),
    ],
)
def test_headers_that_are_no_json_are_damage(tmp_path, content, words):
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(content).to_bytes(8, "little") + content)
    with pytest.raises(ModelError, match=words):
        loading.load(str(path))


def test_a_header_longer_than_any_is_refused_unread(tmp_path):
    path = tmp_path / "m.safetensors"
    length = 17 << 20
    with open(path, "wb") as file:
        file.write(length.to_bytes(8, "little") + b"{")
        file.truncate(8 + length)
    with pytest.raises(ModelError, match="too long"):
        loading.load(str(path))


def test_bytes_behind_the_tensors_are_noticed(own_file):
    own_file.write_bytes(own_file.read_bytes() + b"more")
    with pytest.raises(ModelError, match="4 bytes too many"):
        loading.load(str(own_file))


class Runs:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("place", ["whole", "beside", "inside"])
def test_a_malicious_pth_is_refused_and_nothing_runs(tiny, released_state, tmp_path, place):
    marker, path = tmp_path / "marker", tmp_path / "weights.pth"
    state = released_state(tiny)
    content = {
        "whole": Runs(marker),
        "beside": {"state_dict": state, "note": Runs(marker)},
        "inside": OrderedDict(state, extra=Runs(marker)),
    }[place]
    torch.save(content, path)
    with pytest.raises(ModelError, match="contains code or objects other than tensors"):
        loading.load(str(path))
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), "the file does run code where torch.load opens it"
