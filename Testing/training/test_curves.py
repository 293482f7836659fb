import pytest

from MMHVAESynthesisLib.training.curves import Curves, Means, draw


def test_rows_with_different_names_make_one_table(tmp_path):
    curves = Curves()
    curves.add({"step": 20, "l1": 0.25})
    curves.add({"step": 40, "l1": 0.125, "gan": 1.5})
    curves.write(tmp_path / "curves.csv")
    assert (tmp_path / "curves.csv").read_text(encoding="utf-8").splitlines() == [
        "step,l1,gan",
        "20,0.25,",
        "40,0.125,1.5",
    ]
    assert Curves.from_text(curves.to_text()).rows == curves.rows


def test_means_are_over_the_steps_that_had_the_term():
    means = Means()
    means.add({"l1": 1.0})
    means.add({"l1": 3.0, "gan": 5.0})
    assert means.take() == {"l1": 2.0, "gan": 5.0}
    assert means.take() == {}


def test_means_go_on_from_their_text():
    means = Means()
    means.add({"l1": 1.0})
    again = Means.from_text(means.to_text())
    again.add({"l1": 2.0})
    assert again.take() == {"l1": 1.5}


def test_means_of_several_processes_are_over_all_their_steps():
    one, other = Means(), Means()
    one.add({"l1": 1.0})
    for value in (2.0, 6.0):
        other.add({"l1": value, "gan": value})
    assert Means.together([one.to_text(), other.to_text()]).take() == {"l1": 3.0, "gan": 4.0}


def test_the_picture_of_the_curves_is_drawn_once_there_are_rows(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    draw(Curves(), Curves(), tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
    losses = Curves([{"step": 20, "l1": 0.3, "gan": 0.0}, {"step": 40, "l1": 0.2, "gan": 0.0}])
    draw(losses, Curves([{"step": 40, "us>t2": 21.0}]), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
