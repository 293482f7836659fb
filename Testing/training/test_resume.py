import dataclasses
import os
import signal
import threading

import pytest
import torch

from MMHVAESynthesisLib.errors import InputError, ModelError, OutputError
from MMHVAESynthesisLib.models.loading import load as load_model
from MMHVAESynthesisLib.training import loop, state
from MMHVAESynthesisLib.training.curves import Curves
from MMHVAESynthesisLib.training.export import export
from MMHVAESynthesisLib.training.learner import Learner
from MMHVAESynthesisLib.training.stop import StopRequest
from MMHVAESynthesisLib.training.validation import Validation


class After:
    """Asks to stop after some steps."""

    def __init__(self, steps):
        self.left = steps

    def is_set(self):
        self.left -= 1
        return self.left <= 0


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tensors(tree, name=""):
    if isinstance(tree, torch.Tensor):
        return {name: tree}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return {key: value for part, item in items for key, value in tensors(item, f"{name}/{part}").items()}


def test_a_resumed_run_equals_an_undisturbed_one_bit_for_bit(data, config, tmp_path):
    whole, complete = loop.train(data, tmp_path / "whole", config)
    assert complete and whole.step == 12
    for steps in (4, 5, 99):
        parts, complete = loop.train(data, tmp_path / "parts", config, cancel=After(steps))
    assert complete and parts.step == 12
    ours, theirs = (tensors(state.load(tmp_path / name)[0]) for name in ("whole", "parts"))
    assert ours.keys() == theirs.keys() and len(ours) > 100
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any("pools" in name for name in ours) and any("adam/" in name for name in ours)


def test_a_state_with_the_curves_of_a_very_long_run_is_kept(tmp_path):
    rows = [{"step": 20 * row, "seconds": 0.123456789 * row, "loss": 1 / (row + 1)} for row in range(300000)]
    text = Curves(rows).to_text()
    assert len(text) > 17 << 20
    state.save(tmp_path, {"losses": text, "weights": torch.ones(3)})
    assert state.load(tmp_path)[0]["losses"] == text


def test_a_loss_that_is_no_number_ends_the_run_and_spoils_no_state(data, config, tmp_path, monkeypatch):
    loop.train(data, tmp_path, config, cancel=After(4))
    before = {name: (tmp_path / name).read_bytes() for name in ("state.safetensors", "losses.csv")}
    real = Learner.learn
    monkeypatch.setattr(Learner, "learn", lambda *words: {**real(*words), "loss": float("nan")})
    monkeypatch.setattr(loop, "_SAVE_SECONDS", 0.0)
    with pytest.raises(ModelError, match="diverged by step 5"):
        loop.train(data, tmp_path, config)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    monkeypatch.undo()
    assert loop.train(data, tmp_path, config)[1]


@pytest.mark.parametrize("what", ["network", "discriminators"])
def test_weights_that_are_no_numbers_are_not_saved_though_the_loss_is_one(data, config, tmp_path, monkeypatch, what):
    loop.train(data, tmp_path, config, cancel=After(4))
    before = (tmp_path / "state.safetensors").read_bytes()
    real = Learner.learn

    def spoilt(learner, *words):
        terms = real(learner, *words)
        next(getattr(learner, what).parameters()).data.fill_(float("nan"))
        return terms

    monkeypatch.setattr(Learner, "learn", spoilt)
    with pytest.raises(ModelError, match="diverged by step 5"):
        loop.train(data, tmp_path, config, cancel=After(1))
    assert (tmp_path / "state.safetensors").read_bytes() == before


def test_curves_that_a_program_holds_open_do_not_end_the_run(data, config, tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise PermissionError(13, "in use", "losses.csv")

    monkeypatch.setattr(Curves, "write", refuse)
    _, complete = loop.train(data, tmp_path, config)
    assert complete and (tmp_path / "state.safetensors").is_file()
    assert "could not be written this time" in caplog.text and "in use" in caplog.text


def test_cases_that_never_come_up_are_not_noted_as_seen(data, config, tmp_path):
    sizes = dataclasses.replace(config.sizes, modalities=("us", "t2"))
    run, _ = loop.train(data, tmp_path, dataclasses.replace(config, sizes=sizes), cancel=After(1))
    assert run.names == ["Case5", "case1", "case2", "case3"], "case4 has FLAIR alone"


def test_the_folder_holds_configuration_curves_and_two_generations(data, config, tmp_path):
    validated = dataclasses.replace(config, validate_every=6)
    loop.train(data, tmp_path, validated, cancel=After(6))
    loop.train(data, tmp_path, validated, cancel=After(2))
    names = {path.name for path in tmp_path.iterdir()}
    assert {"config.json", "state.safetensors", "state-previous.safetensors", "losses.csv", "validation.csv"} <= names
    assert not any("part" in name or "next" in name for name in names)
    header, row = (tmp_path / "validation.csv").read_text(encoding="utf-8").splitlines()
    assert {"us>t2", "t2>flair", "all>cet1"} <= set(header.split(",")) and row.startswith("6,")


def test_a_damaged_state_falls_back_to_the_generation_before(data, config, tmp_path):
    for _ in range(2):
        loop.train(data, tmp_path, config, cancel=After(2))
    newest = tmp_path / state.CURRENT
    newest.write_bytes(newest.read_bytes()[:-100])
    assert state.load(tmp_path)[0]["step"] == 2
    (tmp_path / state.PREVIOUS).write_bytes(b"")
    with pytest.raises(OutputError, match="begin anew"):
        state.load(tmp_path)


def test_another_configuration_is_not_resumed(data, config, tmp_path):
    loop.train(data, tmp_path, config, cancel=After(1))
    with pytest.raises(InputError, match="another configuration"):
        loop.train(data, tmp_path, dataclasses.replace(config, seed=5), cancel=After(1))


def test_a_run_may_start_from_weights(data, config, tmp_path):
    first, _ = loop.train(data, tmp_path / "first", config, cancel=After(3))
    weights = first.learner.shipped.state_dict()
    second = dataclasses.replace(config, learning_rate=1e-9, final_learning_rate=1e-9)
    run, _ = loop.train(
        data,
        tmp_path / "second",
        second,
        init=loop.Start(weights, "first", "abc", ("case1", "another")),
        cancel=After(1),
    )
    for name, tensor in run.learner.network.state_dict().items():
        assert torch.allclose(tensor, weights[name], atol=1e-6)
    assert run.origin == {"name": "first", "digest": "abc"} and "another" in run.names
    again, _ = loop.train(data, tmp_path / "second", second, cancel=After(1))
    assert again.origin == run.origin and again.names == run.names


def test_other_weights_to_begin_from_than_those_of_a_state_are_refused(data, config, tmp_path):
    one, other = (loop.Start(Learner(config, torch.device("cpu")).network.state_dict(), n, n * 8) for n in "ab")
    loop.train(data, tmp_path / "from-one", config, one, cancel=After(1))
    again, _ = loop.train(data, tmp_path / "from-one", config, one, cancel=After(1))
    assert again.step == 2
    loop.train(data, tmp_path / "from-none", config, cancel=After(1))
    for folder, init in (("from-one", other), ("from-none", one)):
        with pytest.raises(InputError, match="did not begin from those weights .*another --state, or leave --init out"):
            loop.train(data, tmp_path / folder, config, init, cancel=After(1))
    assert loop.train(data, tmp_path / "from-one", config, cancel=After(1))[0].step == 3


def test_a_state_that_says_nothing_of_its_origin_is_gone_on_with(data, config, tmp_path):
    loop.train(data, tmp_path, config, cancel=After(1))
    saved, _ = state.load(tmp_path)
    del saved["origin"]
    state.save(tmp_path, saved)
    assert loop.train(data, tmp_path, config, loop.Start({}, "x", "y"), cancel=After(1))[0].step == 2


def test_the_averaged_weights_are_validated_and_exported(data, config, tmp_path, monkeypatch):
    judged = []
    monkeypatch.setattr(Validation, "psnr", lambda _self, network: judged.append(network) or {"us>t2": 1.0})
    monkeypatch.setattr(Validation, "picture", lambda _self, network, _path: judged.append(network))
    run, _ = loop.train(data, tmp_path / "state", dataclasses.replace(config, validate_every=2), cancel=After(4))
    average, trained = run.learner.average.network, run.learner.network
    assert len(judged) == 4 and all(network is average for network in judged)
    export(run, tmp_path / "weights.safetensors")
    written = load_model(str(tmp_path / "weights.safetensors")).network.state_dict()
    assert all(torch.equal(written[name], value.half().float()) for name, value in average.state_dict().items())
    assert not all(torch.equal(written[name], value.half().float()) for name, value in trained.state_dict().items())


def test_nothing_to_validate_on_is_said(data, config, tmp_path, caplog):
    config = dataclasses.replace(config, validate_every=2, data=dataclasses.replace(config.data, held_out=()))
    loop.train(data, tmp_path, config, cancel=After(1))
    assert "nothing is validated" in caplog.text


def test_weights_that_saw_a_held_out_case_are_refused(data, config, tmp_path):
    with pytest.raises(InputError, match="BraTS2021_01484 was trained on already"):
        loop.train(data, tmp_path / "state", config, init=loop.Start({}, "x", "y", ("BraTS2021_01484",)))


def test_a_run_is_not_gone_on_with_where_its_epochs_have_another_length(data, config, tmp_path, monkeypatch):
    loop.train(data, tmp_path, config, cancel=After(1))
    monkeypatch.setattr(loop.distributed, "world", lambda: 2)
    with pytest.raises(InputError, match="as many processes"):
        loop.train(data, tmp_path, config, cancel=After(1))


def test_the_published_protocol_runs_on_paired_cases(paired, tmp_path):
    folder, config = paired
    run, complete = loop.train(folder, tmp_path / "state", dataclasses.replace(config, epochs=3, subsets="all"))
    assert complete and run.step == 3 * 4  # every case once an epoch
    assert len(state.load(tmp_path / "state")[0]["learner"]["pools"][0]) == 4


def test_the_time_limit_ends_a_run_with_its_state_saved(data, config, tmp_path):
    run, complete = loop.train(data, tmp_path, config, minutes=0.01)
    assert not complete and state.load(tmp_path)[0]["step"] == run.step == 1


def test_signals_ask_for_a_stop_and_the_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    stop = StopRequest()
    with stop.signals():
        assert not stop.is_set()
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_thread_of_another_program_may_train(data, config, tmp_path):
    done = []
    thread = threading.Thread(target=lambda: done.append(loop.train(data, tmp_path, config, cancel=After(1))))
    thread.start()
    thread.join()
    assert done[0][0].step == 1


def test_nothing_half_written_takes_the_place_of_a_state(tmp_path, monkeypatch):
    state.save(tmp_path, {"step": 1, "weights": torch.ones(3)})

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError):
        state.save(tmp_path, {"step": 2, "weights": torch.ones(3)})
    monkeypatch.undo()
    assert state.load(tmp_path)[0]["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == [state.CURRENT]


def test_blocks_without_a_case_that_has_ultrasound_and_mr_are_told(data, config, tmp_path, caplog):
    """The folders that the demonstrator learns from have none: its ultrasound is simulated."""
    blocks = dataclasses.replace(config, data=dataclasses.replace(config.data, sampling="blocks", slices=2))
    loop.train(data, tmp_path / "state", blocks, cancel=After(1))
    assert "No case has both ultrasound and MR" in caplog.text
    caplog.clear()
    loop.train(data, tmp_path / "crops", config, cancel=After(1))
    assert "No case has both" not in caplog.text
