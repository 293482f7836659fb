import os
from pathlib import Path

import pytest

from MMHVAESynthesisLib import paths
from MMHVAESynthesisLib.errors import DeviceError, OutputError
from MMHVAESynthesisLib.outputs import check_absent, check_file_name, check_no_inputs, hidden_folders, put_in_place


def test_a_name_that_no_file_can_have_is_refused_in_words(tmp_path):
    check_absent([tmp_path / ("x" * 255)], False, "another name")
    with pytest.raises(OutputError, match="too long for a file's name, 256 bytes: choose one of 255 at most"):
        check_absent([tmp_path / ("x" * 256)], False, "another name")
    with pytest.raises(OutputError, match="264 bytes"):
        check_absent([tmp_path / ("ä" * 132)], True, "another name")
    check_file_name("x" * 200)
    with pytest.raises(OutputError, match="at most 200 bytes with --name"):
        check_file_name("x" * 201)
    with pytest.raises(OutputError, match="at most 200 bytes"):
        check_file_name("ä" * 101)


@pytest.mark.skipif(os.name == "nt", reason="Windows says that such a file is absent")
def test_a_folder_whose_name_is_too_long_is_refused_in_words(tmp_path):
    with pytest.raises(OutputError, match="Cannot write .*Choose another place"):
        check_absent([tmp_path / ("x" * 300) / "out.nrrd"], False, "another name")


def test_an_input_is_known_by_whichever_name_it_is_reached(tmp_path, monkeypatch):
    (tmp_path / "in.nrrd").write_text("mine")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    targets = [tmp_path / "new.nrrd", tmp_path / "sub" / ".." / "in.nrrd"]
    with pytest.raises(OutputError, match="in.nrrd is one of the inputs: choose another name for the output"):
        check_no_inputs(targets, ["in.nrrd"], "another name for the output")
    os.link("in.nrrd", "linked.nrrd")
    with pytest.raises(OutputError, match="linked.nrrd is one of the inputs"):
        check_no_inputs([tmp_path / "linked.nrrd"], ["in.nrrd"], "another name")
    check_no_inputs(targets[:1], ["in.nrrd", "absent.nrrd"], "another name")


NAMES = ("a.nrrd", "b.nrrd", "record.json")


def put(folder, names=NAMES, gone=("old.nrrd",)):
    with put_in_place([folder / name for name in names], [folder / name for name in gone]) as parts:
        for part in parts.values():
            part.write_text("new")


def contents(folder):
    return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def former(tmp_path):
    """Return what is there before: one of three files to be written, one to be removed, and someone else's."""
    for name in ("b.nrrd", "record.json", "old.nrrd", "other.txt"):
        (tmp_path / name).write_text("former")
    return contents(tmp_path)


@pytest.fixture
def refuse(monkeypatch):
    """Return a call that lets no file be moved from, or to, paths that fit: as Windows does where it is open."""
    replace = os.replace

    def until(fits, error=None):
        def refused(source, target):
            if fits(Path(source), Path(target)):
                raise error or PermissionError(13, "in use")
            replace(source, target)

        monkeypatch.setattr(os, "replace", refused)

    return until


def test_files_are_put_in_place_and_others_removed(tmp_path, former):
    put(tmp_path, gone=("old.nrrd", "absent.nrrd"))
    assert contents(tmp_path) == {**dict.fromkeys(NAMES, "new"), "other.txt": "former"}
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["b.nrrd", "record.json", "old.nrrd"])
def test_where_one_file_cannot_be_moved_away_all_stay(tmp_path, former, refuse, name):
    refuse(lambda source, _: source == tmp_path / name)
    with pytest.raises(OutputError, match=f"{name} could not be written: in use"):
        put(tmp_path)
    assert contents(tmp_path) == former and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("call", range(6))
def test_where_the_user_stops_it_all_stay(tmp_path, former, refuse, call):
    calls = []
    refuse(lambda *paths: calls.append(paths) or len(calls) == call + 1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        put(tmp_path)
    assert contents(tmp_path) == former and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", NAMES)
def test_where_a_new_file_cannot_be_put_there_all_stay(tmp_path, former, refuse, name):
    refuse(lambda source, target: target == tmp_path / name and source.parent.name.startswith(".mmhvae"))
    with pytest.raises(OutputError, match=f"{name} could not be written: in use"):
        put(tmp_path)
    assert contents(tmp_path) == former and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["a.nrrd", "record.json", "old.nrrd"])
def test_a_folder_in_the_way_is_left_alone(tmp_path, former, name):
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=f"{name} is a folder"):
        put(tmp_path)
    assert contents(tmp_path) == before and not list(tmp_path.glob(".*"))


def test_what_cannot_be_brought_back_is_kept_and_said(tmp_path, former, refuse):
    # b.nrrd is open from the moment at which it is to be put there.
    refuse(lambda source, target: target == tmp_path / "b.nrrd")
    with pytest.raises(OutputError, match=r"The former b.nrrd is kept as (.*b.nrrd)\.$") as said:
        put(tmp_path)
    kept = Path(str(said.value).partition("kept as ")[2][:-1])
    assert kept.read_text() == "former" and kept.parent.parent.parent == tmp_path
    left = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
    assert left == {name: text for name, text in former.items() if name != "b.nrrd"}


def test_who_finds_the_last_file_finds_all_that_it_is_of(tmp_path, former, refuse):
    seen = []
    refuse(lambda *_: seen.append({n for n in os.listdir(tmp_path) if (tmp_path / n).is_file()}))
    put(tmp_path)
    assert all("record.json" not in names for names in seen[1:]) and len(seen) == 6


def test_a_block_that_cannot_write_leaves_all(tmp_path, former):
    with pytest.raises(OutputError, match="Cannot write into .*: no space"):
        with put_in_place([tmp_path / "b.nrrd"]) as parts:
            parts[tmp_path / "b.nrrd"].write_text("half")
            raise OSError(28, "no space")
    assert contents(tmp_path) == former and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("kind", [OutputError, DeviceError])
def test_an_error_names_the_file_that_was_to_be_written_not_the_hidden_one(tmp_path, kind):
    target = tmp_path / "b.nrrd"
    with pytest.raises(kind) as said:
        with put_in_place([target]) as parts:
            raise kind(f"{parts[target]} could not be written whole: is the disk full?")
    assert str(said.value) == f"{target} could not be written whole: is the disk full?"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_what_is_written_may_be_read_by_whom_the_user_lets(tmp_path):
    former = os.umask(0o022)
    try:
        with hidden_folders([tmp_path]) as beside:
            assert beside[tmp_path].stat().st_mode & 0o777 == 0o755
            assert beside[tmp_path].name.startswith(".mmhvae-")
        put(tmp_path)
        assert {(tmp_path / name).stat().st_mode & 0o777 for name in NAMES} == {0o644}
    finally:
        os.umask(former)


def test_a_scanner_that_reads_what_was_written_is_waited_for(tmp_path, former, refuse, monkeypatch):
    refusals = list(NAMES)
    refuse(lambda _, target: bool(target.name in refusals and (refusals.remove(target.name) or True)))
    monkeypatch.setattr(paths, "_PATIENCE", 60.0)
    put(tmp_path)
    assert contents(tmp_path) == {**dict.fromkeys(NAMES, "new"), "other.txt": "former"} and not refusals


def test_a_file_in_the_place_of_a_folder_is_said_to_be_one(tmp_path):
    (tmp_path / "T2.nrrd").write_bytes(b"mine")
    with pytest.raises(OutputError, match="T2.nrrd: it is a file. Choose a folder"):
        with put_in_place([tmp_path / "T2.nrrd" / "a.nrrd"]):
            pass
    assert (tmp_path / "T2.nrrd").read_bytes() == b"mine"
