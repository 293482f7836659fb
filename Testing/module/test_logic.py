import threading

import numpy as np
import pytest

from MMHVAESynthesisLib.errors import Cancelled, DependencyError, InputError, ModelError


@pytest.fixture
def logic(scene, module):
    return module.MMHVAESynthesisLogic()


@pytest.fixture
def engine(scenes, monkeypatch):
    """A fake engine that answers at once and keeps the requests that it got."""
    from MMHVAESynthesisLib.synthesis import engine

    requests = []

    def synthesize(request, progress=None, cancel=None):
        import slicer

        requests.append(request)
        nodes = {key: slicer.mrmlScene.GetFirstNodeByName(name) for key, name in request.names.items()}
        return scenes.result(nodes, request.targets or ("us", "t2"), request.samples, request.seed)

    monkeypatch.setattr(engine, "synthesize", synthesize)
    return requests


def test_the_words_of_the_call_reach_the_engine(logic, engine, scenes):
    us, flair = scenes.volume("US"), scenes.volume("FLAIR")
    nodes = logic.synthesize(
        {"us": us, "t2": None, "flair": "FLAIR"},
        targets=["cet1"],
        model="some.pth",
        temperature=0,
        samples=3,
        seed=4,
        device="cpu",
        noise="shared",
    )
    (request,) = engine
    assert list(request.inputs) == ["us", "flair"] and request.names == {"us": "US", "flair": "FLAIR"}
    assert (request.targets, request.model, request.temperature) == (("cet1",), "some.pth", 0.0)
    assert (request.samples, request.seed, request.device, request.noise) == (3, 4, "cpu", "shared")
    np.testing.assert_allclose(request.inputs["us"].GetSpacing(), (0.7, 1.1, 2.9))
    assert list(nodes) == ["cet1"] and nodes["cet1"].GetNodeReference("MMHVAE.input.flair") is flair


def test_a_given_output_node_takes_the_result(logic, engine, scenes):
    us, mine = scenes.volume("US"), scenes.volume("Mine", shape=(2, 3, 4))
    nodes = logic.synthesize({"us": us}, targets=["t2", "flair"], outputs={"t2": "Mine", "flair": None})
    assert nodes["t2"] is mine and nodes["flair"] is not mine
    assert mine.GetImageData().GetDimensions() == us.GetImageData().GetDimensions()


def test_bad_input_is_told_before_any_work_and_changes_nothing(logic, engine, scenes):
    us, other = scenes.volume("US"), scenes.volume("Other")
    before = scenes.picture()
    for inputs, settings, sentence in (
        ({}, {}, "no input"),
        (us, {}, "must say which volume is what"),
        ({"us": us, "iUS": other}, {}, "name iUS twice"),
        ({"us": us, "t2": us}, {}, "same volume is given as iUS and as T2"),
        ({"us": "Nobody"}, {}, "no volume named 'Nobody'"),
        ({"us": us}, {"temperature": 2}, "temperature"),
        ({"us": us}, {"targets": []}, "No output is chosen"),
        ({"us": us}, {"device": "gpu"}, "Unknown device"),
        ({"us": us}, {"outputs": {"t2": us}}, "is an input of this run"),
        ({"us": us}, {"outputs": {"flair": other}, "targets": ["t2"]}, "not synthesised"),
        ({"us": us}, {"outputs": {"flairr": other}}, "chosen for flairr, which is no contrast"),
        ({"t1": us}, {}, "t1: there is no such contrast. Give the inputs as us, t2, cet1, flair"),
    ):
        with pytest.raises(InputError, match=sentence):
            logic.synthesize(inputs, **settings)
    assert engine == [] and scenes.picture() == before


def test_modalities_are_taken_by_the_names_that_people_see(logic, engine, scenes):
    us, mine = scenes.volume("US"), scenes.volume("Mine")
    nodes = logic.synthesize({"iUS": us, "T1ce": None}, targets=["T2", "FLAIR"], outputs={"T2": mine})
    (request,) = engine
    assert list(request.inputs) == ["us"] and request.targets == ("t2", "flair") and request.names == {"us": "US"}
    assert nodes["t2"] is mine and list(nodes) == ["t2", "flair"]


def test_a_misspelt_word_is_told_with_the_one_that_is_meant(logic, engine, scenes, tmp_path):
    us = scenes.volume("US")
    with pytest.raises(TypeError, match="synthesize has no setting 'temprature'. Did you mean 'temperature'"):
        logic.synthesize({"us": us}, temprature=0)
    with pytest.raises(TypeError, match="register has no setting 'start'. Did you mean 'starts'"):
        logic.register({"t2": us}, {"t2": us}, start=1)
    for call in (logic.batch, logic.startBatch):
        with pytest.raises(TypeError, match=f"{call.__name__} has no setting 'sample'. Did you mean 'samples'"):
            call(str(tmp_path), folder=str(tmp_path), sample=3)
    with pytest.raises(InputError, match="The synthetic MR must say which volume is what"):
        logic.register(us, {"t2": us})
    assert engine == []


def test_replacing_results_of_other_settings_reaches_the_command_line(logic, monkeypatch, tmp_path):
    pytest.importorskip("PySide6", reason="not installed: PySide6")
    from app.fakes import FakeStart

    start = FakeStart()
    monkeypatch.setattr(logic, "startChild", start)
    for overwrite in (False, True):
        job = logic.startBatch(str(tmp_path / "out"), folder=str(tmp_path), overwrite=overwrite)
        assert ("--overwrite" in start.calls[-1]) is overwrite
        job.kill()


@pytest.mark.parametrize("fault", [Cancelled("Cancelled."), ModelError("No model."), MemoryError()])
def test_a_run_that_fails_leaves_the_scene_as_it_was(logic, scenes, monkeypatch, fault):
    from MMHVAESynthesisLib.synthesis import engine

    def synthesize(*_):
        raise fault

    monkeypatch.setattr(engine, "synthesize", synthesize)
    inputs = {"us": scenes.volume("US")}
    mine = scenes.volume("Mine")
    before = scenes.picture()
    with pytest.raises(type(fault)):
        logic.synthesize(inputs, outputs={"t2": mine})
    assert scenes.picture() == before


def test_a_synthetic_input_is_warned_of_in_log_and_result(logic, engine, scenes, caplog):
    us = scenes.volume("US")
    made = logic.synthesize({"us": us}, targets=["t2"])["t2"]
    nodes = logic.synthesize({"us": us, "t2": made}, targets=["flair"])
    assert "is itself synthetic" in caplog.text
    assert "is itself synthetic" in nodes["flair"].GetAttribute("MMHVAE.warnings")


def test_without_torch_the_error_says_how_to_get_it(logic, scenes, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    before = scenes.volume("US") and scenes.picture()
    with pytest.raises(DependencyError, match="PyTorch is not installed.*PyTorch extension"):
        logic.synthesize({"us": "US"})
    assert scenes.picture() == before


@pytest.fixture
def model(module, tmp_path):
    pytest.importorskip("torch", reason="not installed: torch")
    return module.MMHVAESynthesisTest().makeModel(str(tmp_path / "random.safetensors"))


@pytest.fixture
def ultrasound(scene, module):
    return module.MMHVAESynthesisTest().makeUltrasound()


def test_the_real_engine_gives_the_same_voxels_through_the_scene_and_without(logic, slicer, scenes, model, ultrasound):
    from MMHVAESynthesisLib.request import SynthesisRequest
    from MMHVAESynthesisLib.scene.nodes import to_image
    from MMHVAESynthesisLib.synthesis.engine import synthesize

    reports = []
    nodes = logic.synthesize({"us": ultrasound}, model=model, device="cpu", seed=3, progress=reports.append)
    direct = synthesize(SynthesisRequest({"us": to_image(ultrasound, "The iUS")}, model=model, device="cpu", seed=3))
    assert set(nodes) == set(direct.images) == {"us", "t2", "cet1", "flair"}
    for modality, node in nodes.items():
        array = slicer.util.arrayFromVolume(node)
        assert array.tobytes() == _bytes(direct.images[modality])
        assert np.abs(scenes.matrix_of(node) - scenes.matrix_of(ultrasound)).max() == 0
        assert node.GetAttribute("MMHVAE.model") == "random weights"
        assert len(node.GetAttribute("MMHVAE.modelDigest")) == 64
    assert reports and reports[-1].done == reports[-1].total


def _bytes(image):
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(image).tobytes()


def test_the_real_engine_is_cancelled_without_a_trace(logic, scenes, model, ultrasound):
    cancel = threading.Event()

    def progress(report):
        if report.done == 1:
            cancel.set()

    before = scenes.picture()
    with pytest.raises(Cancelled):
        logic.synthesize({"us": ultrasound}, model=model, device="cpu", progress=progress, cancel=cancel)
    assert scenes.picture() == before


def test_a_missing_model_and_an_empty_volume_are_told(logic, slicer, scenes, model, ultrasound, tmp_path):
    empty = scenes.volume("Empty")
    slicer.util.arrayFromVolume(empty)[:] = 0
    before = scenes.picture()
    with pytest.raises(ModelError):
        logic.synthesize({"us": ultrasound}, model=str(tmp_path / "nothing.pth"), device="cpu")
    with pytest.raises(InputError, match="Empty"):
        logic.synthesize({"us": empty}, model=model, device="cpu")
    assert scenes.picture() == before


def test_the_self_test_passes(slicer, scene, module):
    pytest.importorskip("torch", reason="not installed: torch")
    slicer.modules.mmhvaesynthesis.module.runTest()
    assert scene.GetFirstNodeByName("Test iUS synthetic T2 (MMHVAE)") is not None
