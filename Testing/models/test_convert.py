import dataclasses
import json

import pytest

torch = pytest.importorskip("torch")

from MMHVAESynthesisLib.__main__ import main  # noqa: E402
from MMHVAESynthesisLib.models import catalogue, loading  # noqa: E402


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(catalogue.MODELS_DIR_VARIABLE, str(tmp_path / "own" / "models"))
    return tmp_path / "own" / "models"


@pytest.fixture
def former(tiny, forerunner_state, tmp_path):
    """A checkpoint of 2023 that lost the order of its modalities."""
    path = tmp_path / "ä former.pth"
    torch.save(dict(sorted(forerunner_state(tiny).items())), path)
    return path


@pytest.fixture
def said(caplog):
    """Return what was logged since the last time."""

    def since():
        text = caplog.text
        caplog.clear()
        return text

    return since


def equal(network, other):
    state = other.state_dict()
    return all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_what_the_user_says_of_a_checkpoint_is_written_down_for_everything_else(former, tiny, folder, capsys, said):
    assert main(["models", "convert", str(former), "--modalities", "iUS,T2", "--spacing", "0.8"]) == 0
    assert "us, t2; pixels of 0.8 mm" in capsys.readouterr().out
    model = loading.load("ä former.safetensors")
    assert model.header.sizes == tiny.sizes and model.header.spacing == 0.8 and equal(model.network, tiny)
    assert [entry.name for entry in catalogue.list_models() if not entry.in_catalogue] == ["ä former.safetensors"]
    assert main(["models", "convert", str(former), "--modalities", "us,t2"]) == 6
    assert "give --overwrite" in said()
    assert main(["models", "convert", str(former), "--modalities", "t2 us", "--overwrite"]) == 0
    assert loading.load("ä former.safetensors").header.sizes.modalities == ("t2", "us")


def test_it_is_written_where_the_user_says(former, tiny, tmp_path, folder, capsys, said):
    target = tmp_path / "new" / "m.safetensors"
    arguments = ["models", "convert", str(former), "--modalities", "us,t2", "--output"]
    assert main([*arguments, str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["path"] == str(target)
    assert equal(loading.load(str(target)).network, tiny) and not folder.exists()
    assert main([*arguments, str(tmp_path / "m.pth")]) == 3
    assert "give --output a name with that ending" in said()
    assert main(["models", "convert", str(target)]) == 3 and "nothing to convert" in said()


def test_the_message_about_the_order_names_the_command_that_helps(former, said):
    import shlex

    assert main(["models", "convert", str(former)]) == 4
    text = said()
    assert "alphabetical order" in text
    assert main(shlex.split(text[text.index("models convert") :])) == 0
    assert main(["models", "convert", str(former), "--modalities", "us,flair", "--overwrite"]) == 4
    assert main(["models", "convert", "mmhvae-fold0"]) == 4 and "not on this machine yet" in said()


@pytest.mark.parametrize("names", [("t2", "t1ce"), ("US", "T2")])
def test_the_way_out_of_the_message_serves_whatever_the_file_calls_its_modalities(
    make_network, tiny_sizes, forerunner_state, tmp_path, said, names
):
    import shlex

    network = make_network(dataclasses.replace(tiny_sizes, modalities=names))
    path = tmp_path / "former.pth"
    torch.save(dict(sorted(forerunner_state(network).items())), path)
    assert main(["models", "convert", str(path)]) == 4
    text = said()
    assert main(shlex.split(text[text.index("models convert") :])) == 0
    written = loading.load("former.safetensors")
    assert written.header.sizes.modalities == tuple({"t1ce": "cet1"}.get(name, name.lower()) for name in names)
    for ours, theirs in zip(written.header.sizes.modalities, names):
        assert torch.equal(written.network.decoders[ours].image.weight, network.decoders[theirs].image.weight)
