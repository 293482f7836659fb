import json
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.errors import InputError, OutputError
from MMHVAESynthesisLib.registration import figures, landmarks, transforms

from . import phantom

MATRIX = phantom.motion((5, -8, 12), (4, -3, 6))


@pytest.mark.parametrize("ending", transforms.WRITABLE)
@pytest.mark.parametrize("stretch", [1.0, 1.04], ids=["rigid", "affine"])
def test_transform_file_round_trip(tmp_path, ending, stretch):
    matrix = MATRIX @ np.diag([stretch, 1, 1, 1])
    transform = transforms.transform_of(matrix, phantom.CENTRE)
    path = transforms.write(transform, tmp_path / f"T{ending}")
    read = transforms.read(path)
    assert np.allclose(transforms.matrix_of(read), matrix, atol=1e-10)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert transforms.is_rigid(transforms.matrix_of(read)) == (stretch == 1)


def test_transform_turns_about_its_centre():
    transform = transforms.transform_of(MATRIX, phantom.CENTRE)
    assert np.allclose(transform.TransformPoint(phantom.CENTRE.tolist()), phantom.CENTRE + [4, -3, 6])


def test_resampling_with_the_file_moves_a_marked_voxel(tmp_path):
    fixed, moving = sitk.Image([20, 20, 20], sitk.sitkUInt8), sitk.Image([20, 20, 20], sitk.sitkUInt8)
    moving[12, 9, 4] = 200
    shift = np.eye(4)
    shift[:3, 3] = (5, -2, -3)
    path = transforms.write(transforms.transform_of(shift, np.array([10.0, 10, 10])), tmp_path / "T.tfm")
    moved = sitk.Resample(moving, fixed, transforms.read(path), sitk.sitkNearestNeighbor)
    assert moved[7, 11, 7] == 200 and sitk.GetArrayViewFromImage(moved).sum() == 200


@pytest.mark.parametrize("ending", transforms.WRITABLE)
@pytest.mark.parametrize("short_of", [0, 1e-9, 1e-5, 1e-3])
def test_a_half_turn_comes_through_a_file(tmp_path, ending, short_of):
    """Such as from RAS to LPS, which an initial transform may have to undo."""
    matrix = phantom.motion((0, 0, 180 - np.degrees(short_of)), (4, -3, 6))
    path = transforms.write(transforms.transform_of(matrix, phantom.CENTRE), tmp_path / f"T{ending}")
    assert np.allclose(transforms.matrix_of(transforms.read(path)), matrix, atol=1e-9)


def test_mirroring_is_not_rigid():
    assert not transforms.is_rigid(np.diag([1.0, 1, -1, 1]))


@pytest.mark.parametrize("digits", range(3, 16))
def test_a_rotation_given_with_few_digits_is_kept_as_it_is(digits):
    matrix = np.round(MATRIX, digits)
    assert np.allclose(transforms.matrix_of(transforms.transform_of(matrix, phantom.CENTRE)), matrix, atol=1e-12)


def test_transform_that_cannot_be_written_leaves_nothing(tmp_path):
    for name in ("T.nrrd", "T.H5", "T.TFM"):
        with pytest.raises(OutputError, match="must end with"):
            transforms.write(sitk.Euler3DTransform(), tmp_path / name)
    with pytest.raises(OutputError, match="could not be written"):
        transforms.write(sitk.Euler3DTransform(), tmp_path / "absent" / "T.h5")
    assert not list(tmp_path.iterdir())


def test_failed_write_keeps_the_former_file(tmp_path, monkeypatch):
    path = transforms.write(sitk.Euler3DTransform(), tmp_path / "T.tfm")
    former = path.read_bytes()
    monkeypatch.setattr(transforms.sitk, "ReadTransform", lambda name: sitk.TranslationTransform(3, (1.0, 2.0, 3.0)))
    with pytest.raises(OutputError):
        transforms.write(sitk.Euler3DTransform(), path)
    assert path.read_bytes() == former and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("ending", transforms.WRITABLE)
def test_a_file_of_several_transforms_is_refused_but_for_the_parts_of_one(tmp_path, ending):
    shift = sitk.TranslationTransform(3, (1.0, 2.0, 3.0))
    composite = sitk.CompositeTransform([sitk.Euler3DTransform(), shift, shift])
    path = tmp_path / f"T{ending}"
    sitk.WriteTransform(composite, str(path))
    assert np.allclose(transforms.matrix_of(transforms.read(path))[:3, 3], [2, 4, 6])
    # Each of them for itself, as a list of transforms is written.
    if ending == ".h5":
        path.write_bytes(path.read_bytes().replace(b"CompositeTransform_", b"TranslatedTransform"))
    else:
        path.write_text(path.read_text().replace("#Transform 0\nTransform: CompositeTransform_double_3_3\n", ""))
        assert sitk.ReadTransform(str(path)).GetName() == "Euler3DTransform"
    with pytest.raises(InputError, match="holds 3 transforms"):
        transforms.read(path)


def test_a_transform_of_minc_is_refused(tmp_path):
    """ITK reads it, but takes its RAS coordinates for LPS."""
    rows = "1 0 0 5\n0 1 0 6\n0 0 1 7;\n"
    (tmp_path / "T.xfm").write_text(f"MNI Transform File\nTransform_Type = Linear;\nLinear_Transform =\n{rows}")
    with pytest.raises(InputError, match="T.xfm is a transform of MINC.*give an .h5 or .tfm"):
        transforms.read(tmp_path / "T.xfm")


def test_damaged_transform_file(tmp_path):
    (tmp_path / "T.tfm").write_text("no transform", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read as a transform"):
        transforms.read(tmp_path / "T.tfm")


FCSV = """# Markups fiducial file version = 4.11
# CoordinateSystem = {system}
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
1,{x},{y},3.5,0,0,0,1,1,1,0,"F, 1",,
2,10,20,30,0,0,0,1,1,1,0,F-2,,
"""


@pytest.mark.parametrize(("system", "sign"), [("LPS", 1), ("1", 1), ("RAS", -1), ("0", -1)])
def test_fcsv(tmp_path, system, sign):
    path = tmp_path / "F.fcsv"
    path.write_text(FCSV.format(system=system, x=1.5, y=-2.5), encoding="utf-8")
    expected = np.array([[1.5, -2.5, 3.5], [10, 20, 30]]) * [sign, sign, 1]
    read = landmarks.read_points(path)
    assert np.array_equal(read.points, expected) and read.labels == ["F, 1", "F-2"]


def test_points_of_an_fcsv_that_are_missing_or_unset_are_not_placed(tmp_path):
    path = tmp_path / "F.fcsv"
    rows = [f"{number},{number},0,0,0,0,0,1,1,1,0,F-{number},,,{status},0" for number, status in enumerate("230", 1)]
    path.write_text("\n".join(["# CoordinateSystem = LPS", *rows]) + "\n")
    expected = [[1, 0, 0], [np.nan] * 3, [np.nan] * 3]
    assert np.array_equal(landmarks.read_points(path).points, expected, equal_nan=True)


def markups(points, system="LPS", **more):
    lists = [{"type": "Fiducial", "coordinateSystem": system, "controlPoints": points}]
    times = more.pop("times", 1)
    lists[0].update(more)
    return json.dumps({"@schema": "markups-schema", "markups": lists * times})


@pytest.mark.parametrize(("system", "sign"), [("LPS", 1), ("RAS", -1)])
def test_markups_json(tmp_path, system, sign):
    path = tmp_path / "F.mrk.json"
    points = [
        {"position": [1, 2, 3], "positionStatus": "defined", "label": "Sulcus"},
        {"position": [0, 0, 0], "positionStatus": "undefined"},
        {"position": [4, 5, 6]},
    ]
    path.write_text(markups(points, system), encoding="utf-8")
    expected = np.array([[1, 2, 3], [np.nan] * 3, [4, 5, 6]]) * [sign, sign, 1]
    read = landmarks.read_points(path)
    assert np.array_equal(read.points, expected, equal_nan=True) and read.labels == ["Sulcus", "", ""]


@pytest.mark.parametrize(
    ("unit", "said"),
    [("mm", None), (["mm", "UCUM", "millimeter"], None), ("cm", "in cm"), (["um", "UCUM", "micrometer"], "in um")],
)
def test_points_in_other_units_than_millimetres_are_refused(tmp_path, unit, said):
    path = tmp_path / "F.mrk.json"
    path.write_text(markups([{"position": [1, 2, 3]}], coordinateUnits=unit), encoding="utf-8")
    if said is None:
        assert np.array_equal(landmarks.read_points(path).points, [[1, 2, 3]])
        return
    with pytest.raises(InputError, match=f"gives its points {said}: save it in mm"):
        landmarks.read_points(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("F.fcsv", FCSV.format(system="2", x=1, y=2)),
        ("F.fcsv", FCSV.format(system="LPS", x="a", y=2)),
        ("F.fcsv", "1,2,3,4\n"),
        ("F.fcsv", FCSV.format(system="LPS", x="nan", y=2)),
        ("F.fcsv", FCSV.format(system="LPS", x=1, y=2).replace("F-2", "F" * 200_000)),
        ("F.mrk.json", "{"),
        ("F.mrk.json", "[]"),
        ("F.mrk.json", markups([], times=2)),
        ("F.mrk.json", markups([{"position": [1, 2]}])),
        ("F.mrk.json", markups([{"position": [1, 2]}] * 3)),
        ("F.mrk.json", markups([{"position": [1, 2, 3]}], "IJK")),
        ("F.mrk.json", markups([{"position": [1, 2, 3]}], 0)),
        ("F.mrk.json", markups(["a point"])),
        ("F.txt", "1 2 3"),
    ],
)
def test_damaged_points(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="F"):
        landmarks.read_points(tmp_path / name)


TAG = """MNI Tag Point File
Volumes = 2;
% Case 1; two points
Points =
 1 2 3 -4 5.5 6 ""
 7 8 9 10 11 12 1 2 3 "a label";
"""


def test_tag(tmp_path):
    path = tmp_path / "F.tag"
    path.write_text(TAG, encoding="utf-8")
    first, second = landmarks.read_tag(path)
    assert np.array_equal(first, [[-1, -2, 3], [-7, -8, 9]])
    assert np.array_equal(second, [[4, -5.5, 6], [-10, -11, 12]])


SEVERAL = TAG[: TAG.index(" 1 2 3")]
"""The head of a tag file, its points left out."""


@pytest.mark.parametrize(
    "points",
    [
        '1 2 3 4 5 6 "sulcus; deep"\n 7 8 9 10 11 12 "b";',
        '1 2 3 4 5 6 "a" 7 8 9 10 11 12 "b" ; \n',
        '1 2 3 4 5 6 "a" 7 8 9 10 11 12;',
        '1 2 3 4 5 6 0.5 1 1 "a" 7 8 9 10 11 12 0.5 1 1 ""\n;',
        "1 2 3 4 5 6\n\n  % a note\n7 8 9 10 11 12 0.5 1 1\n;",
        "1 2 3 4 5 6 sulcus\n7 8 9 10 11 12 0.5 1 1 gyrus;",
    ],
)
def test_every_point_of_a_tag_file_is_read(tmp_path, points):
    (tmp_path / "F.tag").write_text(SEVERAL + points, encoding="utf-8")
    first, second = landmarks.read_tag(tmp_path / "F.tag")
    assert np.array_equal(first, [[-1, -2, 3], [-7, -8, 9]])
    assert np.array_equal(second, [[-4, -5, 6], [-10, -11, 12]])


@pytest.mark.parametrize(
    "points",
    [
        "1 2 3 4 5 6 7 8 9 10 11 12;",
        "1 2 3 4 5 6 1 1 1 7 8 9 10 11 12 1 1 1;",
        '1 2 3 4 5 6 "a";\n 7 8 9 10 11 12 "b";',
        '1 2 3 4 5 6 "a\n 7 8 9 10 11 12 "b";',
        '1 2 3 4 5 6 "a" "b";',
        '1 2 3 4 5 6 0.5 one 1 "a";',
    ],
)
def test_a_tag_file_whose_points_cannot_be_told_apart_is_refused(tmp_path, points):
    (tmp_path / "F.tag").write_text(SEVERAL + points, encoding="utf-8")
    with pytest.raises(InputError, match="F.tag"):
        landmarks.read_tag(tmp_path / "F.tag")


HALF = TAG.replace("-4 5.5 6", "").replace("10 11 12 1 2 3", "")
"""With three numbers in each of two lines: as many as one pair of points has."""


@pytest.mark.parametrize(
    "text", ["", TAG[:90], TAG.replace("2;", "1;", 1), TAG.replace("5.5", "five"), TAG.replace("-4 5.5 6", ""), HALF]
)
def test_damaged_tag(tmp_path, text):
    (tmp_path / "F.tag").write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        landmarks.read_tag(tmp_path / "F.tag")


def test_absent_landmarks(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        landmarks.read_points(tmp_path / "absent.fcsv")


def test_landmarks_in_another_encoding_are_told_as_such(tmp_path):
    (tmp_path / "F.fcsv").write_text(FCSV.format(system="LPS", x=1, y=2).replace("F-2", "Lésion"), encoding="latin-1")
    with pytest.raises(InputError, match="is not in UTF-8: save it anew"):
        landmarks.read_points(tmp_path / "F.fcsv")


def test_target_registration_error():
    fixed = np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 0]])
    moving = fixed + [3, 4, 0]
    moving[2] += [0, 0, 12]
    none = landmarks.target_registration_error(sitk.Transform(3, sitk.sitkIdentity), fixed, moving)
    assert np.allclose(none.distances, [5, 5, 13])
    assert (none.median, none.largest) == (5, 13) and none.mean == pytest.approx(23 / 3)
    right = landmarks.target_registration_error(sitk.TranslationTransform(3, (3.0, 4.0, 0.0)), fixed, moving)
    assert np.allclose(right.distances, [0, 0, 12])


def test_landmarks_of_different_length():
    with pytest.raises(InputError, match="3 landmarks in the ultrasound and 2 in the MR"):
        landmarks.target_registration_error(sitk.Transform(), np.zeros((3, 3)), np.zeros((2, 3)))
    with pytest.raises(InputError, match="no landmarks"):
        landmarks.target_registration_error(sitk.Transform(), np.zeros((0, 3)), np.zeros((0, 3)))


NONE = [np.nan] * 3


@pytest.mark.parametrize(
    ("moving", "labels", "expected"),
    [
        ([[3, 0, 0], [1, 0, 0], [2, 0, 0]], ["C", "A", " B"], [[1, 0, 0], [2, 0, 0], [3, 0, 0]]),
        ([[3, 0, 0], NONE, [2, 0, 0]], ["C", "A", "B"], [NONE, [2, 0, 0], [3, 0, 0]]),
        ([[3, 0, 0], [1, 0, 0], [2, 0, 0], NONE], ["C", "A", "B", "D"], [[1, 0, 0], [2, 0, 0], [3, 0, 0]]),
        ([[3, 0, 0], [1, 0, 0], [2, 0, 0]], ["A", "B", "C"], None),
        ([[3, 0, 0], [1, 0, 0], [2, 0, 0]], ["F-3", "F-1", "F-2"], None),
        ([[3, 0, 0], [1, 0, 0], [2, 0, 0]], ["C", "A", "A"], None),
        ([[3, 0, 0], [1, 0, 0]], ["C", "A"], None),
    ],
)
def test_lists_of_the_same_labels_in_another_order_are_paired_by_label(moving, labels, expected):
    fixed = landmarks.PointList(np.array([[1.0, 0, 0], [2, 0, 0], [3, 0, 0]]), ["A", "B", "C"])
    moving = landmarks.PointList(np.array(moving, dtype=float), labels)
    first, second, said = landmarks.paired(fixed, moving)
    assert np.array_equal(first, fixed.points)
    assert np.array_equal(second, moving.points if expected is None else expected, equal_nan=True)
    assert said == ("" if expected is None else landmarks.BY_LABEL)


def test_labels_given_twice_say_nothing():
    twice = landmarks.PointList(np.eye(3), ["A", "A", "B"]), landmarks.PointList(np.eye(3), ["B", "A", "A"])
    assert landmarks.paired(*twice)[2] == ""


@pytest.mark.parametrize(
    ("moving", "said"),
    [
        (["F-1", "F-2", "F-3", "F-5"], "('F-4' in the ultrasound was paired with 'F-3' in the MR, by their order)"),
        (["F-1", "F-2", "F-4", "F-6"], "('F-5' in the ultrasound was paired with 'F-6' in the MR, by their order)"),
        (["A", "B", "C", "D"], ""),
        (["F-1", "F-1", "F-3", "F-5"], ""),
        (["F-1", "F-2", "F-4"], ""),
    ],
)
def test_lists_that_share_some_labels_only_are_warned_of(moving, said):
    """One point was removed of each, another one: by their order two points are paired that are none."""
    fixed = landmarks.PointList(np.arange(12.0).reshape(4, 3), ["F-1", "F-2", "F-4", "F-5"])
    moving = landmarks.PointList(fixed.points[: len(moving)] + 1, moving)
    *points, warning = landmarks.paired(fixed, moving)
    assert points[0] is fixed.points and points[1] is moving.points
    assert said in warning and bool(warning) == bool(said)


def test_the_label_of_a_point_that_was_not_placed_or_none_is_no_sign_of_false_pairs():
    points = np.arange(9.0).reshape(3, 3)
    last = np.vstack([points[:2], NONE])
    pairs = [(points, ["A", "B", "C"], last, ["A", "B", "X"]), (points, ["", "B", "C"], points, ["", "X", "Y"])]
    for fixed, labels, moving, others in pairs:
        assert landmarks.paired(landmarks.PointList(fixed, labels), landmarks.PointList(moving, others))[2] == ""


def test_a_landmark_that_was_not_placed_takes_its_pair_along_and_shifts_no_other():
    points = np.arange(12.0).reshape(4, 3)
    fixed, moving = points.copy(), points + [3, 4, 0]
    fixed[1], moving[2] = np.nan, np.nan
    error = landmarks.target_registration_error(sitk.Transform(3, sitk.sitkIdentity), fixed, moving)
    assert error.distances.tolist() == [5, 5]
    # The point under the cursor of a list that is being placed.
    last = points.copy()
    last[-1] = np.nan
    assert len(landmarks.target_registration_error(sitk.Transform(), points, last).distances) == len(points) - 1
    waiting = np.vstack([points, [np.nan] * 3])
    assert landmarks.target_registration_error(sitk.Transform(3, sitk.sitkIdentity), waiting, points).largest == 0
    with pytest.raises(InputError, match="at least one"):
        landmarks.target_registration_error(sitk.Transform(), fixed[1:2], fixed[1:2])


def test_displacement_of_each_voxel():
    field = phantom.field(phantom.head(size=40), size=(12, 10, 8), spacing=(1.0, 2.0, 1.5), degrees=(20, 30, 40))
    transform = transforms.transform_of(MATRIX, phantom.CENTRE)
    result = figures.displacement(transform, field)
    assert result.GetSize() == field.GetSize() and result.GetDirection() == field.GetDirection()
    for index in [(11, 9, 7), (3, 4, 5), (6, 2, 0)]:
        point = np.array(field.TransformIndexToPhysicalPoint(index))
        expected = np.linalg.norm(np.array(transform.TransformPoint(point.tolist())) - point)
        assert result[index] == pytest.approx(expected, abs=1e-4)
    assert result[0, 0, 0] == 0 == field[0, 0, 0]
    field[3, 4, 5] = 0
    with_hole = figures.displacement(transform, field)
    assert with_hole[3, 4, 5] == result[3, 4, 5] > 0 and with_hole[0, 0, 0] == 0
    assert "not how the brain shifted" in figures.LINEAR_ONLY


def test_checkerboard_shows_both_volumes_by_turns(tmp_path):
    fixed = sitk.Image([40, 40, 30], sitk.sitkFloat32) + 100
    fixed[0, 0, 0] = 50
    moving = phantom.head(size=112)
    picture = figures.checkerboard(fixed, moving, transforms.transform_of(MATRIX, phantom.CENTRE))
    assert picture.GetDimension() == 2 and picture.GetPixelID() == sitk.sitkUInt8
    array = sitk.GetArrayFromImage(picture)
    assert array[5:15, 5:15].std() == 0 < array[5:15, 25:35].std()
    path = figures.write_picture(picture, tmp_path / "c.png")
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), array)
    with pytest.raises(OutputError):
        figures.write_picture(picture, tmp_path / "c.jpg")
    with pytest.raises(InputError, match="empty"):
        figures.checkerboard(fixed * 0, moving, sitk.Transform())


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "LPI", "RAI"])
def test_checkerboard_pictures_have_the_head_or_the_face_up_whichever_way_the_axes_run(orientation):
    superior, posterior, left = np.meshgrid(*[np.linspace(10, 110, n) for n in (40, 36, 32)], indexing="ij")

    def picture(brighter):
        image = sitk.DICOMOrient(sitk.GetImageFromArray(brighter.astype(np.float32)), orientation)
        return sitk.GetArrayFromImage(figures.checkerboard(image, image, sitk.Transform())).astype(int)

    # Axial from column 0, coronal from 67, sagittal from 134; half a millimetre a pixel.
    up, back, side = picture(superior), picture(posterior), picture(left)
    assert up[5, 90] > up[70, 90] and up[5, 160] > up[70, 160]
    assert back[5, 20] < back[60, 20] and back[30, 140] < back[30, 190]
    assert side[30, 4] < side[30, 55] and side[30, 75] < side[30, 120]


@pytest.mark.parametrize("orientation", ["LPS", "PSL", "SLP", "IRP", "AIR"])
def test_checkerboard_pictures_of_permuted_axes_stand_upright_too(orientation):
    ramps = np.meshgrid(*[np.linspace(10, 110, 32)] * 3, indexing="ij")

    def slopes(brighter):
        image = sitk.DICOMOrient(sitk.GetImageFromArray(brighter.astype(np.float32)), orientation)
        picture = sitk.GetArrayFromImage(figures.checkerboard(image, image, sitk.Transform())).astype(int)
        tiles = [picture[:, start : start + 63] for start in (0, 67, 134)]
        down = [np.sign(round((tile[50, 30] - tile[10, 30]) / 40)) for tile in tiles]
        across = [np.sign(round((tile[30, 50] - tile[30, 10]) / 40)) for tile in tiles]
        return sorted(zip(down, across))

    # Superior is up in two pictures; posterior down in the axial, right in the sagittal; left is right in two.
    superior, posterior, left = ramps
    assert slopes(superior) == [(-1, 0), (-1, 0), (0, 0)]
    assert slopes(posterior) == [(0, 0), (0, 1), (1, 0)]
    assert slopes(left) == [(0, 0), (0, 1), (0, 1)]


def test_checkerboard_in_three_dimensions():
    left, right = (sitk.GetImageFromArray(np.arange(8 * 30 * 22, dtype=np.float32).reshape(8, 30, 22)) for _ in "12")
    right = 5000 - right
    for image in (left, right):
        image.SetSpacing([1.0, 0.5, 4.0])
    left[3, 4, 5] = 0
    board = figures.checkerboard_volume(left, right, sitk.Transform())
    assert board.GetSize() == (22, 30, 8) and board.GetSpacing() == (1.0, 0.5, 4.0)
    assert board.GetPixelID() == sitk.sitkUInt8 and board[3, 4, 5] == 0
    rising = {index: board[index[0], index[1] + 3, index[2]] > board[index] for index in BLOCKS}
    assert rising == BLOCKS


BLOCKS = {
    (5, 10, 1): True,  # the first block, 10 mm each way, shows the fixed volume
    (15, 10, 1): False,
    (5, 25, 1): False,
    (15, 25, 1): True,
    (5, 10, 4): False,
    (20, 10, 1): True,
}
"""Voxels of blocks, and whether the intensities rise along the columns there, as the fixed volume's do."""


GIVEN_MEAN_MM = {"Case1": 1.8, "Case2": 5.7, "Case12": 19.7, "Case25": 10.1, "Case27": 5.8}
"""Mean distance of the landmarks in MR and ultrasound, as published with RESECT."""


@pytest.mark.parametrize("case", GIVEN_MEAN_MM)
def test_resect_landmarks(case):
    path = Path(os.environ.get("MMHVAE_DATA", "")) / "ius" / case / f"{case}-MRI-beforeUS.tag"
    if not os.environ.get("MMHVAE_DATA") or not path.is_file():
        pytest.skip("MMHVAE_DATA is not set or lacks RESECT's landmarks")
    moving, fixed = landmarks.read_tag(path)
    start = landmarks.target_registration_error(sitk.Transform(3, sitk.sitkIdentity), fixed, moving)
    assert start.mean == pytest.approx(GIVEN_MEAN_MM[case], abs=0.06)
    volume = sitk.ReadImage(str(path.with_name("us.nii.gz")))
    indices = np.array([volume.TransformPhysicalPointToContinuousIndex(point.tolist()) for point in fixed])
    assert ((indices >= 0) & (indices <= np.array(volume.GetSize()))).all()


def test_names_that_are_not_in_utf_8_are_refused_in_words(tmp_path):
    """SimpleITK ends the process over them."""
    for name in ("caf\udce9.tfm", "caf\udce9/T.tfm"):
        with pytest.raises(InputError, match=r"caf\\udce9.*rename"):
            transforms.read(tmp_path / name)
        for write in (transforms.check_writable_name, lambda file: transforms.write(sitk.Euler3DTransform(), file)):
            with pytest.raises(OutputError, match=r"caf\\udce9.*rename"):
                write(tmp_path / name)
    with pytest.raises(OutputError, match=r"caf\\udce9.*rename"):
        figures.write_picture(sitk.Image([4, 4], sitk.sitkUInt8), tmp_path / "caf\udce9.png")
    assert not list(tmp_path.iterdir())


def test_a_home_of_nobody_is_a_file_that_is_not_there():
    with pytest.raises(InputError, match="~nobody-here.T.tfm does not exist"):
        transforms.read("~nobody-here/T.tfm")
    for read, name in ((landmarks.read_tag, "p.tag"), (landmarks.read_points, "p.fcsv")):
        with pytest.raises(InputError, match=f"~nobody-here.{name} cannot be read: check the name"):
            read(f"~nobody-here/{name}")
