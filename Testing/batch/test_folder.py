import json
from pathlib import Path

import pytest

from MMHVAESynthesisLib.batch.checks import trouble_of
from MMHVAESynthesisLib.batch.folder import find_cases
from MMHVAESynthesisLib.batch.settings import Settings
from MMHVAESynthesisLib.errors import InputError


@pytest.fixture
def tree(tmp_path):
    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


def found(cases):
    return {case.name: {m: Path(file).name for m, file in case.inputs.items()} for case in cases}


def test_one_folder_a_case(tree):
    folder = tree("Größe 2/US.nrrd", "1/us.nii.gz", "1/t2.nii.gz", "1/notes.txt", "1/.hidden-flair.nrrd", "empty/x.txt")
    assert found(find_cases(folder)) == {"1": {"us": "us.nii.gz", "t2": "t2.nii.gz"}, "Größe 2": {"us": "US.nrrd"}}


def test_bids_with_and_without_sessions(tree):
    folder = tree(
        "sub-01/anat/sub-01_T2w.nii.gz", "sub-01/us/sub-01_us.nii.gz", "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-02/ses-pre/anat/sub-02_ses-pre_FLAIR.nii.gz", "sub-02/ses-intra/us/sub-02_ses-intra_us.nii.gz",
        "derivatives/x/sub-01_T2w.nii.gz", "participants.tsv",
    )  # fmt: skip
    cases = find_cases(folder)
    assert found(cases) == {
        "sub-01": {"us": "sub-01_us.nii.gz", "t2": "sub-01_T2w.nii.gz"},
        "sub-02": {"us": "sub-02_ses-intra_us.nii.gz", "flair": "sub-02_ses-pre_FLAIR.nii.gz"},
    }
    assert "Not used: sub-01/anat/sub-01_T1w.nii.gz." in cases[0].notes


def test_files_of_one_folder_are_grouped_by_the_beginning_of_their_names(tree):
    folder = tree(
        "ReMIND-001-3D_AX_T1_postcontrast.nrrd", "ReMIND-001-2D_AX_T2_FLAIR.nrrd", "ReMIND-001-USpredura.nrrd",
        "ReMIND-002-3D_AX_T2_SPACE.nrrd", "Case27-US-before.nii.gz", "sub-ab_T2w.nii.gz",
    )  # fmt: skip
    assert found(find_cases(folder)) == {
        "ReMIND-001": {
            "us": "ReMIND-001-USpredura.nrrd",
            "cet1": "ReMIND-001-3D_AX_T1_postcontrast.nrrd",
            "flair": "ReMIND-001-2D_AX_T2_FLAIR.nrrd",
        },
        "ReMIND-002": {"t2": "ReMIND-002-3D_AX_T2_SPACE.nrrd"},
        "Case27": {"us": "Case27-US-before.nii.gz"},
        "sub-ab": {"t2": "sub-ab_T2w.nii.gz"},
    }


def test_every_guess_is_noted(tree):
    (case,) = find_cases(tree("1/us.nrrd", "1/axial T2.nrrd", "1/seg.nrrd", "1/other.nrrd"))
    assert case.notes == (
        "Guessed from the names of files: iUS is '1/us.nrrd', T2 is '1/axial T2.nrrd'.",
        "Not used: 1/other.nrrd, 1/seg.nrrd.",
    )


def test_two_volumes_of_one_kind_are_a_problem_and_no_choice(tree):
    one, two = find_cases(tree("1/US a.nrrd", "1/US b.nrrd", "1/t2.nrrd", "2/us.nrrd"))
    assert "Several volumes look like iUS (1/US a.nrrd, 1/US b.nrrd)" in one.problem
    assert one.inputs == {} and not two.problem
    (case,) = find_cases(tree("3/T2 pre.nrrd", "3/T2 preop.nrrd", "3/us.nrrd"), register=True)[2:]
    assert "Several volumes look like T2" in case.problem


def test_of_several_volumes_of_one_kind_the_one_before_the_others_is_taken_and_noted(tree):
    resect, remind, bids = find_cases(
        tree(
            "ReMIND-001/Preop/3D_AX_T1_postcontrast.nrrd", "ReMIND-001/Preop/3D_AX_T2_SPACE.nrrd",
            "ReMIND-001/Preop/3D_AX_T1_precontrast.nrrd", "ReMIND-001/Preop/2D_AX_T2_FLAIR.nrrd",
            "ReMIND-001/Preop/ReMIND-001-preop-SEG-tumor-MR-3D_AX_T1_postcontrast.nrrd",
            "ReMIND-001/Intraop/3D_AX_T1_postcontrast.nrrd", "ReMIND-001/Intraop/USpredura.nrrd",
            "ReMIND-001/Intraop/USpostdura.nrrd", "ReMIND-001/Intraop/USpreimri.nrrd",
            "sub-02/ses-preop/anat/sub-02_ses-preop_ce-gadolinium_T1w.nii.gz",
            "sub-02/ses-postop/anat/sub-02_ses-postop_ce-gadolinium_T1w.nii.gz",
            "sub-02/ses-preop/anat/sub-02_ses-preop_T1w.nii.gz", "sub-02/ses-intra/us/sub-02_ses-intra_us.nii.gz",
            "Case3/US/Case3-US-before.nii.gz", "Case3/US/Case3-US-during.nii.gz", "Case3/US/Case3-US-after.nii.gz",
            "Case3/MRI/Case3-FLAIR.nii.gz", "Case3/MRI/Case3-T1.nii.gz",
        )
    )  # fmt: skip
    assert found([remind])["ReMIND-001"] == {
        "us": "USpredura.nrrd",
        "t2": "3D_AX_T2_SPACE.nrrd",
        "cet1": "3D_AX_T1_postcontrast.nrrd",
        "flair": "2D_AX_T2_FLAIR.nrrd",
    }
    assert "/Preop/" in remind.inputs["cet1"].replace("\\", "/")
    assert "ReMIND-001/Intraop/USpostdura.nrrd, ReMIND-001/Intraop/USpreimri.nrrd" in remind.notes[1]
    assert found([bids])["sub-02"] == {"us": "sub-02_ses-intra_us.nii.gz"}
    assert "Pre- or post-operative by name" in bids.notes[2] and "ses-preop_ce-gadolinium_T1w.nii.gz" in bids.notes[2]
    assert found([resect])["Case3"] == {"us": "Case3-US-before.nii.gz", "flair": "Case3-FLAIR.nii.gz"}


def test_mr_that_is_preoperative_by_name_is_not_taken_to_lie_on_the_ultrasound(tree):
    folder = tree("1/us.nrrd", "1/preop_T2.nrrd", "1/flair.nrrd", "2/T2 pre-op.nrrd")
    both, alone = find_cases(folder)
    assert found([both, alone]) == {"1": {"us": "us.nrrd", "flair": "flair.nrrd"}, "2": {"t2": "T2 pre-op.nrrd"}}
    (other,) = find_cases(tree("3/us.nrrd", "3/T2_preop.nrrd", "3/T2_registered.nrrd", "3/FLAIR präop.nrrd"))[2:]
    assert found([other]) == {"3": {"us": "us.nrrd", "t2": "T2_registered.nrrd"}}
    assert "1/preop_T2.nrrd" in both.notes[-1] and "--register" in both.notes[-1]
    assert list(find_cases(folder, register=True)[0].preoperative) == ["t2", "flair"]


@pytest.mark.parametrize("register", [False, True])
def test_a_preview_in_a_folder_is_no_mr_of_the_patient(tree, register):
    one, two = find_cases(
        tree("1/us.nrrd", "1/preview-T2.nrrd", "2/us.nrrd", "2/T2.nrrd", "2/2_preview-T2.nrrd"), register
    )
    assert list({**one.inputs, **one.preoperative}) == ["us"] and "Not used: 1/preview-T2.nrrd." in one.notes
    assert not two.problem and {**two.inputs, **two.preoperative}["t2"].endswith("T2.nrrd") and not one.problem
    assert "Not used: 2/2_preview-T2.nrrd." in two.notes


def test_a_case_of_which_nothing_is_recognised_is_a_problem(tree):
    one, _ = find_cases(tree("1/scan.nrrd", "2/us.nrrd"))
    assert "No volume looks like iUS, T2, ceT1, FLAIR by its name (1/scan.nrrd)" in one.problem


def test_the_folder_of_one_patient_is_said_to_be_none_of_cases(tree):
    folder = tree("iUS.nrrd", "T2.nrrd", "axial FLAIR.nii.gz", "seg.nrrd")
    with pytest.raises(InputError) as caught:
        find_cases(folder)
    assert str(caught.value) == (
        "T2.nrrd says what it shows but not, with a number before that, whose it is: give --folder the folder that "
        "holds this patient's folder, or name the files in a table."
    )
    assert list(found(find_cases(tree("in/1/iUS.nrrd", "in/1/T2.nrrd") / "in"))) == ["1"]


@pytest.mark.parametrize("day", ["2023-01-05", "2023_1_5", "05.01.2023"])
def test_a_date_at_the_beginning_is_no_patient(tree, day):
    """Taken for the case's number, it made one case of all patients of that year, or day."""
    with pytest.raises(InputError, match=f"{day}_Jones_T2.nrrd says what it shows but not, with a number before that"):
        find_cases(tree(f"{day}/{day}_Smith_US.nrrd", f"{day}/{day}_Jones_T2.nrrd") / day)
    cases = find_cases(tree(f"b/{day}_Case3_US.nrrd", f"b/{day} Case4 US.nrrd", f"b/{day}_Case3_T2.nrrd") / "b")
    assert found(cases) == {
        f"{day}_Case3": {"us": f"{day}_Case3_US.nrrd", "t2": f"{day}_Case3_T2.nrrd"},
        f"{day} Case4": {"us": f"{day} Case4 US.nrrd"},
    }


def test_a_file_that_does_not_say_whose_it_is_lies_beside_cases_as_none(tree, caplog):
    folder = tree("Case1/us.nrrd", "T2.nrrd", "Case2_us.nrrd", "FLAIR/scan_us.nrrd", "FLAIR.nrrd")
    assert found(find_cases(folder)) == {
        "Case1": {"us": "us.nrrd"},
        "Case2": {"us": "Case2_us.nrrd"},
        "FLAIR": {"us": "scan_us.nrrd"},
    }
    assert f"No case, since the name does not say whose it is: {folder / 'T2.nrrd'}" in caplog.messages


def test_a_modality_in_the_cases_name_says_nothing_of_its_files(tree):
    (case,) = find_cases(tree("T2 study 3/T2 study 3 FLAIR.nrrd", "T2 study 3/us.nrrd"))
    assert sorted(case.inputs) == ["flair", "us"]


def test_with_registration_the_mr_is_preoperative(tree):
    one, two = find_cases(tree("1/us.nrrd", "1/t2.nrrd", "2/t2.nrrd"), register=True)
    assert list(one.inputs) == ["us"] and list(one.preoperative) == ["t2"]
    assert "no ultrasound to register to" in two.problem


def test_results_inside_the_folder_are_no_case(tree):
    folder = tree("1/us.nrrd", "results/1/us.nrrd")
    assert list(found(find_cases(folder, results=folder / "results"))) == ["1"]
    with pytest.raises(InputError, match="cannot lie in one folder"):
        find_cases(folder, results=folder)


def test_nor_are_results_further_down_or_named_in_a_roundabout_way(tree):
    folder = tree("1/us.nrrd", "out/run-1/1/1_registered-T2.nrrd", "1/out/1/1_registered-FLAIR.nrrd")
    assert list(found(find_cases(folder, results=folder / "out" / "run-1"))) == ["1"]
    assert list(found(find_cases(folder / "1" / "..", results=folder / "1" / ".." / "out"))) == ["1"]
    inside = find_cases(folder, results=folder / "1" / "out")
    assert found(inside)["1"] == {"us": "us.nrrd"}


def test_a_case_whose_folder_is_given_for_the_results_is_said_to_be_left_out(tree, caplog):
    folder = tree("1/anat/us.nrrd", "2/us.nrrd", "results/2/provenance.json", "results/2/2_synthetic-T2.nrrd")
    assert list(found(find_cases(folder, results=folder / "1"))) == ["2"]
    assert "No case, being the folder for the results, though volumes lie in it" in caplog.text
    caplog.clear()
    assert list(found(find_cases(folder, results=folder / "results"))) == ["1", "2"] and not caplog.text


def test_files_beside_folders_of_cases_are_cases_too(tree, caplog):
    folder = tree("Case1-US-before.nii.gz", "Case1-T2.nii.gz", "Case2-US.nrrd", "old/Case9-US.nii.gz", "atlas.nrrd")
    assert found(find_cases(folder)) == {
        "Case1": {"us": "Case1-US-before.nii.gz", "t2": "Case1-T2.nii.gz"},
        "Case2": {"us": "Case2-US.nrrd"},
        "old": {"us": "Case9-US.nii.gz"},
    }
    assert "No case, since the name says of no modality" in caplog.text and "atlas.nrrd" in caplog.text
    (case,) = (case for case in find_cases(tree("Case1/flair.nrrd")) if case.name == "Case1")
    assert sorted(case.inputs) == ["flair", "t2", "us"]


@pytest.mark.parametrize("sign", [["results1/Case1/provenance.json"], ["results1/report.csv", "results1/report.html"]])
def test_results_of_earlier_batches_are_no_cases(tree, caplog, sign):
    results = ("results1/Case1/Case1_synthetic-T2.nii.gz", "results1/Case1/Case1_registered-T2.nrrd", *sign)
    folder = tree("Case1-US-before.nii.gz", *results)
    assert found(find_cases(folder, results=folder / "results2")) == {"Case1": {"us": "Case1-US-before.nii.gz"}}
    assert "being results of an earlier batch" in caplog.text
    inside = tree("in/1/us.nrrd", *(f"in/1/{name}" for name in results)) / "in"
    assert found(find_cases(inside)) == {"1": {"us": "us.nrrd"}}


def test_a_provenance_of_other_making_is_no_sign_of_results(tree, caplog):
    folder = tree("A/us.nrrd", "B/US.nrrd", "B/anat/T2.nrrd")
    for name in ("B", "B/anat"):
        (folder / name / "provenance.json").write_text('{"Generator": "dcm2niix"}', encoding="utf-8")
    assert found(find_cases(folder)) == {"A": {"us": "us.nrrd"}, "B": {"us": "US.nrrd", "t2": "T2.nrrd"}}
    assert not caplog.text
    assert list(found(find_cases(folder, results=folder / "B"))) == ["A"]
    assert "No case, being the folder for the results, though volumes lie in it" in caplog.text


@pytest.mark.parametrize("provenance", ["whole", "damaged"])
def test_results_in_a_folder_of_another_name_are_still_results(tree, caplog, provenance):
    folder = tree("1/us.nrrd", "Case1, first try/Case1_synthetic-T2.nrrd", "Case1, first try/Case1_registered-T2.nrrd")
    about = {"format": 1, "inputs": {}, "preoperative": {}, "model": {"digest": "d"}, "settings": {}, "outputs": {}}
    text = json.dumps(about) if provenance == "whole" else '{"format": 1,'
    (folder / "Case1, first try" / "provenance.json").write_text(text, encoding="utf-8")
    assert list(found(find_cases(folder))) == ["1"]
    assert "being results of an earlier batch" in caplog.text


def test_a_report_of_other_making_is_no_sign_of_results(tree):
    assert list(found(find_cases(tree("1/us.nrrd", "1/report.csv")))) == ["1"]


@pytest.mark.parametrize("name", ["IM0001", "a.dcm", "1.2.840.10008.5", "us.hdr", "T2.img.gz", "deep/er/brain.mgz"])
def test_a_folder_of_images_in_other_formats_is_a_case_with_a_problem(tree, name):
    one, two = find_cases(tree("1/us.nrrd", "1/notes.txt", f"2/{name}"))
    assert not one.problem and one.notes == ("Guessed from the names of files: iUS is '1/us.nrrd'.",)
    assert f"no NRRD, NIfTI or MetaImage in it, only 2/{name}" in two.problem and two.inputs == {}


def test_images_in_other_formats_beside_volumes_are_noted(tree, caplog):
    (case,) = find_cases(tree("1/us.nrrd", "flair.dcm", *(f"1/T2/IM{number}" for number in range(7))))
    assert case.notes[-1] == (
        "Not read, being in another format: 1/T2/IM0, 1/T2/IM1, 1/T2/IM2, 1/T2/IM3, 1/T2/IM4 and 2 more."
    )
    assert "flair.dcm" in caplog.text


def test_a_folder_without_an_image_is_no_case_and_said_so(tree, caplog):
    assert list(found(find_cases(tree("1/us.nrrd", "docs/README", "docs/protocol.pdf")))) == ["1"]
    assert "for want of an image in it" in caplog.text and "docs" in caplog.text


def test_an_empty_folder_is_said_to_be_no_case(tree, caplog):
    folder = tree("1/us.nrrd")
    (folder / "Case7" / "anat").mkdir(parents=True)
    assert list(found(find_cases(folder))) == ["1"]
    assert f"No case, for want of an image in it: {folder / 'Case7'}" in caplog.messages


def test_a_linked_folder_in_a_case_is_said_not_to_be_looked_into(tree, tmp_path, caplog):
    folder = tree("in/1/us.nrrd", "disk/T2.nrrd") / "in"
    (folder / "2").mkdir()
    try:
        for name in "12":
            (folder / name / "MRI").symlink_to(tmp_path / "disk", target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    assert found(find_cases(folder)) == {"1": {"us": "us.nrrd"}}
    for name in "12":
        assert f"Not looked into, being a link to a folder: {folder / name / 'MRI'}" in caplog.messages
    assert f"No case, for want of an image in it: {folder / '2'}" in caplog.messages


def made_in(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize("mode", [0o000, 0o300])
def test_a_folder_that_may_not_be_read_is_a_case_with_a_problem(shut, mode):
    made_in(shut.folder, "1/us.nrrd", "2/anat/T2.nrrd", "2/us.nrrd", "Case3/us.nrrd", "Case3_T2.nrrd")
    shut(mode, shut.folder / "2" / "anat")
    with pytest.raises(PermissionError):
        list((shut.folder / "2" / "anat").iterdir())
    one, two, three = find_cases(shut.folder)
    assert found([one, three]) == {"1": {"us": "us.nrrd"}, "Case3": {"us": "us.nrrd", "t2": "Case3_T2.nrrd"}}
    assert two.problem.startswith(f"The folder {shut.folder / '2' / 'anat'} cannot be read: Permission denied.")


@pytest.mark.parametrize("mode", [0o000, 0o300])
def test_nor_does_it_stop_the_others_where_it_is_the_cases_own(shut, mode, caplog):
    made_in(shut.folder, "1/us.nrrd", "Case3/us.nrrd", "case3_T2.nrrd", "no name .../us.nrrd", "lost+found/x")
    shut(mode, *(shut.folder / name for name in ("Case3", "lost+found", "no name ...")))
    one, three = find_cases(shut.folder)
    assert (one.name, one.problem, three.name) == ("1", "", "Case3")
    assert f"The folder {shut.folder / 'Case3'} cannot be read: Permission denied." in three.problem
    assert three.inputs == {}
    assert f"No case, since it cannot be read: {shut.folder / 'no name ...'}" in caplog.messages


def test_a_folder_whose_files_may_not_be_opened_is_trouble_of_its_case_alone(shut):
    made_in(shut.folder, "1/us.nrrd", "2/us.nrrd")
    shut(0o400, shut.folder / "2")
    one, two = find_cases(shut.folder)
    assert trouble_of(one, Settings()) == ""
    assert trouble_of(two, Settings()) == f"{shut.folder / '2' / 'us.nrrd'} cannot be read: Permission denied."


def test_a_folder_of_cases_that_may_not_be_entered_is_an_error(shut):
    made_in(shut.folder, "in/1/us.nrrd")
    shut(0o400, shut.folder / "in")
    with pytest.raises(InputError, match="in cannot be read: Permission denied"):
        find_cases(shut.folder / "in")


def test_no_folder_and_no_case_are_errors(tree, tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        find_cases(tmp_path / "absent")
    with pytest.raises(InputError, match="There is no case"):
        find_cases(tree("notes.txt"))


def test_what_is_no_case_does_not_stop_the_others(tree, caplog):
    folder = tree("Case1/us.nrrd", "export .../IM0001", "case1_T2.nii.gz")
    assert found(find_cases(folder)) == {"Case1": {"us": "us.nrrd", "t2": "case1_T2.nii.gz"}}
    assert "IM0001" in caplog.text
