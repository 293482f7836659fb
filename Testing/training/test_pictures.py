import numpy as np
import pytest

from MMHVAESynthesisLib.training.pictures import save_grid


def test_a_grid_is_written_with_grey_and_coloured_images(tmp_path):
    image_module = pytest.importorskip("matplotlib.image", reason="matplotlib is not installed")
    grey, colour = np.full((4, 4), 1, np.float32), np.zeros((4, 4, 3))
    colour[..., 0] = 1
    assert save_grid([[grey, colour]], tmp_path / "grid.png")
    read = image_module.imread(tmp_path / "grid.png")
    assert read.shape[:2] == (8, 16) and read[0, 0, :3].tolist() == [1, 1, 1] and read[0, 15, :3].tolist() == [1, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


def test_titles_stand_beside_the_images_and_not_on_them(tmp_path):
    image_module = pytest.importorskip("matplotlib.image", reason="matplotlib is not installed")
    rows = [[np.full((16, 16), value, np.float32) for value in (-0.5, 0.5, 1)] for _ in range(2)]
    assert save_grid(rows, tmp_path / "plain.png")
    assert save_grid(rows, tmp_path / "titled.png", ["synthetic", "truth"], ["input iUS", "T2", "FLAIR"])
    plain, titled = (image_module.imread(tmp_path / f"{name}.png")[..., :3] for name in ("plain", "titled"))
    top, left = (there - here for there, here in zip(titled.shape[:2], plain.shape[:2]))
    np.testing.assert_array_equal(titled[top:, left:], plain)
    assert top > 0 and left > 0 and titled[:top].max() > 0.5
    for row in (0, 1):
        assert titled[top + 32 * row : top + 32 * (row + 1), :left].max() > 0.5
