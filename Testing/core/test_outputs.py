import os

import pytest

from MMHVAESynthesisLib.errors import OutputError
from MMHVAESynthesisLib.outputs import check_absent, check_file_name, check_no_inputs


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
