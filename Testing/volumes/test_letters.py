"""Names that ITK cannot open on Windows, played: there it takes none but ASCII ones, outside of Slicer itself."""

import ctypes
import os
import types

import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib import paths
from MMHVAESynthesisLib.errors import InputError, OutputError
from MMHVAESynthesisLib.registration import figures, transforms
from MMHVAESynthesisLib.volumes import files, naming

from .making import ball, volume


@pytest.fixture
def windows(tmp_path, monkeypatch):
    """A folder of a user called Jörg; ITK opens ASCII names alone, and Windows knows no short ones."""
    if not str(tmp_path).isascii():
        pytest.skip("the folder for tests has such letters itself")

    def refuses(real):
        def opens(*given):
            for name in given:
                if isinstance(name, str) and not name.isascii():
                    raise RuntimeError("ITK ERROR: the file does not exist")
            return real(*given)

        return opens

    for name in ("ReadImage", "WriteImage", "ReadTransform", "WriteTransform"):
        monkeypatch.setattr(sitk, name, refuses(getattr(sitk, name)))
    monkeypatch.setattr(sitk.ImageFileReader, "SetFileName", refuses(sitk.ImageFileReader.SetFileName))
    for room in (paths, naming):
        monkeypatch.setattr(room, "sys", types.SimpleNamespace(platform="win32"))
    monkeypatch.setattr(paths, "_short_name", lambda folder: "")
    folder = tmp_path / "Jörg"
    folder.mkdir()
    return folder


def test_from_the_folder_in_which_one_works_all_is_written_and_read(windows, monkeypatch):
    monkeypatch.chdir(windows)
    image = volume(ball())
    for ending in files.WRITABLE:
        back = files.read(files.write(image, windows / f"us{ending}"))
        assert (sitk.GetArrayFromImage(back) == sitk.GetArrayFromImage(image)).all()
        assert files.count_voxels(windows / f"us{ending}") == ball().size
        files.check_holds(windows / f"us{ending}", ".nii.gz")
    transform = sitk.TranslationTransform(3, (1, 2, 3))
    back = transforms.read(transforms.write(transform, windows / "found.tfm"))
    assert back.TransformPoint((0, 0, 0)) == (1, 2, 3)
    figures.write_picture(sitk.Image([4, 4], sitk.sitkUInt8), windows / "picture.png")
    assert sorted(os.listdir(windows)) == ["found.tfm", "picture.png", *sorted(f"us{e}" for e in files.WRITABLE)]


@pytest.mark.parametrize("ending", files.WRITABLE)
@pytest.mark.parametrize("name", ["us", "Größe"])
def test_by_the_short_name_of_a_folder_all_is_written_and_read(windows, monkeypatch, ending, name):
    (windows.parent / "JRG~1").symlink_to(windows)
    monkeypatch.setattr(paths, "_short_name", lambda folder: folder.replace("Jörg", "JRG~1"))
    image = volume(ball())
    back = files.read(files.write(image, windows / f"{name}{ending}"))
    assert (sitk.GetArrayFromImage(back) == sitk.GetArrayFromImage(image)).all()
    assert os.listdir(windows) == [f"{name}{ending}"]


def pair(folder):
    sitk.WriteImage(volume(ball()), str(folder.parent / "us.hdr"))
    for ending in (".hdr", ".img"):
        os.replace(folder.parent / f"us{ending}", folder / f"us{ending}")
    return folder / "us.hdr"


def test_without_a_name_that_serves_a_volume_is_read_by_a_link(windows):
    for ending in files.WRITABLE:
        sitk.WriteImage(volume(ball()), str(windows.parent / f"us{ending}"))
        os.replace(windows.parent / f"us{ending}", windows / f"us{ending}")
        assert files.read(windows / f"us{ending}").GetSize() == (44, 40, 10)
    assert files.read(pair(windows)).GetSize() == (44, 40, 10)


def test_where_nothing_helps_the_name_is_said_to_be_at_fault(windows):
    with pytest.raises(OutputError, match="of plain letters"):
        files.write(volume(ball()), windows / "us.nrrd")
    sitk.WriteImage(volume(ball()), str(windows.parent / "us.nhdr"))
    for name in ("us.nhdr", "us.raw"):
        os.replace(windows.parent / name, windows / name)
    with pytest.raises(InputError, match="of plain letters"):  # of which the voxels lie in another file
        files.read(windows / "us.nhdr")
    with pytest.raises(OutputError, match="of plain letters"):
        transforms.write(sitk.TranslationTransform(3), windows / "found.tfm")
    (windows / "found.tfm").write_text("#Insight Transform File V1.0\n")
    with pytest.raises(InputError, match="of plain letters"):
        transforms.read(windows / "found.tfm")
    with pytest.raises(OutputError, match="of plain letters"):
        figures.write_picture(sitk.Image([4, 4], sitk.sitkUInt8), windows / "picture.png")
    assert sorted(os.listdir(windows)) == ["found.tfm", "us.nhdr", "us.raw"]


def test_a_name_of_many_letters_is_said_to_be_at_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "sys", types.SimpleNamespace(platform="win32"))
    folder = tmp_path / ("x" * 200) / ("y" * 60)
    with pytest.raises(OutputError, match=r"2\d\d letters|3\d\d letters") as caught:
        files.write(volume(ball()), folder / "us.nrrd")
    assert "whose name is shorter" in str(caught.value)


@pytest.mark.parametrize(("answers", "short"), [((12, 11), "C:\\JRG~1"), ((0, 0), "")], ids=["short", "none"])
def test_windows_is_asked_for_the_short_name(monkeypatch, answers, short):
    answers = list(answers)

    def get(folder, buffer, size):
        assert folder == "C:\\Jörg"
        if buffer is not None:
            assert len(buffer) == size > len(short)
            buffer.value = short
        return answers.pop(0)

    library = types.SimpleNamespace(GetShortPathNameW=get)
    monkeypatch.setattr(ctypes, "WinDLL", lambda name: library, raising=False)
    assert paths._short_name("C:\\Jörg") == short


def test_a_file_on_another_drive_has_no_relative_name(windows, monkeypatch):
    def relpath(path):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", relpath)
    assert paths.for_itk(windows / "us.nrrd") == str(windows / "us.nrrd")
    assert paths.for_itk(windows.parent / "us.nrrd") == str(windows.parent / "us.nrrd")


def test_elsewhere_a_name_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "sys", types.SimpleNamespace(platform="linux"))
    monkeypatch.chdir(tmp_path)
    assert paths.for_itk(tmp_path / "Größe.nrrd") == str(tmp_path / "Größe.nrrd")
