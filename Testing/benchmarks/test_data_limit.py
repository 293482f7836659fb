import re
import shutil
import sys

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("skimage", reason="scikit-image is not installed")

import torch  # noqa: E402

from evaluation.test_evaluate import SIZES, made, write_heads  # noqa: E402

_before = list(sys.path)
from benchmarks import data_limit  # noqa: E402

# A benchmark puts its own folder first, with a registration.py in it; the tests have a room of that name.
sys.path[:] = _before


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("limit")
    write_heads(root, np.random.default_rng(0))
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(made(tmp_path_factory.mktemp("model"), SIZES))


ROW = r"\| [^|]+ \| (held out|trained on)( \| -?[\d.]+/-?[\d.]+){3} \|"


@pytest.mark.parametrize("task", ["mr", "ius"])
def test_model_baselines_and_u_net_stand_in_one_table(data, model, capsys, task):
    words = ["--steps", 40, "--every", 39, "--planes", 3, "--slices", 2, "--width", 4]
    data_limit.main([str(word) for word in ["--data", data, "--model", model, "--task", task, *words]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 cases to train on, 1 held out")
    table = [line for line in lines if re.fullmatch(ROW, line)]
    assert len(table) == 10, lines
    assert [line.split(" | ")[0][2:] for line in table[-6::2]] == ["tiny", "U-Net, 39 steps", "U-Net, 40 steps"]


def test_the_u_net_keeps_to_the_field():
    torch.manual_seed(0)
    network = data_limit.UNet(("us",), 4)
    image = torch.rand(2, 1, 32, 32) * 2 - 1
    image[:, :, :, :8] = -1
    out = network(image, "us")
    assert set(out) == {"t2", "cet1", "flair"}
    assert all((each[:, :, :, :8] == -1).all() and each[:, :, :, 8:].max() > -1 for each in out.values())


def test_without_cases_on_both_sides_it_says_what_is_missing(data, model, tmp_path):
    shutil.copytree(data / "mri" / "trained", tmp_path / "mri" / "trained")
    with pytest.raises(SystemExit, match="to train on and among those held out"):
        data_limit.main(["--data", str(tmp_path), "--model", model])
