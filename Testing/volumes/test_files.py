import gzip
import logging
import os
import shutil
import signal
import struct
import subprocess
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib import paths
from MMHVAESynthesisLib.errors import DeviceError, InputError, OutputError
from MMHVAESynthesisLib.volumes import files, naming

from .making import LEFT_HANDED, OBLIQUE, ball, volume


@pytest.mark.parametrize("ending", files.WRITABLE)
@pytest.mark.parametrize("direction", [OBLIQUE, LEFT_HANDED])
def test_voxels_and_geometry_survive(tmp_path, ending, direction):
    image = volume(ball(dtype=np.float32) / 3, (0.4, 0.5, 3.1), (-10.5, 20.25, 7), direction)
    path = files.write(image, tmp_path / f"case{ending}")
    back = files.read(path)
    assert files.same_geometry(image, back, 1e-3)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image))
    assert os.listdir(tmp_path) == [f"case{ending}"]


SHEARED = (1.0, 0.2, 0.0, 0.0, np.sqrt(1 - 0.04), 0.0, 0.0, 0.0, 1.0)


def test_sheared_axes_survive_or_are_refused_in_words(tmp_path):
    image = volume(ball(dtype=np.float32), direction=SHEARED)
    back = files.read(files.write(image, tmp_path / "sheared.nrrd"))
    assert files.same_geometry(image, back, 1e-3)
    with pytest.raises(OutputError):
        files.write(image, tmp_path / "sheared.nii.gz")
    assert os.listdir(tmp_path) == ["sheared.nrrd"]


@pytest.mark.parametrize("ending", files.WRITABLE)
def test_a_file_cut_short_while_writing_is_found_and_taken_away(tmp_path, monkeypatch, ending):
    whole = sitk.WriteImage

    def cut(image, name, *args):
        whole(image, name, *args)
        with open(name, "rb+") as file:
            file.truncate(os.path.getsize(name) * 2 // 3)

    former = files.write(volume(ball()), tmp_path / f"case{ending}").read_bytes()
    monkeypatch.setattr(sitk, "WriteImage", cut)
    with pytest.raises(OutputError, match="could not be written whole"):
        files.write(volume(ball(value=50)), tmp_path / f"case{ending}")
    assert os.listdir(tmp_path) == [f"case{ending}"]
    assert (tmp_path / f"case{ending}").read_bytes() == former


def part_of_known_name(monkeypatch, folder, ending):
    """Return where a volume is written before it is called ``case``."""
    monkeypatch.setattr(uuid, "uuid4", lambda: SimpleNamespace(hex="known"))
    return folder / f".mmhvae-known.part{ending}"


@pytest.mark.parametrize("ending", files.WRITABLE)
def test_the_longest_name_there_is_can_be_written(tmp_path, ending):
    name = "x" * (255 - len(ending)) + ending
    files.write(volume(ball()), tmp_path / name)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.skipif(sys.platform == "win32" or not os.path.exists("/dev/full"), reason="needs a full device")
def test_a_full_disk_is_an_error(tmp_path, monkeypatch):
    link = part_of_known_name(monkeypatch, tmp_path, ".nrrd")
    link.symlink_to("/dev/full")
    with pytest.raises(OutputError):
        files.write(volume(ball()), tmp_path / "case.nrrd")
    assert os.listdir(tmp_path) == []


def test_unknown_format_and_missing_folder(tmp_path):
    with pytest.raises(OutputError, match="must end with"):
        files.write(volume(ball()), tmp_path / "case.png")
    with pytest.raises(OutputError):
        files.write(volume(ball()), tmp_path / "absent" / "case.nrrd")


def test_folder_that_cannot_be_written(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("x")
    with pytest.raises(OutputError, match="Cannot write into"):
        files.check_writable(in_the_way / "folder")
    with pytest.raises(OutputError, match="MB left"):
        files.check_writable(tmp_path / "new", 10**18)
    assert files.check_writable(tmp_path / "new", 1000) == tmp_path / "new"
    assert not os.listdir(tmp_path / "new")


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="files without a name are Linux' own")
def test_a_process_that_is_killed_while_it_looks_whether_it_can_write_leaves_nothing(tmp_path):
    try:
        os.close(os.open(tmp_path, os.O_TMPFILE | os.O_RDWR))
    except OSError as error:
        pytest.skip(f"no files without a name on this disk: {error}")
    killed = """
import os, signal, sys
from MMHVAESynthesisLib.volumes.files import check_writable
events = []
def look(event, _):
    if event in ("open", "os.remove", "os.rename"):
        events.append(event)
        if len(events) > int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(look)
check_writable(sys.argv[1])
events.append("end")
print(len(events))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[2])}
    ends = []
    for operations in range(5):
        words = [sys.executable, "-c", killed, str(tmp_path), str(operations)]
        ends.append(subprocess.run(words, env=environment, stdout=subprocess.PIPE).returncode)
        assert os.listdir(tmp_path) == []
    assert ends[0] == -signal.SIGKILL and ends[-1] == 0


def make_bad_files(folder):
    whole = files.write(volume(ball()), folder / "whole.nrrd", compress=False)
    (folder / "cut.nrrd").write_bytes(whole.read_bytes()[:-500])
    (folder / "text.nii").write_text("not a volume")
    (folder / "empty.nrrd").write_bytes(b"")
    sitk.WriteImage(sitk.Image([8, 8], sitk.sitkUInt8), str(folder / "flat.png"))
    sitk.WriteImage(sitk.Image([8, 8, 3], sitk.sitkVectorUInt8, 3), str(folder / "colour.nrrd"))
    sitk.WriteImage(sitk.Image([8, 8, 4, 2], sitk.sitkUInt8), str(folder / "sequence.nii"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.nrrd", "does not exist"),
        (".", "is a folder"),
        ("cut.nrrd", "cannot be read"),
        ("text.nii", "cannot be read"),
        ("empty.nrrd", "cannot be read"),
        ("flat.png", "2D picture"),
        ("colour.nrrd", "3 values a voxel"),
        ("sequence.nii", "sequence in 4 dimensions"),
    ],
)
def test_unreadable_files_are_told_apart(tmp_path, name, message):
    make_bad_files(tmp_path)
    with pytest.raises(InputError, match=message):
        files.read(tmp_path / name)


def noisy():
    return volume(np.random.default_rng(0).integers(1, 200, (60, 64, 60)).astype(np.int16))


def voxels(path):
    return sitk.GetArrayFromImage(files.read(path))


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("part", [0.5, 0.9, 0.999])
@pytest.mark.parametrize("ending", files.WRITABLE)
def test_a_file_cut_off_is_refused(tmp_path, ending, part, compress):
    path = files.write(noisy(), tmp_path / f"case{ending}", compress)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(InputError, match="damaged, cut off"):
        files.read(path)


@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz", ".mha", ".mhd", ".nhdr"])
def test_a_changed_byte_of_compressed_voxels_is_found(tmp_path, ending):
    path, data = tmp_path / f"case{ending}", tmp_path / {".mhd": "case.zraw", ".nhdr": "case.raw.gz"}.get(ending, "")
    sitk.WriteImage(noisy(), str(path), True)
    np.testing.assert_array_equal(voxels(path), sitk.GetArrayFromImage(noisy()))
    data = data if data.is_file() else path
    content = bytearray(data.read_bytes())
    for place in (len(content) // 3, len(content) // 2, len(content) - 6):
        content[place] ^= 0x10
        data.write_bytes(content)
        with pytest.raises(InputError, match="damaged, cut off"):
            files.read(path)
        content[place] ^= 0x10


def test_what_no_checksum_needs_is_read(tmp_path):
    plain = files.write(noisy(), tmp_path / "plain.nii").read_bytes()
    half = len(plain) // 2
    (tmp_path / "parts.nii.gz").write_bytes(gzip.compress(plain[:half]) + gzip.compress(plain[half:]))
    (tmp_path / "more.nii.gz").write_bytes(gzip.compress(plain) + b"behind")
    (tmp_path / "uncompressed.nii.gz").write_bytes(plain)
    (tmp_path / "longer.nii").write_bytes(plain + b"behind")
    for name in ("parts.nii.gz", "more.nii.gz", "uncompressed.nii.gz", "longer.nii"):
        np.testing.assert_array_equal(voxels(tmp_path / name), sitk.GetArrayFromImage(noisy()))
    (tmp_path / "uncompressed.nii.gz").write_bytes(plain[:half])
    with pytest.raises(InputError, match="cut off"):
        files.read(tmp_path / "uncompressed.nii.gz")


@pytest.mark.parametrize("compress", [False, True])
def test_a_pair_is_read_whole_or_not(tmp_path, compress):
    sitk.WriteImage(noisy(), str(tmp_path / "case.img"))
    data = tmp_path / "case.img"
    if compress:
        (tmp_path / "case.img.gz").write_bytes(gzip.compress(data.read_bytes()))
        data.unlink()
        data = tmp_path / "case.img.gz"
    files.write(volume(np.ones((60, 64, 60), np.int16)), tmp_path / "case.nii")
    for name in ("case.hdr", data.name):
        np.testing.assert_array_equal(voxels(tmp_path / name), sitk.GetArrayFromImage(noisy()))
    data.write_bytes(data.read_bytes()[:-1000])
    for name in ("case.hdr", data.name):
        with pytest.raises(InputError, match="cut off"):
            files.read(tmp_path / name)
    data.unlink()
    with pytest.raises(InputError, match="one of two files of a volume: put the other one, which ends with .img"):
        files.read(tmp_path / "case.hdr")


def test_the_compressed_file_of_a_pair_is_read_where_it_is_named(tmp_path):
    sitk.WriteImage(noisy(), str(tmp_path / "case.img"))
    shown = sitk.GetArrayFromImage(noisy())
    (tmp_path / "case.img.gz").write_bytes(gzip.compress((shown + 1).tobytes()))
    np.testing.assert_array_equal(voxels(tmp_path / "case.img.gz"), shown + 1)
    np.testing.assert_array_equal(voxels(tmp_path / "case.img"), shown)


def without_links(monkeypatch):
    def refused(*_args):
        raise OSError("links are not allowed")

    monkeypatch.setattr(os, "symlink", refused)
    monkeypatch.setattr(os, "link", refused)


@pytest.mark.parametrize("links", [True, False])
def test_the_file_that_is_named_is_read_and_not_one_beside_it(tmp_path, monkeypatch, caplog, links):
    if not links:
        without_links(monkeypatch)
    first, second = volume(ball()), volume(ball(value=50))
    files.write(first, tmp_path / "case.nii")
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        files.write(second, tmp_path / "case.nii.gz")
    assert "lies beside case.nii: other programs take" in caplog.text
    np.testing.assert_array_equal(voxels(tmp_path / "case.nii"), sitk.GetArrayFromImage(first))
    np.testing.assert_array_equal(voxels(tmp_path / "case.nii.gz"), sitk.GetArrayFromImage(second))
    assert sorted(os.listdir(tmp_path)) == ["case.nii", "case.nii.gz"]


def test_what_is_written_is_compared_with_itself(tmp_path, monkeypatch):
    beside = part_of_known_name(monkeypatch, tmp_path, ".nii")
    files.write(volume(ball(value=50)), tmp_path / "other.nii").rename(beside)
    path = files.write(volume(ball()), tmp_path / "case.nii.gz")
    np.testing.assert_array_equal(voxels(path), ball())


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("ending", [".NRRD", ".Nii", ".NII.GZ", ".Nii.gz", ".MHA"])
def test_an_ending_in_capital_letters_is_read(tmp_path, monkeypatch, ending, links):
    if not links:
        without_links(monkeypatch)
    small = files.write(volume(ball()), tmp_path / f"small{ending.lower()}")
    shutil.copy(small, tmp_path / f"CASE{ending}")
    assert files.count_voxels(tmp_path / f"CASE{ending}") == ball().size
    np.testing.assert_array_equal(voxels(tmp_path / f"CASE{ending}"), ball())


@pytest.mark.parametrize("name", ["case.nrrd", "CASE.Nii.gz", "CASE.MHA"])
def test_a_header_is_judged_without_its_voxels(tmp_path, monkeypatch, name):
    grey = files.write(volume(ball()), tmp_path / f"grey{naming.suffix(tmp_path / name)}")
    shutil.move(grey, tmp_path / name)
    monkeypatch.setattr(sitk.ImageFileReader, "Execute", lambda *_: pytest.fail("the voxels were read"))
    files.check_header(tmp_path / name)
    sitk.WriteImage(sitk.Compose([volume(ball())] * 3), str(tmp_path / "colours.nrrd"))
    for wrong, said in (("colours.nrrd", "values a voxel"), ("absent.nrrd", "does not exist")):
        with pytest.raises(InputError, match=said):
            files.check_header(tmp_path / wrong)


def test_a_pair_in_capital_letters_is_read_and_a_header_alone_is_to_be_renamed(tmp_path):
    sitk.WriteImage(volume(ball()), str(tmp_path / "case.img"))
    for ending in (".hdr", ".img"):
        (tmp_path / f"case{ending}").rename(tmp_path / f"PAIR{ending.upper()}")
    assert naming.voxel_files(tmp_path / "PAIR.HDR") == [tmp_path / "PAIR.IMG"]
    np.testing.assert_array_equal(voxels(tmp_path / "PAIR.HDR"), ball())
    sitk.WriteImage(volume(ball()), str(tmp_path / "case.mhd"))
    (tmp_path / "case.mhd").rename(tmp_path / "OTHER.MHD")
    with pytest.raises(InputError, match="rename it to end with .mhd"):
        files.read(tmp_path / "OTHER.MHD")


def test_a_matrix_that_was_rounded_is_kept(tmp_path):
    image = volume(ball(), direction=(0.940, -0.342, 0, 0.342, 0.940, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "rounded.mha"))
    rounded = files.read(tmp_path / "rounded.mha")
    assert np.linalg.norm(np.reshape(rounded.GetDirection(), (3, 3))[:, 0]) > 1.0002
    kept = files.read(files.write(rounded, tmp_path / "rounded.nrrd"))
    assert files.same_geometry(rounded, kept)


def test_a_geometry_that_nrrd_does_not_keep_is_not_answered_with_nrrd(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "same_geometry", lambda *_args: False)
    with pytest.raises(OutputError, match="resample the input") as caught:
        files.write(volume(ball()), tmp_path / "case.nrrd")
    assert ".nrrd" not in str(caught.value)
    with pytest.raises(OutputError, match="choose .nrrd"):
        files.write(volume(ball()), tmp_path / "case.mha")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_voxel_along_an_axis_still_has_a_direction_and_a_step(axis):
    size = [6, 7, 8]
    size[axis] = 1
    image, step, turned = (sitk.Image(size, sitk.sitkUInt8) for _ in range(3))
    step.SetSpacing([2.0 if each == axis else 1.0 for each in range(3)])
    turned.SetDirection(np.diag([-1.0 if each == axis else 1.0 for each in range(3)]).ravel())
    assert files.same_geometry(image, image)
    assert not files.same_geometry(image, step) and not files.same_geometry(image, turned)


def sheared_nifti(path, shear):
    """Write a NIfTI file whose second axis leans towards the first."""
    sitk.WriteImage(volume(ball()), str(path))
    content = bytearray(path.read_bytes())
    struct.pack_into("<hh", content, 252, 0, 1)
    struct.pack_into("<12f", content, 280, *(1, shear, 0, 0), *(0, 1, 0, 0), *(0, 0, 1, 0))
    path.write_bytes(content)


def test_axes_that_are_not_at_right_angles_are_no_damage(tmp_path):
    sheared_nifti(tmp_path / "straight.nii", 0.0)
    assert files.read(tmp_path / "straight.nii").GetSize() == (44, 40, 10)
    sheared_nifti(tmp_path / "sheared.nii", 0.1)
    with pytest.raises(InputError, match="not at right angles.*save it as .nrrd, or resample it") as caught:
        files.read(tmp_path / "sheared.nii")
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize(
    ("platform", "name", "said"),
    [("win32", "Größe.nrrd", True), ("win32", "size.nrrd", False), ("linux", "ł.nrrd", False)],
)
def test_letters_that_may_not_be_opened_on_windows_are_named(tmp_path, monkeypatch, platform, name, said):
    if not str(tmp_path).isascii():
        pytest.skip("the folder for tests has such letters itself")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(paths, "_short_name", lambda folder: "")
    (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(InputError) as reading:
        files.read(tmp_path / name)
    with pytest.raises(OutputError) as writing:
        files.write(volume(ball()), tmp_path / "absent" / name)
    for caught in (reading, writing):
        assert ("of plain letters" in str(caught.value)) == said


def test_a_fourth_axis_of_one_is_dropped(tmp_path):
    sitk.WriteImage(sitk.JoinSeries([volume(ball())]), str(tmp_path / "four.nii.gz"))
    assert files.read(tmp_path / "four.nii.gz").GetSize() == (44, 40, 10)


LATIN_1 = "caf\udce9"
"""What Python makes of a name in Latin-1, over which SimpleITK ends the process."""


@pytest.mark.parametrize("name", [f"{LATIN_1}.nrrd", f"{LATIN_1}/us.nrrd"])
def test_a_name_that_is_not_in_utf_8_is_refused_in_words(tmp_path, name):
    file = tmp_path / name
    for reading in (files.read, files.check_header):
        with pytest.raises(InputError, match=r"caf\\udce9.*has letters that are not in UTF-8.*rename"):
            reading(file)
    assert files.count_voxels(file) == 0
    for check in (files.check_format, lambda each: files.check_names([each]), lambda e: files.write(volume(ball()), e)):
        with pytest.raises(OutputError, match=r"caf\\udce9.*has letters that are not in UTF-8.*rename"):
            check(file)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="no other system has such names")
def test_a_volume_whose_name_is_not_in_utf_8_is_there_and_refused(tmp_path):
    file = files.write(volume(ball()), tmp_path / "us.nrrd").rename(tmp_path / f"{LATIN_1}.nrrd")
    with pytest.raises(InputError, match="rename the file"):
        files.read(file)


def test_a_home_of_nobody_is_a_file_that_does_not_exist():
    for reading in (files.read, files.check_header):
        with pytest.raises(InputError, match="~nobody-here.us.nrrd does not exist"):
            reading("~nobody-here/us.nrrd")
    assert files.count_voxels("~nobody-here/us.nrrd") == 0


def test_a_scanner_that_reads_what_was_written_is_waited_for(tmp_path, monkeypatch):
    replace, refusals = os.replace, [1, 2]

    def refused(*names):
        if refusals:
            refusals.pop()
            raise PermissionError(13, "in use")
        replace(*names)

    monkeypatch.setattr(os, "replace", refused)
    monkeypatch.setattr(paths, "_PATIENCE", 60.0)
    files.write(volume(ball()), tmp_path / "case.nrrd")
    assert os.listdir(tmp_path) == ["case.nrrd"] and not refusals


@pytest.mark.parametrize("kind", ["vector", "list"])
def test_vectors_of_one_component_are_read_as_numbers(tmp_path, kind):
    array = ball(dtype=np.float32)
    header = [
        "NRRD0004\ntype: float\ndimension: 4\nspace: left-posterior-superior",
        f"sizes: 1 {' '.join(map(str, array.shape[::-1]))}",
        "space directions: none (1,0,0) (0,1,0) (0,0,1)",
        f"kinds: {kind} domain domain domain",
        "endian: little\nencoding: raw\nspace origin: (0,0,0)\n\n",
    ]
    (tmp_path / "case.nrrd").write_bytes("\n".join(header).encode() + array.astype("<f4").tobytes())
    read = files.read(tmp_path / "case.nrrd")
    assert read.GetPixelID() == sitk.sitkFloat32 and read.GetSize() == array.shape[::-1]
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), array)


def nifti_2(order):
    """Return a file of NIfTI-2 with a volume in it: https://nifti.nimh.nih.gov/pub/dist/doc/nifti2.h."""
    array, header = ball(), bytearray(544)
    struct.pack_into(f"{order}i8shh", header, 0, 540, b"n+2\0\r\n\x1a\n", 2, 8)
    struct.pack_into(f"{order}8q", header, 16, 3, *array.shape[::-1], 1, 1, 1, 1)
    struct.pack_into(f"{order}8d", header, 104, *[1.0] * 8)
    struct.pack_into(f"{order}q", header, 168, 544)
    return bytes(header) + array.tobytes()


def test_a_header_that_states_impossible_sizes_is_damaged_and_no_lack_of_memory(tmp_path):
    path = tmp_path / "big.nrrd"
    header = "NRRD0004\ntype: float\ndimension: 3\nsizes: 100000 100000 100000\nencoding: raw\nendian: little\n\n"
    path.write_bytes(header.encode() + bytes(100))
    with pytest.raises(InputError, match="damaged"):
        files.read(path)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".hdr", ".img"])
def test_nifti_2_is_no_damage(tmp_path, order, ending):
    content = nifti_2(order)
    path = tmp_path / f"case{ending}"
    if ending in (".hdr", ".img"):
        (tmp_path / "case.hdr").write_bytes(content[:540])
        (tmp_path / "case.img").write_bytes(content[544:])
    else:
        path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    for reading in (files.read, files.check_header):
        with pytest.raises(InputError, match=r"is a NIfTI-2 file, which is not read: save it as .nii \(NIfTI-1\) or"):
            reading(path)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate output buffer."),
        RuntimeError("itkImportImageContainer.hxx:179:\nFailed to allocate memory for image."),
    ],
)
def test_memory_that_runs_out_is_no_damage_and_no_full_disk(tmp_path, monkeypatch, error):
    def too_large(*_):
        raise error

    path = files.write(volume(ball()), tmp_path / "case.nrrd")
    monkeypatch.setattr(sitk.ImageFileReader, "Execute", too_large)
    monkeypatch.setattr(sitk, "WriteImage", too_large)
    for work in (lambda: files.read(path), lambda: files.write(volume(ball()), tmp_path / "new.nrrd")):
        with pytest.raises(DeviceError, match="memory of this machine ran out at .*: close other programs, or crop"):
            work()
    assert os.listdir(tmp_path) == ["case.nrrd"]


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_said_to_be_one(name):
    """As of a variable that is not set; it would be the working folder."""
    with pytest.raises(InputError, match="name is empty: give a file"):
        files.read(name)
