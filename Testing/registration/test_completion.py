import argparse
import json
import threading

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("torch")

from MMHVAESynthesisLib.errors import Cancelled, InputError  # noqa: E402
from MMHVAESynthesisLib.registration import cli, completion, engine, transforms  # noqa: E402
from MMHVAESynthesisLib.request import RegistrationRequest, SynthesisRequest  # noqa: E402
from MMHVAESynthesisLib.synthesis.engine import synthesize  # noqa: E402
from synthesis.making import model_file  # noqa: E402

from . import phantom  # noqa: E402

NEAR = phantom.motion((3, -2, 4), (3, -2, 2))
NOT_USED = ["ceT1: synthetic only, not used."]


def stripped(image):
    """The image with nothing outside a ball, as after the skull was taken off."""
    values = sitk.GetArrayFromImage(image)
    places = np.indices(values.shape) - (np.array(values.shape).reshape(3, 1, 1, 1) - 1) / 2
    values[np.linalg.norm(places, axis=0) > 0.48 * len(values)] = 0
    result = sitk.GetImageFromArray(values)
    result.CopyInformation(image)
    return result


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return model_file(tmp_path_factory.mktemp("model"), spacing=1.0)


@pytest.fixture(scope="module")
def head():
    return stripped(phantom.head(size=80))


@pytest.fixture(scope="module")
def fixed(head, model):
    """A synthetic T2 of little use, and a ceT1 that is what the model makes of the head's T2."""
    request = SynthesisRequest({"t2": head}, ("cet1",), model, temperature=0, directions=1)
    made = synthesize(request).images["cet1"]
    size = (36, 34, 32)
    return {"t2": phantom.noisy(phantom.field(head, size), 8.0), "cet1": phantom.field(made, size)}


def registered(fixed, moving, progress=None, cancel=None, **settings):
    request = RegistrationRequest(fixed, moving, **{"starts": 1, "engine": "lncc", **settings})
    return engine.register(request, progress, cancel)


def test_what_is_completed_is_registered_with_the_rest(head, fixed, model):
    moving, reports = {"t2": phantom.carried(head, NEAR)}, []
    result = registered(fixed, moving, reports.append, model=model)
    assert phantom.error(result.fixed_to_moving, NEAR) < 0.5
    assert [(each.modality, each.completed) for each in result.contrasts] == [("t2", False), ("cet1", True)]
    assert result.contrasts[1].after > max(result.contrasts[1].before, result.contrasts[0].after) + 0.05
    assert not any("ceT1" in warning for warning in result.warnings)
    made = json.loads(json.dumps(result.provenance))
    assert (made["completed"], made["completed_from"], made["completion_model"]) == (["cet1"], ["t2"], "random")
    assert list(made["moving"]) == ["t2"] and list(made["fixed"]) == ["t2", "cet1"]
    assert list(dict.fromkeys(report.stage for report in reports)) == ["preparing", "completion", "registration"]
    assert list(moving) == ["t2"]
    without = registered(fixed, moving, model=model, completion=False)
    assert phantom.error(without.fixed_to_moving, NEAR) > 0.5 and without.provenance["completed"] == []
    assert [each.modality for each in without.contrasts] == ["t2"] and without.warnings[:1] == NOT_USED


def test_mr_without_a_partner_is_no_input_and_the_initial_transform_holds_for_what_is_completed(head, fixed, model):
    away = phantom.motion((20, 50, -30), (150, -90, 60))
    coarse = sitk.Resample(head, [40, 40, 40], sitk.Transform(), sitk.sitkLinear, head.GetOrigin(), (2.0, 2.0, 2.0))
    moving = {"t2": phantom.carried(head, away), "flair": phantom.carried(coarse, away)}
    initial = transforms.transform_of(phantom.motion((20, 50, -30), (151, -91, 61)), phantom.CENTRE)
    clear = {**fixed, "t2": phantom.field(head, (36, 34, 32))}
    result = registered(clear, moving, initial=initial, model=model)
    assert phantom.error(result.fixed_to_moving, away) < 0.5
    assert result.provenance["completed_from"] == ["t2"]
    assert [each.modality for each in result.contrasts] == ["t2", "cet1"]
    assert result.warnings == ["FLAIR: pre-operative only, not used for the registration."]


def test_files_give_what_images_give_and_only_acquired_mr_is_written(head, fixed, model, tmp_path):
    words = ["--t2", tmp_path / "T2 pre.nrrd", "--output", tmp_path / "T.h5", "--resampled-dir", tmp_path / "out"]
    sitk.WriteImage(phantom.carried(head, NEAR), str(words[1]))
    for modality, image in fixed.items():
        words += [f"--synthetic-{modality}", tmp_path / f"synthetic-{modality}.nrrd"]
        sitk.WriteImage(image, str(words[-1]))
    words += ["--checkerboard", tmp_path / "c.png", "--starts", 1, "--model", model]
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)

    def run(*more):
        return cli.run(parser.parse_args([str(word) for word in (*words, *more)]))

    result = run()
    direct = registered(fixed, {"t2": phantom.carried(head, NEAR)}, model=model)
    found = transforms.read(result["outputs"]["transform"])
    np.testing.assert_allclose(transforms.matrix_of(found), transforms.matrix_of(direct.fixed_to_moving), atol=1e-6)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["T2 pre_registered-T2.nrrd"]
    assert "Similarity of ceT1 (completed from T2) (LNCC)" in cli.describe(json.loads(json.dumps(result)))
    without = run("--no-completion", "--overwrite")
    assert without["provenance"]["warnings"][:1] == NOT_USED and "completed" not in cli.describe(without)


@pytest.fixture(scope="module")
def us(head, model):
    """An ultrasound that is what the model makes of the head's T2, in a field that is narrower than the fixed images'.

    It is negative outside.
    """
    made = synthesize(SynthesisRequest({"t2": head}, ("us",), model, temperature=0, directions=1)).images["us"]
    narrow = phantom.field(made, (30, 28, 30))
    return sitk.Cast(narrow, sitk.sitkFloat32) + sitk.Cast(narrow == 0, sitk.sitkFloat32) * -5


def test_the_ultrasound_itself_is_registered_to_what_is_completed_of_it(head, fixed, us, model, tmp_path):
    moving = {"t2": phantom.carried(head, NEAR)}
    sitk.WriteImage(us, str(tmp_path / "us.nrrd"))
    result = registered({"t2": fixed["t2"]}, moving, us=tmp_path / "us.nrrd", model=model)
    assert phantom.error(result.fixed_to_moving, NEAR) < 0.5
    assert [(each.modality, each.completed) for each in result.contrasts] == [("t2", False), ("us", True)]
    assert result.contrasts[1].title(result.provenance) == "iUS (completed from T2)"
    made = result.provenance
    assert (made["completed"], made["completed_from"]) == (["us"], ["t2"])
    assert made["fixed"] == {"t2": "image in memory", "us": str(tmp_path / "us.nrrd")}
    assert list(made["moving"]) == ["t2"]
    without = registered({"t2": fixed["t2"]}, moving, us=us, model=model, completion=False)
    assert phantom.error(without.fixed_to_moving, NEAR) > 0.5
    assert [each.modality for each in without.contrasts] == ["t2"]
    both = registered(fixed, moving, us=us, model=model)
    assert both.provenance["completed"] == ["cet1", "us"] and phantom.error(both.fixed_to_moving, NEAR) < 0.5


def test_beside_several_contrasts_the_ultrasound_alone_is_completed_of_all(head, fixed, us, model):
    clear = phantom.field(head, (36, 34, 32))
    synthetic = {"t2": clear, "flair": clear + 1, "cet1": fixed["cet1"]}
    moving = {modality: phantom.carried(head, NEAR) for modality in ("t2", "flair")}
    result = registered(synthetic, moving, us=us, model=model)
    completed = {each.modality: each.completed for each in result.contrasts}
    assert completed == {"t2": False, "flair": False, "us": True}
    assert result.provenance["completed_from"] == ["t2", "flair"] and result.warnings[:1] == NOT_USED
    assert phantom.error(result.fixed_to_moving, NEAR) < 0.5
    masked = registered(synthetic, moving, us=us > 0, model=model)
    assert masked.provenance["completed"] == [] and [each.modality for each in masked.contrasts] == ["t2", "flair"]


def test_an_ultrasound_that_shows_nothing_does_not_hide_where_the_mr_agree(head, us, model):
    noise = sitk.GetImageFromArray(np.random.default_rng(0).uniform(1, 255, us.GetSize()[::-1]))
    noise.CopyInformation(us)
    far, reports = phantom.motion((6, -9, 12), (14, -12, 9)), []
    clear = {"t2": phantom.field(head, (36, 34, 32))}
    moving = {"t2": phantom.carried(head, far)}
    result = registered(clear, moving, reports.append, us=noise, model=model, starts=4)
    assert phantom.error(result.fixed_to_moving, far) < 1 and result.provenance["completed"] == ["us"]
    steps = [report for report in reports if report.stage == "registration"]
    assert steps[-1].done == steps[-1].total


@pytest.fixture
def no_synthesis(monkeypatch):
    monkeypatch.setattr(completion, "synthesize", lambda *_: pytest.fail("something was synthesised"))


@pytest.mark.parametrize("settings", [{"completion": False}, {"engine": "mattes"}], ids=str)
def test_who_does_not_complete_registers_as_before(head, fixed, model, no_synthesis, settings):
    result = registered(fixed, {"t2": head}, model=model, **settings)
    assert result.warnings[:1] == NOT_USED and [each.modality for each in result.contrasts] == ["t2"]


def test_a_synthetic_ultrasound_and_what_the_model_does_not_know_are_left_out(head, fixed, no_synthesis, tmp_path):
    small = model_file(tmp_path, spacing=1.0, modalities=("us", "t2", "flair"))
    result = registered({**fixed, "us": sitk.Image(fixed["t2"])}, {"t2": head}, model=small)
    assert result.warnings[:1] == NOT_USED
    assert not any("completed" in warning for warning in result.warnings)


def test_of_a_mask_and_for_a_model_without_ultrasound_nothing_is_completed(head, fixed, us, no_synthesis, tmp_path):
    alone, foreign = {"t2": fixed["t2"]}, model_file(tmp_path, spacing=1.0, modalities=("t2", "cet1"))
    labels = (us > 0) + sitk.Cast(us > 40, sitk.sitkUInt8)
    for field, its in ((us > 0, None), (labels, None), (us, foreign)):
        result = registered(alone, {"t2": head}, us=field, model=its)
        assert [each.modality for each in result.contrasts] == ["t2"] and result.provenance["completed"] == []
        assert not any("completed" in warning for warning in result.warnings)


def test_of_what_is_missing_the_model_makes_what_it_knows(head, fixed, tmp_path):
    small = model_file(tmp_path, spacing=1.0, modalities=("us", "t2", "flair"))
    result = registered({**fixed, "flair": sitk.Image(fixed["t2"])}, {"t2": head}, model=small)
    assert result.provenance["completed"] == ["flair"] and result.warnings[:1] == NOT_USED


def test_a_doubtful_completion_is_not_used_nor_made(fixed, model):
    reports = []
    unlike = phantom.head(size=80)
    result = registered(fixed, {"t2": unlike}, reports.append, model=model, names={"t2": "Doe T2"})
    assert result.warnings[0] == NOT_USED[0]
    assert result.warnings[1].startswith("ceT1 is not completed from T2: T2 has hardly any background")
    assert [each.modality for each in result.contrasts] == ["t2"] and result.provenance["completed"] == []
    assert not any(report.stage == completion.STAGE or report.warnings for report in reports)


def test_a_completion_that_fails_says_why_and_the_registration_goes_on(head, fixed):
    result = registered({**fixed, "flair": fixed["cet1"] + 1}, {"t2": head}, model="absent.safetensors")
    assert result.warnings[1].startswith("ceT1, FLAIR are not completed from T2: There is no model named 'absent.saf")
    assert [each.modality for each in result.contrasts] == ["t2"]


@pytest.mark.parametrize("error", [RuntimeError("CUDA error"), MemoryError()], ids=str)
def test_a_computation_that_breaks_down_does_not_take_the_registration_with_it(head, fixed, model, monkeypatch, error):
    def broken(*_):
        raise error

    monkeypatch.setattr(completion, "synthesize", broken)
    result = registered(fixed, {"t2": head}, model=model)
    assert result.warnings[1].startswith("ceT1 is not completed from T2: the computation failed")
    assert [each.modality for each in result.contrasts] == ["t2"]


def test_two_pairs_are_not_completed(head, fixed, model, no_synthesis):
    other = sitk.Image(head)
    result = registered({**fixed, "flair": fixed["t2"] + 1}, {"t2": head, "flair": other}, model=model)
    assert [each.modality for each in result.contrasts] == ["t2", "flair"] and result.warnings[:1] == NOT_USED


def test_a_synthetic_volume_that_cannot_be_used_is_no_more_in_the_way_than_without(head, fixed, model):
    result = registered({**fixed, "cet1": fixed["cet1"] * 0}, {"t2": head}, model=model)
    assert result.warnings[1].startswith("ceT1 is not completed from T2: The synthetic ceT1 is empty")
    assert [each.modality for each in result.contrasts] == ["t2"] and result.provenance["completed"] == []


def test_cancel_while_it_completes(head, fixed, model):
    cancel, stages = threading.Event(), []

    def watch(report):
        stages.append(report.stage)
        if report.stage == completion.STAGE:
            cancel.set()

    with pytest.raises(Cancelled):
        registered(fixed, {"t2": head}, watch, cancel, model=model)
    assert "registration" not in stages


def test_a_bad_input_is_told_before_anything_is_completed(head, fixed, model, no_synthesis):
    with pytest.raises(InputError, match="do not overlap"):
        registered(fixed, {"t2": phantom.carried(head, phantom.motion((0, 0, 0), (300, 0, 0)))}, model=model)


def test_settings_are_checked_at_the_border():
    images = {"t2": "a.nrrd", "cet1": "b.nrrd"}, {"t2": "c.nrrd"}
    with pytest.raises(InputError, match="True or False, not 'no'"):
        RegistrationRequest(*images, completion="no")
    request = RegistrationRequest(*images)
    assert request.synthetic_only == request.to_complete == ("cet1",)
    assert RegistrationRequest(*images, "us.nrrd").to_complete == ("cet1", "us")
    several = {"t2": "c.nrrd", "cet1": "d.nrrd"}
    assert RegistrationRequest({**images[0], "flair": "e.nrrd"}, several, "us.nrrd").to_complete == ("us",)
    with_us = {"t2": "a.nrrd", "us": "f.nrrd"}, {"t2": "c.nrrd", "us": "g.nrrd"}
    assert (
        RegistrationRequest(*with_us, "us.nrrd").to_complete
        == RegistrationRequest(images[0], several).to_complete
        == ()
    )
    for none in ({"engine": "brainsfit"}, {"completion": False}):
        assert RegistrationRequest(*images, "us.nrrd", **none).to_complete == ()
