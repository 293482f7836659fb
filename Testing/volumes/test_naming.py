import pytest

from MMHVAESynthesisLib.volumes.naming import voxel_files


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("ElementDataFile = a b.raw\n", ["a b.raw"]),
        ("NDims = 3\r\nElementDataFile = a1.raw\r\n", ["a1.raw"]),
        ("ElementDataFile = LOCAL\na1.raw\n", []),
        ("ElementDataFile = LIST\na1.raw\na2.raw\nabsent.raw\n", ["a1.raw", "a2.raw"]),
        ("ElementDataFile = a%d.raw 1 3 1\n", ["a1.raw", "a2.raw", "a3.raw"]),
        ("NRRD0004\n# about\ndata file: ./a1.raw\n", ["a1.raw"]),
        ("NRRD0004\ndatafile: a%d.raw 3 1 -2\n", ["a3.raw", "a1.raw"]),
        ("NRRD0004\ndata file: LIST 2\na1.raw\na3.raw\n", ["a1.raw", "a3.raw"]),
        ("NRRD0004\ndata file: a%s%s.raw 1 2 1\n", []),
        ("NRRD0004\nsizes: 2 2 2\n\ndata file: a1.raw\n", []),
        ("", []),
    ],
)
def test_files_of_the_voxels_are_found_by_their_header(tmp_path, header, named):
    for name in ("a b.raw", "a1.raw", "a2.raw", "a3.raw"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "case.mhd").write_bytes(header.encode())
    (tmp_path / "case.nii").write_bytes(header.encode())
    assert voxel_files(tmp_path / "case.mhd") == [tmp_path / name for name in named]
    assert voxel_files(tmp_path / "case.nii") == []


def test_the_other_file_of_a_pair_is_found_whichever_is_named(tmp_path):
    for name in ("case.hdr", "case.img", "other.hdr", "lone.img"):
        (tmp_path / name).write_bytes(b"")
    assert voxel_files(tmp_path / "case.hdr") == [tmp_path / "case.img"]
    assert voxel_files(tmp_path / "case.img") == [tmp_path / "case.hdr"]
    assert voxel_files(tmp_path / "other.hdr") == voxel_files(tmp_path / "lone.img") == []
