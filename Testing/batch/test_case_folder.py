"""A case's folder is put in place whole, or the former one stays."""

import os

import pytest

from MMHVAESynthesisLib.batch import case_folder
from MMHVAESynthesisLib.errors import OutputError


def test_former_results_stay_where_new_ones_cannot_be_put_in_place(tmp_path, monkeypatch):
    (tmp_path / "Case1").mkdir()
    (tmp_path / "Case1" / "former.txt").write_text("former")
    replace = os.replace

    def refuse(source, target):
        if str(source).endswith(".part"):
            raise PermissionError(13, "somebody holds it open")
        replace(source, target)

    folder = case_folder.CaseFolder(tmp_path, "Case1")
    monkeypatch.setattr(case_folder.os, "replace", refuse)
    with pytest.raises(OutputError, match="somebody holds it open"), folder as part:
        (part / "new.txt").write_text("new")
        folder.publish({})
    assert [path.name for path in tmp_path.iterdir()] == ["Case1"]
    assert (tmp_path / "Case1" / "former.txt").read_text() == "former"
