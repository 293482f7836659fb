import argparse
import dataclasses
import json
import sys
import threading

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MMHVAESynthesisLib.errors import Cancelled, DependencyError, InputError, OutputError
from MMHVAESynthesisLib.evaluation import cli, samples
from MMHVAESynthesisLib.evaluation import evaluate as evaluating
from MMHVAESynthesisLib.models import checkpoint
from MMHVAESynthesisLib.models.header import ModelHeader
from MMHVAESynthesisLib.models.loading import load as load_model
from MMHVAESynthesisLib.network.model import MMHVAE
from MMHVAESynthesisLib.network.sizes import NetworkSizes
from MMHVAESynthesisLib.progress import Reporter
from MMHVAESynthesisLib.training import cases, running
from MMHVAESynthesisLib.training.config import DataConfig, TrainingConfig

pytest.importorskip("skimage", reason="scikit-image is not installed")

SIZES = NetworkSizes(size=32, base_features=8, max_features=8, halvings=2, decoder_blocks=0, decoder_features=4)


def head(rng, white):
    """A ball of 80 mm with a bright shell and a dark middle."""
    grid = np.stack(np.meshgrid(*[np.arange(84) - 42] * 3, indexing="ij"))
    radius = np.sqrt((grid**2).sum(0))
    volume = np.select([radius < 12, radius < 34], [0.4 * white, white], 1.5 * white) + rng.normal(
        0, 0.05 * white, radius.shape
    )
    return np.where(radius < 40, volume, 0).astype(np.int16)


def write(folder, name, array):
    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / f"{name}.nii.gz"))


def write_heads(root, rng):
    """Write two cases with all MR: one to train on, and one that the model of :func:`made` has held out."""
    for case in ("trained", "kept"):
        for name, white in (("t2", 80.0), ("cet1", 500.0), ("flair", 120.0)):
            write(root / "mri" / case, name, head(rng, white))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluation")
    rng = np.random.default_rng(0)
    write_heads(root, rng)
    write(root / "ius" / "real", "us", rng.integers(1, 255, (20, 40, 40)).astype(np.uint8))
    return root


def made(folder, sizes):
    torch.manual_seed(0)
    settings = DataConfig(("mri", "ius"), held_out=("kept", "real"), sampling="crops", spacing=1.0)
    config = TrainingConfig(sizes=sizes, data=settings)
    header = ModelHeader("tiny", sizes, spacing=1.0, training={"config": config.as_dict()})
    path = folder / "tiny.safetensors"
    checkpoint.save(path, header, MMHVAE(sizes))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return made(tmp_path_factory.mktemp("model"), SIZES)


def run(*words):
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args([str(word) for word in words]))


def _check_titles(folder):
    """Each picture has a margin of titles beside and above its images."""
    image_module = pytest.importorskip("matplotlib.image", reason="matplotlib is not installed")
    images = {"sweep-0-kept": (6, 5), "temperature-real": (3, 5), "real-ius-real": (3, 5)}
    for name, (rows, columns) in images.items():
        height, width = image_module.imread(folder / f"{name}.png").shape[:2]
        assert height > 64 * rows and width > 64 * columns, name


def test_one_command_writes_tables_pictures_and_verdicts(data, model, tmp_path):
    figures = run("--data", data, "--model", model, "--output-dir", tmp_path, "--planes", 3)
    assert figures["cases"] == {"sweeps": ["kept", "kept"], "heads": ["kept"], "real iUS": ["real"]}
    written = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert {**written, "folder": str(tmp_path)} == figures
    said = cli.describe(figures).splitlines()
    assert len(said) == 8 and said[0].endswith(": T2 not met, ceT1 not met, FLAIR not met")
    assert all(line.endswith((": met", ": not met")) for line in said[5:7])
    assert said[7].endswith(f"all verdicts: {tmp_path}")
    goals = list(figures["verdicts"].values())
    assert len(goals) == 7
    assert all(set(group) == {"t2", "cet1", "flair"} for group in goals[:4])
    # an untrained network meets none of the goals that ask for quality, and the verdicts see it
    assert not any(goal["met"] for group in goals[:4] for goal in group.values())
    # a smooth contrast of the same tissues is a polynomial of another; on its own volume it fits no worse
    trained, itself = (goals[index]["flair"]["baseline"]["psnr"] for index in (0, 1))
    assert trained > 15 and itself > trained - 0.3
    # nor does a profile of depth of the other case, beside the sweep's own
    trained, itself = (goals[index]["flair"]["baseline"]["psnr"] for index in (2, 3))
    assert trained > 10 and itself > trained - 0.3
    assert len((tmp_path / "table-sweeps.csv").read_text(encoding="utf-8").splitlines()) == 1 + 15 * 4
    assert len((tmp_path / "table-heads.csv").read_text(encoding="utf-8").splitlines()) == 1 + 7 * 3
    assert figures["simulated_us"] == {"sweeps": 2, "of": 2, "which": ["0 kept", "1 kept"]}
    assert "The iUS of 2 of 2 sweeps is simulated (0 kept, 1 kept)." in (tmp_path / "table-sweeps.md").read_text(
        "utf-8"
    )
    assert "sweeps is simulated" not in (tmp_path / "table-heads.md").read_text("utf-8")
    assert "LPIPS" in (tmp_path / "table-sweeps.md").read_text(encoding="utf-8") or figures["lpips"] == "computed"
    assert not list(tmp_path.glob("*part*"))
    _check_titles(tmp_path)


def test_what_cannot_be_done_is_refused_before_a_case_is_loaded(data, model, tmp_path, monkeypatch):
    monkeypatch.setattr(cases, "load_all", lambda *_: pytest.fail("cases were loaded"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write into"):
        run("--data", data, "--model", model, "--output-dir", tmp_path / "file" / "out")
    for wrong in (0, -1):
        with pytest.raises(InputError, match=f"planes must be 1 or more, not {wrong}"):
            run("--data", data, "--model", model, "--output-dir", tmp_path / "out", "--planes", wrong)
    assert not (tmp_path / "out").exists()


def test_an_evaluation_stops_within_a_sample(data, model, tmp_path, monkeypatch):
    cancel, runs = threading.Event(), []

    def ask_to_stop_after(*given, **more):
        runs.append(given)
        cancel.set()
        return running.run(*given, **more)

    monkeypatch.setattr(evaluating, "run", ask_to_stop_after)
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    words = ["--data", str(data), "--model", str(model), "--output-dir", str(tmp_path / "out"), "--planes", "1"]
    with pytest.raises(Cancelled):
        cli.run(parser.parse_args(words), cancel=cancel)
    assert len(runs) == 1 and not (tmp_path / "out").exists()


def test_former_results_stay_unless_told_otherwise_and_then_go_altogether(data, model, tmp_path, monkeypatch):
    out = tmp_path / "out"
    words = ("--data", data, "--model", model, "--output-dir", out, "--planes", 1, "--held-out")
    run(*words, "kept", "real")
    (out / "sweep-0-mine.png").write_text("mine")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert "figures.json" in before and "table-heads.md" in before
    with monkeypatch.context() as patch:
        patch.setattr(cases, "load_all", lambda *_: pytest.fail("cases were loaded"))
        with pytest.raises(OutputError, match="figures.json is there already, and .* more of the results.*--overwrite"):
            run(*words, "trained")
    with monkeypatch.context() as patch:
        patch.setattr(evaluating.Evaluation, "draw", lambda _self: pytest.fail("stopped half-way"))
        with pytest.raises(pytest.fail.Exception, match="half-way"):
            run(*words, "trained", "--overwrite")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before, "all or nothing"
    assert run(*words, "trained", "--overwrite")["cases"]["sweeps"] == ["trained", "trained"]
    names = {path.name for path in out.iterdir()}
    assert not any("kept" in name or "real" in name for name in names)
    assert {"figures.json", "table-sweeps.csv", "sweep-0-mine.png"} <= names and not list(out.glob(".mmhvae*"))
    if "sweep-0-kept.png" in before:
        assert {"sweep-0-trained.png", "latents-1-trained.png"} <= names


def test_a_table_alone_is_a_former_result(data, model, tmp_path):
    (tmp_path / "table-heads.csv").write_text("mine")
    with pytest.raises(OutputError, match="table-heads.csv is there already"):
        run("--data", data, "--model", model, "--output-dir", tmp_path)
    assert (tmp_path / "table-heads.csv").read_text() == "mine"


def test_a_picture_of_the_users_is_in_the_way_before_anything_is_measured(data, model, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluating.Evaluation, "table", lambda *_: pytest.fail("the work has begun"))
    (tmp_path / "sweep-0-kept.png").write_text("mine")
    with pytest.raises(OutputError, match="sweep-0-kept.png is there already"):
        run("--data", data, "--model", model, "--output-dir", tmp_path, "--planes", 1, "--held-out", "kept")
    assert [path.name for path in tmp_path.iterdir() if path.name != "tiny.safetensors"] == ["sweep-0-kept.png"]
    assert (tmp_path / "sweep-0-kept.png").read_text() == "mine"


def test_a_model_of_mr_alone_is_evaluated_though_some_cases_are_ultrasound_alone(data, tmp_path):
    model = made(tmp_path, dataclasses.replace(SIZES, modalities=("t2", "flair")))
    figures = run("--data", data, "--model", model, "--output-dir", tmp_path, "--planes", 1)
    assert figures["cases"] == {"sweeps": [], "heads": ["kept"], "real iUS": []}


def test_a_model_that_saw_a_case_is_not_judged_on_it(data, tmp_path):
    path = tmp_path / "seen.safetensors"
    training = {"cases": ["trained", "other"], "held_out": ["kept"]}
    checkpoint.save(path, ModelHeader("seen", SIZES, spacing=1.0, training=training), MMHVAE(SIZES))
    with pytest.raises(InputError, match="trained on trained"):
        run("--data", data, "--model", path, "--output-dir", tmp_path / "out", "--held-out", "trained")
    assert not (tmp_path / "out").exists()
    figures = run("--data", data, "--model", path, "--output-dir", tmp_path / "out", "--planes", 1)
    assert figures["cases"]["heads"] == ["kept"]


def test_a_model_of_others_is_judged_on_the_cases_that_are_named(data, tmp_path):
    path = tmp_path / "foreign.safetensors"
    checkpoint.save(path, ModelHeader("foreign", SIZES, spacing=1.0), MMHVAE(SIZES))
    with pytest.raises(InputError, match="--held-out"):
        run("--data", data, "--model", path, "--output-dir", tmp_path / "out")
    with pytest.raises(InputError, match="no case called kpet"):
        run("--data", data, "--model", path, "--output-dir", tmp_path / "out", "--held-out", "kept", "kpet")
    figures = run("--data", data, "--model", path, "--output-dir", tmp_path, "--planes", 1, "--held-out", "kept")
    assert figures["cases"]["heads"] == ["kept"]


def test_a_case_of_ones_own_is_found_in_whichever_folder_it_lies(data, model, tmp_path):
    for modality in ("t2", "flair"):
        write(tmp_path / "mycases" / "P1", modality, head(np.random.default_rng(1), 90.0))
    # The model's training names the folders mri and ius.
    figures = run(
        "--data", tmp_path, "--model", model, "--output-dir", tmp_path / "out", "--planes", 1, "--held-out", "P1"
    )
    assert figures["cases"] == {"sweeps": ["P1", "P1"], "heads": ["P1"], "real iUS": []}
    words = ("--data", tmp_path, "--model", model, "--output-dir", tmp_path / "new")
    with pytest.raises(InputError, match="no case called P2 in any folder below it"):
        run(*words, "--held-out", "P2")
    with pytest.raises(InputError, match="none of the held-out cases kept, real in any folder below it"):
        run(*words)
    (tmp_path / "mri").mkdir()
    with pytest.raises(InputError, match=r"no cases in mri, ius \(data.folders"):
        run(*words)
    write(tmp_path / "mri" / "other", "t2", head(np.random.default_rng(1), 90.0))
    with pytest.raises(InputError, match=r"kept, real in mri, ius \(the folders of the model's training\)"):
        run(*words)


def test_cases_of_one_name_and_of_both_kinds_have_pictures_of_their_own(data, model, tmp_path):
    rng = np.random.default_rng(2)
    for site in ("siteA", "siteB"):
        write(tmp_path / site / "P1", "us", rng.integers(1, 255, (12, 40, 40)).astype(np.uint8))
    write(tmp_path / "siteA" / "P2", "us", rng.integers(1, 255, (12, 40, 40)).astype(np.uint8))
    write(tmp_path / "siteA" / "P2", "t2", rng.integers(1, 255, (12, 40, 40)).astype(np.uint8))
    words = ("--data", tmp_path, "--model", model, "--output-dir", tmp_path / "out", "--planes", 1)
    figures = run(*words, "--held-out", "P1", "P2")
    assert figures["cases"]["real iUS"] == ["P1", "P1"] and figures["cases"]["sweeps"] == ["P2"]
    pictures = {path.name for path in (tmp_path / "out").glob("*.png")} - {"latents-0-P2.png"}
    of_us = {f"{kind}-{case}.png" for kind in ("real-ius", "temperature") for case in ("P1", "P1-2")}
    assert pictures == {*of_us, "temperature-P2.png", "sweep-0-P2.png"}
    # All of them belong to the evaluation, and go with it.
    run(*words, "--held-out", "P2", "--overwrite")
    left = {path.name for path in (tmp_path / "out").glob("*.png")} - {"latents-0-P2.png"}
    assert left == {"temperature-P2.png", "sweep-0-P2.png"}


def test_what_is_told_of_the_way_reaches_its_end(data, model, tmp_path):
    for modality in ("t2", "flair"):
        write(tmp_path / "mycases" / "P1", modality, head(np.random.default_rng(1), 90.0))
    told = []
    words = {"planes": 1, "held_out": ["P1"], "progress": told.append}
    evaluating.evaluate(load_model(model), tmp_path, tmp_path / "out", **words)
    assert (told[-1].done, told[-1].total) == (22, 22)


def test_baselines_are_fitted_on_the_trainings_own_folders_alone(tmp_path):
    found = [tmp_path / folder / name for folder in ("mri", "mycases") for name in ("trained", "other")]
    data, there = DataConfig(("mri", "ius")), tmp_path / "mri"
    assert evaluating._to_fit_on(found, tmp_path, data, {"trained"}) == [found[0], found[2]]
    there.mkdir()
    assert evaluating._to_fit_on(found, tmp_path, data, {"trained"}) == [there / "trained"]
    assert evaluating._to_fit_on(found, tmp_path, data, ()) == [there / "trained", there / "other"]
    assert evaluating._to_fit_on(found, tmp_path, DataConfig(), ()) == found


def test_no_baseline_is_fitted_on_a_held_out_case(data, model, tmp_path, monkeypatch):
    fitted = []

    def stop(folders, _data):
        fitted.extend(folder.name for folder in folders)
        raise InputError("far enough")

    monkeypatch.setattr(evaluating, "_usable", stop)
    with pytest.raises(InputError, match="far enough"):
        run("--data", data, "--model", model, "--output-dir", tmp_path / "out")
    assert fitted == ["trained"]


def test_no_sweep_is_simulated_from_a_single_contrast(model, tmp_path):
    rng = np.random.default_rng(1)
    write(tmp_path / "mri" / "flat", "flair", head(rng, 90.0))
    write(tmp_path / "pairs" / "pair", "us", rng.integers(1, 255, (12, 40, 40)).astype(np.uint8))
    write(tmp_path / "pairs" / "pair", "t2", rng.integers(1, 255, (12, 40, 40)).astype(np.uint8))
    names = ("--held-out", "flat", "pair")
    figures = run("--data", tmp_path, "--model", model, "--output-dir", tmp_path / "out", "--planes", 1, *names)
    assert figures["cases"] == {"sweeps": ["pair"], "heads": ["flat", "pair"], "real iUS": []}
    assert figures["simulated_us"] == {"sweeps": 0, "of": 1, "which": []}
    note = (tmp_path / "out" / "table-sweeps.md").read_text(encoding="utf-8").splitlines()[-1]
    assert "The iUS of 0 of 1 sweeps is simulated." in note


def test_heads_are_covered_whole_and_keep_the_range_of_the_volume(data):
    settings = DataConfig(("mri",), sampling="crops", spacing=1.0)
    config = TrainingConfig(sizes=SIZES, data=settings)
    case = cases.load(data / "mri" / "kept", settings)
    sample = samples.mr_only(case, config, 18)
    # The ball of 80 mm takes three windows of 32 along each axis; each has its share of the planes.
    assert sample.batch.size == 18 and samples._covering(case.volumes["t2"], 32)[0] == (0, 0)
    for modality, images in sample.batch.inputs.items():
        assert images.max() <= 1 and set(sample.batch.inputs) == {"t2", "cet1", "flair"}
        brightest = case.ranges[modality].to_network(case.volumes[modality]).max()
        assert images.max() == pytest.approx(brightest, abs=0.1)
    assert samples.mr_only(case, config, 4).batch.size == 4, "never more planes than asked for"


@pytest.mark.parametrize("count, expected", [(1, [10]), (2, [5, 15]), (4, [2, 7, 12, 17]), (30, list(range(20)))])
def test_each_plane_stands_for_as_many_others(count, expected):
    volume = np.zeros((24, 10, 10), np.uint8)
    volume[2:22] = 1
    case = cases.Case("full", None, {"t2": volume}, {}, {})
    assert samples.chosen_planes(case, count) == [2 + place for place in expected]


def test_a_dark_window_of_a_head_stays_dark(data):
    settings = DataConfig(("mri",), sampling="crops", spacing=1.0)
    case = cases.load(data / "mri" / "kept", settings)
    bright = case.volumes["t2"].astype(np.float32)
    bright[:, :, :20] *= 8
    case = dataclasses.replace(case, volumes={"t2": bright}, ranges={"t2": cases.intensity_range(bright)})
    sample = samples.mr_only(case, TrainingConfig(sizes=SIZES, data=settings), 9)
    assert sorted(images.max() > 0 for images in sample.batch.inputs["t2"]) == [False] * 6 + [True] * 3


def test_every_case_has_a_probe_and_looks_of_its_own(data, model, tmp_path, monkeypatch):
    seeds = []
    monkeypatch.setattr(evaluating, "simulated", lambda case, config, planes, seed, at_tumour: seeds.append(seed))
    settings = DataConfig(("mri",), sampling="crops", spacing=1.0)
    loaded = cases.load_all(cases.find(data, ("mri",)), settings)
    config = TrainingConfig(sizes=SIZES, data=settings)
    evaluating.Evaluation(load_model(str(model)), config, loaded, [], tmp_path, 1, Reporter("x", 1, None, None))
    assert len(seeds) == 4 == len(set(seeds))


def test_a_missing_package_is_said_before_any_work(data, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(DependencyError, match="pip install scikit-image"):
        run("--data", data, "--model", model, "--output-dir", tmp_path / "out", "--planes", 1)
    assert not (tmp_path / "out").exists()


def test_without_held_out_cases_there_is_nothing_to_evaluate(tmp_path, model):
    write(tmp_path / "mri" / "other", "t2", np.ones((8, 8, 8), np.int16))
    with pytest.raises(InputError, match="kept, real"):
        run("--data", tmp_path, "--model", model, "--output-dir", tmp_path / "out")
    assert not (tmp_path / "out").exists()
