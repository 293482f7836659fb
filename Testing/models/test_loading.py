import dataclasses
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from MMHVAESynthesisLib.errors import ModelError  # noqa: E402
from MMHVAESynthesisLib.models import catalogue, loading  # noqa: E402
from MMHVAESynthesisLib.models.checkpoint import save  # noqa: E402
from MMHVAESynthesisLib.models.header import ModelHeader  # noqa: E402


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(catalogue.MODELS_DIR_VARIABLE, str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def file(tiny, tiny_sizes, tmp_path):
    save(tmp_path / "m.safetensors", ModelHeader("m", tiny_sizes), tiny)
    return tmp_path / "m.safetensors"


def test_a_model_that_is_not_here_says_where_to_get_it(folder):
    with pytest.raises(ModelError) as caught:
        loading.load("mmhvae-fold0")
    assert str(caught.value).startswith(
        "The model 'mmhvae-fold0' is not on this machine yet: get it with 'models download mmhvae-fold0' (panel: "
        "Download this model). Without a network, fetch 'CP_main_1000.pth' elsewhere from https://github.com/"
    )
    assert str(caught.value).endswith(f" and put it into the folder '{folder}'.")


def test_a_file_in_the_users_folder_loads_by_its_name(folder, file):
    file.rename(folder / file.name)
    assert loading.load("m.safetensors").header.name == "m"


def test_a_changed_copy_of_a_published_model_is_not_taken_for_it(folder, tiny, released_state):
    torch.save(released_state(tiny), folder / "CP_main_1000.pth")
    with pytest.raises(ModelError, match="is not the model 'mmhvae-fold0': its git blob id differs"):
        loading.load("mmhvae-fold0")
    assert loading.load(str(folder / "CP_main_1000.pth")).header.name == "CP_main_1000"


def test_a_published_model_carries_the_catalogues_licence(folder, tiny, released_state, monkeypatch):
    path = folder / "CP_main_1000.pth"
    torch.save(released_state(tiny), path)
    entry = next(model for model in catalogue.list_models() if model.name == "mmhvae-fold0")
    matching = dataclasses.replace(entry, git_blob_id=catalogue.git_blob_id(path))
    monkeypatch.setattr(catalogue, "find", lambda model: matching)
    header = loading.load("mmhvae-fold0").header
    assert (header.name, header.licence) == ("mmhvae-fold0", "MIT")


def test_a_licence_that_restricts_the_use_is_logged_once_in_a_process(folder, tiny, tiny_sizes, caplog, monkeypatch):
    monkeypatch.setattr(loading, "_told", set())
    caplog.set_level("INFO", "MMHVAESynthesisLib")
    for name, licence in (("theirs", "CC BY-NC 4.0"), ("free", "MIT"), ("mine", "")):
        save(folder / f"{name}.safetensors", ModelHeader(name, tiny_sizes, licence=licence), tiny)
    for _ in range(2):
        for name in ("theirs", "free", "mine"):
            loading.load(f"{name}.safetensors")
    assert [record.getMessage() for record in caplog.records] == [
        "The model 'theirs.safetensors' has a licence that restricts its use: CC BY-NC 4.0."
    ]


def test_each_caller_has_a_network_of_its_own(file):
    one, other = loading.load(str(file)), loading.load(str(file))
    one.network.coarsest.down.bias.fill_(7)
    one.network.double()
    for network in (other.network, loading.load(str(file)).network):
        assert network.coarsest.down.bias.dtype == torch.float32
        assert not torch.equal(network.coarsest.down.bias, torch.full_like(network.coarsest.down.bias, 7))


def test_a_file_is_read_once_until_it_changes(file, tiny, tiny_sizes, monkeypatch):
    count = []
    real = loading.read
    monkeypatch.setattr(loading, "read", lambda *arguments: count.append(1) or real(*arguments))
    monkeypatch.setattr(loading, "_cache", loading._Cache())
    threads = [threading.Thread(target=loading.load, args=(str(file),)) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(count) == 1
    tiny.coarsest.down.bias.add_(1)
    save(file, ModelHeader("longer name", tiny_sizes), tiny)
    model = loading.load(str(file))
    assert model.header.name == "longer name" and torch.equal(model.network.coarsest.down.bias, tiny.coarsest.down.bias)
    assert len(count) == 2


def test_a_model_that_is_not_kept_is_the_same_and_read_anew(file, monkeypatch):
    kept = loading.load(str(file)).network
    monkeypatch.setattr(loading, "_cache", loading._Cache())
    alone = loading.load(str(file), keep=False).network
    assert not loading._cache._kept
    assert all(torch.equal(*pair) for pair in zip(kept.state_dict().values(), alone.state_dict().values()))
    file.unlink()
    with pytest.raises(ModelError, match="m.safetensors"):
        loading.load(str(file), keep=False)


def test_loading_imports_no_symbolic_mathematics(file):
    """It takes as long as all of torch, and torch imports it for operations of its compiler."""
    code = (
        "import sys, torch; before = 'sympy' in sys.modules; "  # as in old ones, which bring it by themselves
        f"from {loading.__name__} import load; load({str(file)!r}); assert before == ('sympy' in sys.modules)"
    )
    folder = Path(loading.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(folder)})


def test_loading_leaves_the_callers_random_numbers_alone(file):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    loading.load(str(file))
    assert torch.equal(torch.rand(3), expected)


def test_our_own_file_needs_no_modalities(file):
    assert loading.load(str(file), ["us", "t2"]).header.name == "m"
    with pytest.raises(ModelError, match="states its modalities itself"):
        loading.load(str(file), ["t2", "us"])


def test_modalities_that_no_network_can_have_are_refused(make_network, released_state, tmp_path):
    from MMHVAESynthesisLib.network.sizes import NetworkSizes

    state = released_state(make_network(NetworkSizes(("us",), 4, 8, 1, 4, 1, 2)))
    torch.save({name.replace(".us.", ".keys."): tensor for name, tensor in state.items()}, tmp_path / "odd.pth")
    with pytest.raises(ModelError, match="cannot be built"):
        loading.load(str(tmp_path / "odd.pth"))


def test_a_model_whose_modalities_are_called_otherwise_can_be_asked_in_the_usual_words(
    make_network, tiny_sizes, tmp_path
):
    network = make_network(dataclasses.replace(tiny_sizes, modalities=("us", "t1ce", "PET")))
    path = tmp_path / "theirs.safetensors"
    save(path, ModelHeader("theirs", network.sizes), network)
    found = loading.load(str(path))
    assert found.header.sizes.modalities == found.network.sizes.modalities == ("us", "cet1", "PET")
    images = {"cet1": torch.rand(1, 1, network.sizes.size, network.sizes.size)}
    noise = found.network.noise(1)
    expected = network.eval()({"t1ce": images["cet1"]}, noise, 0.0).images
    for theirs, ours in (("us", "us"), ("t1ce", "cet1"), ("PET", "PET")):
        torch.testing.assert_close(found.network(images, noise, 0.0).images[ours], expected[theirs])
