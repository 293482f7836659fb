import os
from pathlib import Path

import pytest

from MMHVAESynthesisLib.batch.checks import trouble_of
from MMHVAESynthesisLib.batch.settings import Settings
from MMHVAESynthesisLib.batch.table import read_table
from MMHVAESynthesisLib.errors import InputError


@pytest.fixture
def table(tmp_path):
    def write(content, name="cases.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


def test_a_case_a_line_with_files_beside_the_table(tmp_path, table):
    cases = read_table(table("case,us,t2,preoperative_cet1\nMüller 1,us 1.nrrd,,a/b.nii.gz\n\n2,,/far/t2.nrrd,\n"))
    assert [case.name for case in cases] == ["Müller 1", "2"]
    assert cases[0].inputs == {"us": str(tmp_path / "us 1.nrrd")}
    assert cases[0].preoperative == {"cet1": str(tmp_path / "a" / "b.nii.gz")}
    assert list(cases[1].inputs) == ["t2"] and cases[1].inputs["t2"].replace("\\", "/").endswith("/far/t2.nrrd")
    assert not any(case.problem for case in cases)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tables_as_spreadsheets_write_them(table, separator, encoding, end):
    lines = [["Case", "iUS", "ceT1", "Preoperative-FLAIR"], ['"Ä, B; C"', "ü.nrrd", "", "f.nrrd"]]
    content = end.join(separator.join(cells) for cells in lines) + end + separator * 3 + end
    (case,) = read_table(table(content.encode(encoding)))
    assert case.name == "Ä, B; C"
    assert list(case.inputs) == ["us"] and list(case.preoperative) == ["flair"]


@pytest.mark.parametrize("first", ["sep=;", "sep=;\r", '"sep=;"', "SEP=;"])
def test_a_line_that_names_the_separator_is_none_of_the_table(table, first):
    """As Excel wants it, and some tools write it; 'case,1' is a name here."""
    (case,) = read_table(table(first + "\ncase;us\ncase,1;a.nrrd\n"))
    assert case.name == "case,1" and list(case.inputs) == ["us"]


def test_empty_columns_behind_the_others_are_none(table):
    """As spreadsheets write them where something once stood."""
    first, second = read_table(table("case;us;;\n1;a.nrrd;;\n2;b.nrrd\n"))
    assert (first.name, second.name) == ("1", "2") and list(first.inputs) == ["us"]


@pytest.mark.parametrize("name", ["report.html", "Report.CSV"])
def test_no_case_is_called_as_the_report_that_lies_beside_the_cases(table, name):
    with pytest.raises(InputError, match=f"'{name}' cannot have this name, which the batch's report has"):
        read_table(table(f"case,us\n{name},a.nrrd\n"))
    assert read_table(table("case,us\nreport,a.nrrd\n"))[0].name == "report"


def test_a_case_without_volumes_is_a_case_with_a_problem(table):
    first, second = read_table(table("case,us,preoperative_t2\n1,a.nrrd,\n2,,t2.nrrd\n"))
    assert not first.problem and "no volume to synthesise from" in second.problem


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must begin with a line of column names"),
        ("us,t2\na,b\n", "must begin with a line of column names"),
        ("case,us,us\n1,a,b\n", "each once"),
        ("case,pet\n1,a\n", "unknown column 'pet'"),
        ("case,us\n", "There is no case"),
        ("case,us\n1,a\n1,b\n", "Two cases are called '1' and '1'"),
        ("case,us\nA,a\na,b\n", "Two cases are called 'A' and 'a'"),
        ("case,us\nx\u00e4,a\nxa\u0308,b\n", "Two cases are called"),
        ("case,us\n1,a\n../x,b\n", "line 3: The case '../x' cannot have this name"),
        ("case,us\nCON,a\n", "cannot have this name"),
        ("case,us\n.hidden,a\n", "cannot have this name"),
        ("case,us\n,a\n", "must have 1 to 100 characters"),
        (f"case,us\n{'x' * 101},a\n", "must have 1 to 100 characters"),
        (f"case,us\n{'я' * 96},a\n", "at most 190 bytes"),
        ("case,us\n1,a,b\n", "line 2: more cells than columns"),
        ('case,us\n"1,a\n', "cannot be read as CSV"),
        ("case,us\nMüller,a\n".encode("latin-1"), "not in UTF-8"),
        ("case,us\n1,a\n".encode("utf-16-le"), "not in UTF-8"),
        ("case,us,,\n1,a,,b.nrrd\n", "line 2: more cells than columns"),
        ("case,,us\n1,,a\n", "a column without a name"),
    ],
)
def test_a_wrong_table_is_an_error_before_any_work(table, content, message):
    with pytest.raises(InputError, match=message):
        read_table(table(content))


def test_an_absent_table_is_said_to_be(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_table(tmp_path / "absent.csv")


def test_names_as_windows_writes_them_are_taken_where_only_that_gives_a_file(tmp_path, table):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "us.nrrd").write_bytes(b"")
    (first, second) = read_table(table("case,us\n1,a\\us.nrrd\n2,a\\absent.nrrd\n"))
    assert Path(first.inputs["us"]).is_file()
    assert second.inputs["us"].endswith("a\\absent.nrrd")
    if os.sep == "/":
        (tmp_path / "a\\us.nrrd").write_bytes(b"")
        assert read_table(tmp_path / "cases.csv")[0].inputs["us"] == str(tmp_path / "a\\us.nrrd")


def test_columns_have_the_modalities_other_names(table):
    (case,) = read_table(table("case,iUS,preoperative_t1ce\n1,a.nrrd,b.nrrd\n"))
    assert list(case.inputs) == ["us"] and list(case.preoperative) == ["cet1"]


@pytest.mark.parametrize("mode", [0o000, 0o400])
def test_files_of_a_folder_that_may_not_be_entered_are_the_trouble_of_their_case(shut, mode):
    for name in ("open", "closed"):
        (shut.folder / name).mkdir()
        (shut.folder / name / "us.nrrd").touch()
    table = shut.folder / "cases.csv"
    table.write_text("case,us\n1,open/us.nrrd\n2,closed/us.nrrd\n3,closed\\us.nrrd\n4,open/us.nrrd/x\n", "utf-8")
    shut(mode, shut.folder / "closed")
    troubles = [trouble_of(case, Settings()) for case in read_table(table)]
    assert troubles[:2] == ["", f"{shut.folder / 'closed' / 'us.nrrd'} cannot be read: Permission denied."]
    assert all("does not exist: check the name of the file." in trouble for trouble in troubles[2:])


def test_a_file_that_may_not_be_read_is_the_trouble_of_its_case(shut):
    (shut.folder / "us.nrrd").touch()
    (shut.folder / "cases.csv").write_text("case,us\n1,us.nrrd\n", "utf-8")
    shut(0, shut.folder / "us.nrrd")
    (case,) = read_table(shut.folder / "cases.csv")
    assert trouble_of(case, Settings()) == f"{shut.folder / 'us.nrrd'} cannot be read: Permission denied."
