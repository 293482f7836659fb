import json
import os

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.__main__ import main
from MMHVAESynthesisLib.volumes.files import read, write


def head(folder):
    k, j, i = np.indices((40, 60, 60), dtype=np.float32) * 2
    inside = ((k - 40) / 36) ** 2 + ((j - 60) / 55) ** 2 + ((i - 60) / 55) ** 2 < 1
    image = sitk.GetImageFromArray(np.where(inside, 300 + 100 * np.sin(i / 5) * np.cos(j / 7), 0).astype(np.int16))
    image.SetSpacing((2, 2, 2))
    return write(image, folder / "t2.nii.gz")


def test_a_sweep_of_files(tmp_path, capsys):
    arguments = ["simulate", "--t2", str(head(tmp_path)), "--output-dir", str(tmp_path / "out"), "--spacing", "1"]
    assert main([*arguments, "--seed", "3", "--json"]) == 0
    outputs = json.loads(capsys.readouterr().out)["result"]["outputs"]
    us, field = (sitk.GetArrayFromImage(read(outputs[name])) for name in ("us", "field"))
    np.testing.assert_array_equal(us > 0, field > 0)
    assert us.std() > 1
    assert main(arguments) == 6 and main([*arguments, "--overwrite"]) == 0


@pytest.mark.parametrize(
    "more",
    [[], ["--phantom", "--t2", "t2.nii.gz"], ["--t2", "absent.nii.gz"], ["--phantom", "--seed", "-1"]],
)
def test_nothing_or_too_much_to_simulate_from(tmp_path, more, capsys):
    assert main(["simulate", "--output-dir", str(tmp_path / "out"), *more]) == 3
    assert not os.path.exists(tmp_path / "out")
