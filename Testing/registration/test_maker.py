import argparse
import json
import shutil

import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.batch import runner
from MMHVAESynthesisLib.batch.cases import Case
from MMHVAESynthesisLib.batch.settings import Settings
from MMHVAESynthesisLib.models.loading import load
from MMHVAESynthesisLib.registration import cli, maker
from MMHVAESynthesisLib.request import RegistrationRequest
from MMHVAESynthesisLib.synthesis import cli as synthesis
from synthesis.making import fan, model_file


@pytest.fixture
def model(tmp_path):
    return model_file(tmp_path)


def synthesised(folder, model, *targets):
    """Return the files of T2 and so on that the command ``synthesize`` makes of an ultrasound."""
    source = folder / "us.nrrd"
    sitk.WriteImage(fan(planes=24, spacing=(1.0, 1.0, 1.0)), str(source))
    parser = argparse.ArgumentParser()
    synthesis.add_arguments(parser)
    words = ["--us", source, "--targets", ",".join(targets), "--model", model, "--output-dir", folder, "--overwrite"]
    made = synthesis.run(parser.parse_args([str(word) for word in words]))
    return [made["outputs"][target] for target in targets]


def test_a_file_s_maker_is_what_the_record_beside_it_says(tmp_path, model):
    header = load(model).header
    t2, flair = synthesised(tmp_path, model, "t2", "flair")
    (tmp_path / "other_synthetic.json").write_text("no record", encoding="utf-8")
    (tmp_path / "provenance.json").write_text('{"outputs": ["us_synthetic-T2.nrrd"]}', encoding="utf-8")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    alone = shutil.copy(t2, moved)
    assert maker.makers_of([t2, flair, alone]) == ((header.name, header.digest),) * 2 + (maker.UNKNOWN,)


def test_a_file_of_a_batch_has_a_maker_too(tmp_path, model):
    header = load(model).header
    sitk.WriteImage(fan(), str(tmp_path / "us.nrrd"))
    case = Case("Case1", {"us": str(tmp_path / "us.nrrd")})
    runner.run_batch([case], Settings(targets=("t2",), model=str(model)), tmp_path / "results")
    file = next((tmp_path / "results" / "Case1").glob("*_synthetic-T2.nrrd"))
    assert maker.makers_of([file]) == ((header.name, header.digest),)


def request_of(tmp_path, t2, flair, *words):
    """Return the request of the command ``register`` with the model that it completes with, and its warning."""
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    given = ["--synthetic-t2", t2, "--synthetic-flair", flair, "--t2", tmp_path / "mr.nrrd", "--output", "T.h5", *words]
    args = parser.parse_args([str(word) for word in given])
    return cli._completed_by_its_model(cli._request(args))


def test_the_command_completes_with_the_model_that_made_the_synthetic_mr(tmp_path, model, monkeypatch):
    t2, flair = synthesised(tmp_path, model, "t2", "flair")
    request, warning = request_of(tmp_path, t2, flair)
    assert request.completion is False
    assert "FLAIR is not completed from T2: the model 'random', which made the synthetic MR, is not" in warning
    assert warning.endswith("or synthesise anew, or name it with --model.")
    assert request_of(tmp_path, t2, flair, "--no-completion")[1] == ""
    named, warning = request_of(tmp_path, t2, flair, "--model", model)
    assert (named.model, named.completion, warning) == (str(model), True, "")
    monkeypatch.setenv("MMHVAE_MODELS_DIR", str(tmp_path))
    known, warning = request_of(tmp_path, t2, flair)
    assert (known.model, known.completion, warning) == ("model.safetensors", True, "")


def test_without_a_record_the_default_completes(tmp_path, model):
    t2, flair = synthesised(tmp_path, model, "t2", "flair")
    (tmp_path / "us_synthetic.json").unlink()
    request, warning = request_of(tmp_path, t2, flair)
    assert (request.model, request.completion, warning) == (None, True, "")


def test_the_warning_stands_in_the_result_and_the_record(tmp_path, model):
    t2, flair = synthesised(tmp_path, model, "t2", "flair")
    mr = tmp_path / "mr.nrrd"
    image = sitk.ReadImage(t2)
    image.SetOrigin((1.0, 0.0, 0.0))
    sitk.WriteImage(image, str(mr))
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    words = ["--synthetic-t2", t2, "--synthetic-flair", flair, "--t2", mr, "--starts", 1, "--output"]
    result = cli.run(parser.parse_args([str(word) for word in [*words, tmp_path / "T.h5"]]))
    kept = json.loads((tmp_path / "T.json").read_text(encoding="utf-8"))
    for said in (result, kept):
        assert sum("FLAIR is not completed" in warning for warning in said["provenance"]["warnings"]) == 1


def test_nothing_is_said_where_nothing_would_be_completed():
    request = RegistrationRequest({"t2": "a.nrrd"}, {"t2": "b.nrrd"}, completion=False)
    assert maker.why_not_completed(request, [("gone", "0")]) == ""
