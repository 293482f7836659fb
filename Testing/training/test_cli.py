import argparse
import dataclasses
import json
import shutil

import pytest
import torch

from MMHVAESynthesisLib.errors import DeviceError, InputError, ModelError, OutputError
from MMHVAESynthesisLib.models import loading
from MMHVAESynthesisLib.training import cases, cli


def arguments(*words):
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_one_command_trains_and_writes_weights_that_load(data, config, tmp_path):
    config.save(tmp_path / "own.json")
    words = ("--data", data, "--state", tmp_path / "state", "--threads", 1)
    result = cli.run(arguments(*words, "--config", tmp_path / "own.json", "--output", tmp_path / "weights.safetensors"))
    assert (result["steps"], result["of"], result["complete"]) == (12, 12, True)
    json.dumps(result)
    assert cli.describe(result).startswith("12 of 12 steps are done")
    assert f"The weights are in {tmp_path / 'weights.safetensors'}." in cli.describe(result)
    model = loading.load(str(tmp_path / "weights.safetensors"))
    assert model.header.digest == result["digest"]
    assert model.header.sizes == config.sizes and model.header.spacing == config.data.spacing
    assert model.header.training["config"] == config.as_dict()
    assert "BraTS2021_01484" not in model.header.training["cases"] and "case1" in model.header.training["cases"]
    # the state's own configuration is taken up again, and a new run can start from the weights
    assert cli.run(arguments(*words))["steps"] == 12
    fresh = ("--data", data, "--state", tmp_path / "fresh", "--config", tmp_path / "own.json", "--minutes", 0.001)
    begun = arguments(*fresh, "--init", tmp_path / "weights.safetensors", "--threads", 1)
    assert [cli.run(begun)["steps"] for _ in range(2)] == [1, 2], "the same command goes on"
    with pytest.raises(InputError, match="did not begin from those weights"):
        cli.run(arguments(*words, "--init", tmp_path / "weights.safetensors"))


def test_weights_of_other_sizes_and_absent_devices_are_refused_in_words(data, config, tmp_path):
    from MMHVAESynthesisLib.models import checkpoint
    from MMHVAESynthesisLib.models.header import ModelHeader
    from MMHVAESynthesisLib.network.model import MMHVAE

    config.save(tmp_path / "own.json")
    other = dataclasses.replace(config.sizes, decoder_blocks=2)
    checkpoint.save(tmp_path / "other.safetensors", ModelHeader("other", other), MMHVAE(other))
    words = ("--data", data, "--state", tmp_path / "state", "--config", tmp_path / "own.json")
    with pytest.raises(ModelError, match="sizes"):
        cli.run(arguments(*words, "--init", tmp_path / "other.safetensors"))
    with pytest.raises(DeviceError):
        cli.run(arguments(*words, "--device", "cuda:99"))
    assert not (tmp_path / "state").exists()


def test_weights_are_written_under_a_models_ending_alone(data, tmp_path):
    with pytest.raises(OutputError, match="m.nii: the name of a model's file must end with .safetensors"):
        cli.run(arguments("--data", data, "--state", tmp_path / "state", "--output", tmp_path / "m.nii"))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def no_work(monkeypatch):
    monkeypatch.setattr(cases, "load_all", lambda *_: pytest.fail("cases were loaded"))


def test_what_cannot_be_written_is_said_before_any_work(data, config, tmp_path, no_work):
    (tmp_path / "file").write_text("mine")
    config.save(tmp_path / "own.json")
    words = ("--data", data, "--config", tmp_path / "own.json")
    with pytest.raises(OutputError, match="file is a file: give --state a folder"):
        cli.run(arguments(*words, "--state", tmp_path / "file"))
    words = (*words, "--state", tmp_path / "new" / "state", "--output")
    with pytest.raises(OutputError, match="Cannot write into"):
        cli.run(arguments(*words, tmp_path / "file" / "m.safetensors"))
    (tmp_path / "m.safetensors").write_text("mine")
    with pytest.raises(OutputError, match="there already: choose another file with --output, or give --overwrite"):
        cli.run(arguments(*words, tmp_path / "m.safetensors"))
    with pytest.raises(OutputError, match="too long for a file's name"):
        cli.run(arguments(*words, tmp_path / f"{'x' * 250}.safetensors"))
    with pytest.raises(OutputError, match="is one of the inputs"):
        cli.run(arguments(*words, tmp_path / "m.safetensors", "--overwrite", "--init", tmp_path / "m.safetensors"))
    assert (tmp_path / "m.safetensors").read_text() == (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--minutes", -1), "minutes must be more than 0, not -1"),
        (("--minutes", 0), "minutes must be more than 0"),
        (("--minutes", "nan"), "minutes must be more than 0"),
        (("--threads", -2), "threads must be 1 or more, not -2"),
    ],
)
def test_settings_that_cannot_be_are_said_before_any_work(data, tmp_path, no_work, more, said):
    with pytest.raises(InputError, match=said):
        cli.run(arguments("--data", data, "--state", tmp_path / "state", *more))
    assert not (tmp_path / "state").exists()


def test_a_run_replaces_the_weights_that_it_has_written_itself_and_no_others(data, config, tmp_path):
    config.save(tmp_path / "own.json")
    output = tmp_path / "new" / "sub" / ("x" * 243 + ".safetensors")
    begin = ("--data", data, "--config", tmp_path / "own.json", "--minutes", 0.001, "--output", output)
    words = (*begin, "--state", tmp_path / "state")
    digests = [cli.run(arguments(*words))["digest"] for _ in range(2)]
    assert digests[0] != digests[1] and loading.load(str(output)).header.digest == digests[1]
    assert cli.run(arguments(*words[:-4], "--output", tmp_path / "b.safetensors", *words[-2:]))["steps"] == 3
    assert cli.run(arguments(*words))["steps"] == 4, "the same command goes on"
    with pytest.raises(OutputError, match="there already"):
        cli.run(arguments(*begin, "--state", tmp_path / "other"))
    assert not (tmp_path / "other").exists()
    assert cli.run(arguments(*begin, "--state", tmp_path / "other", "--overwrite"))["steps"] == 1


def test_a_run_of_an_earlier_version_goes_on_with_the_same_command(data, config, tmp_path):
    config.save(tmp_path / "own.json")
    begin = ("--data", data, "--config", tmp_path / "own.json", "--minutes", 0.001)
    state, output = tmp_path / "state", tmp_path / "m.safetensors"
    words = (*begin, "--state", state, "--output", output)
    cli.run(arguments(*words))
    (state / "exported.json").unlink()
    further = shutil.copy(output, tmp_path / "further.safetensors")
    assert cli.run(arguments(*words))["steps"] == 2
    assert json.loads((state / "exported.json").read_text()) == [loading.load(str(output)).header.digest]
    with pytest.raises(OutputError, match="further.safetensors is there already"):
        cli.run(arguments(*words[:-1], further))


def test_weights_of_another_training_are_not_those_of_a_run_of_an_earlier_version(data, config, tmp_path):
    config.save(tmp_path / "own.json")
    dataclasses.replace(config, seed=config.seed + 1).save(tmp_path / "another.json")
    begin = ("--data", data, "--minutes", 0.001)
    ours = ("--config", tmp_path / "own.json", "--state", tmp_path / "state")
    cli.run(arguments(*begin, *ours, "--output", tmp_path / "ours.safetensors"))
    (tmp_path / "state" / "exported.json").unlink()
    another = ("--config", tmp_path / "another.json", "--state", tmp_path / "another")
    cli.run(arguments(*begin, *another, "--output", tmp_path / "config.safetensors"))
    init = ("--config", tmp_path / "own.json", "--state", tmp_path / "init", "--init", tmp_path / "ours.safetensors")
    cli.run(arguments(*begin, *init, "--output", tmp_path / "origin.safetensors"))
    longer = ("--config", tmp_path / "own.json", "--state", tmp_path / "longer")
    for _ in range(2):
        cli.run(arguments(*begin, *longer, "--overwrite", "--output", tmp_path / "steps.safetensors"))
    (tmp_path / "text.safetensors").write_text("mine")
    for name in ("config", "origin", "steps", "text"):
        with pytest.raises(OutputError, match=f"{name}.safetensors is there already"):
            cli.run(arguments(*begin, *ours, "--output", tmp_path / f"{name}.safetensors"))


def test_a_new_run_takes_no_weights_for_its_own_by_what_they_say(data, config, tmp_path):
    config.save(tmp_path / "own.json")
    begin = ("--data", data, "--config", tmp_path / "own.json", "--minutes", 0.001)
    cli.run(arguments(*begin, "--state", tmp_path / "one", "--output", tmp_path / "one.safetensors"))
    cli.run(arguments(*begin, "--state", tmp_path / "two"))
    with pytest.raises(OutputError, match="one.safetensors is there already"):
        cli.run(arguments(*begin, "--state", tmp_path / "two", "--output", tmp_path / "one.safetensors"))


def test_how_to_go_on_is_said_at_the_end_of_a_session():
    result = {"steps": 5, "of": 10, "complete": False, "hours": 0.5, "state": "here", "output": None}
    assert cli.describe(result).splitlines() == [
        "5 of 10 steps are done, in 0.50 hours of training.",
        "It goes on from here with the same command.",
        "No weights were written: the same command with --output FILE writes them.",
    ]
    assert "complete; its state and curves are in here." in cli.describe({**result, "complete": True})


def test_a_missing_data_folder_is_said_before_any_work(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        cli.run(arguments("--data", tmp_path / "nowhere", "--state", tmp_path / "state"))
    assert not (tmp_path / "state").exists()


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
