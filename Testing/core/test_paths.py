import os
from pathlib import Path

import pytest

from MMHVAESynthesisLib import paths
from MMHVAESynthesisLib.errors import InputError, OutputError
from MMHVAESynthesisLib.paths import check_letters, expanded, move, printable

LATIN_1 = "caf\udce9"
"""What Python makes of a name that was given in Latin-1."""


def test_a_tilde_stands_for_a_home_and_before_a_name_of_nobody_for_itself():
    assert expanded("~/in.nrrd") == expanded(Path("~/in.nrrd")) == Path.home() / "in.nrrd"
    assert expanded("~nobody-here/in.nrrd") == Path("~nobody-here/in.nrrd")


def test_a_name_that_is_not_in_utf_8_is_refused_and_shown(tmp_path):
    check_letters(tmp_path / "Größe", InputError)
    for error in (InputError, OutputError):
        with pytest.raises(error, match=r"caf\\udce9.us.nrrd has letters .*: rename the file or folder"):
            check_letters(tmp_path / LATIN_1 / "us.nrrd", error)
    assert printable(Path("Größe")) == "Größe" and printable(LATIN_1) == "caf\\udce9"


@pytest.fixture
def refuse(monkeypatch):
    """Return a call that refuses so many renames, as Windows does where a scanner reads; it counts in ``left``."""
    replace = os.replace
    monkeypatch.setattr(paths, "_LOOK", 0.001)

    def times(number, patience=60.0):
        left = [number]

        def refused(source, target):
            left[0] -= 1
            if left[0] >= 0:
                raise PermissionError(13, "in use")
            replace(source, target)

        monkeypatch.setattr(paths, "_PATIENCE", patience)
        monkeypatch.setattr(os, "replace", refused)
        return left

    return times


def test_a_scanner_is_waited_for(tmp_path, refuse):
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    refuse(3)
    move(tmp_path / "new", tmp_path / "old")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old", "new")]


def test_what_stays_open_is_an_error_after_a_while(tmp_path, refuse):
    (tmp_path / "new").write_text("new")
    left = refuse(10**9, patience=0.05)
    with pytest.raises(PermissionError, match="in use"):
        move(tmp_path / "new", tmp_path / "old")
    assert left[0] < 10**9 - 1 and (tmp_path / "new").exists()


def test_a_folder_in_the_way_is_not_waited_for(tmp_path, refuse):
    (tmp_path / "new").mkdir()
    (tmp_path / "there").mkdir()
    left = refuse(2)
    with pytest.raises(PermissionError):
        move(tmp_path / "new", tmp_path / "there")
    assert left == [1], "it is asked once"


@pytest.mark.skipif(os.name == "nt", reason="Windows waits")
def test_other_systems_are_asked_once(tmp_path, monkeypatch):
    asked = []

    def refused(*names):
        asked.append(names)
        raise PermissionError(13, "in use")

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(PermissionError):
        move(tmp_path / "new", tmp_path / "old")
    assert len(asked) == 1
