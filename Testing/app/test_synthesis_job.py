import os
import time

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.app import process
from MMHVAESynthesisLib.app.jobs import CANCELLED, DONE, FAILED, RUNNING
from MMHVAESynthesisLib.app.synthesis import SynthesisJob
from MMHVAESynthesisLib.errors import DeviceError, InputError, OutputError
from MMHVAESynthesisLib.request import SynthesisRequest
from MMHVAESynthesisLib.volumes import files

from .fakes import FakeStart


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where the jobs' temporary folders are made; the end of each test looks that it is empty."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield tmp_path
    assert [name for name in os.listdir(tmp_path) if name.startswith("mmhvae-")] == []


def image(value=7):
    made = sitk.GetImageFromArray(np.full((3, 4, 5), value, np.float32))
    made.SetOrigin((1.25, -2.1, 1 / 3))
    made.SetSpacing((0.1, 0.2, 1 / 7))
    return made


@pytest.fixture
def start():
    return FakeStart()


def test_inputs_and_settings_reach_the_command_line(start):
    request = SynthesisRequest(
        {"us": image(1), "t2": image(2)},
        targets=["cet1", "flair"],
        model="-odd name.pth",
        temperature=0.1 + 0.2,
        samples=4,
        seed=9,
        device="cuda:1",
        noise="shared",
        half_precision=True,
        workers=3,
        directions=1,
    )
    job = SynthesisJob(request, start)
    from MMHVAESynthesisLib.__main__ import parser

    args = parser().parse_args(start.calls[0])
    assert (args.command, args.targets, args.model) == ("synthesize", ["cet1,flair"], "-odd name.pth")
    assert (args.temperature, args.samples, args.seed, args.workers) == (0.1 + 0.2, 4, 9, 3)
    assert (args.device, args.noise, args.half, args.batch) == ("cuda:1", "shared", True, None)
    assert args.directions == 1
    assert args.preview is None and args.uncompressed and args.cet1 is None
    for modality, value in (("us", 1), ("t2", 2)):
        written = files.read(getattr(args, modality))
        assert sitk.GetArrayFromImage(written).min() == value
        assert written.GetOrigin() == image().GetOrigin() and written.GetSpacing() == image().GetSpacing()
        with open(getattr(args, modality), "rb") as file:
            assert b"encoding: raw" in file.read(400)
    job.kill()


def test_the_result_has_the_users_names(start):
    job = SynthesisJob(SynthesisRequest({"us": image()}, names={"us": "Doe iUS"}), start)
    path = start.option("--us")
    start.finish({"t2": image(3)}, {"t2": image(4)}, seed=5, warnings=[f"The volume '{path}' is odd."])
    assert job.poll() == DONE
    result = job.made
    assert sitk.GetArrayFromImage(result.images["t2"]).max() == 3
    assert sitk.GetArrayFromImage(result.uncertainty["t2"]).max() == 4
    assert result.provenance["inputs"] == {"us": "Doe iUS"} and result.provenance["seed"] == 5
    assert result.warnings == ["The volume 'Doe iUS' is odd."] == result.provenance["warnings"]


def test_an_error_has_the_users_names(start):
    job = SynthesisJob(SynthesisRequest({"us": image()}, names={"us": "Doe iUS"}), start)
    start.process.say(error=f"The iUS volume '{start.option('--us')}' is empty.", kind="InputError", exit_code=3)
    start.process.code = 3
    assert job.poll() == FAILED
    assert type(job.error) is InputError and str(job.error) == "The iUS volume 'Doe iUS' is empty."


def test_results_that_cannot_be_read_back_are_a_failure(start):
    job = SynthesisJob(SynthesisRequest({"us": image()}), start)
    start.finish({"t2": image(3)})
    with open(os.path.join(start.option("--output-dir"), "t2.nrrd"), "r+b") as file:
        file.truncate(200)
    assert job.poll() == FAILED and "cannot be read back" in str(job.error) and job.made is None


@pytest.mark.parametrize("error", [MemoryError(), DeviceError("The memory of this machine ran out.")], ids=str)
def test_results_for_which_there_is_no_memory_are_a_failure(start, monkeypatch, error):
    def fail(_path):
        raise error

    job = SynthesisJob(SynthesisRequest({"us": image()}), start)
    start.finish({"t2": image(3)})
    monkeypatch.setattr(files, "read", fail)
    assert job.poll() == FAILED and job.made is None
    assert str(job.error).startswith("Memory ran out") and str(job.error).endswith("Nothing was changed.")
    assert job.poll() == FAILED, "and so it stays"


@pytest.mark.parametrize("result", [{}, {"outputs": {}}, {"outputs": {}, "provenance": {}}, {"outputs": 3}])
def test_a_result_with_parts_missing_is_a_failure(start, result):
    job = SynthesisJob(SynthesisRequest({"us": image()}), start)
    start.process.say(result=result)
    start.process.code = 0
    assert job.poll() == FAILED and "cannot be read back" in str(job.error)


def test_nothing_is_left_when_the_inputs_cannot_be_written(start, monkeypatch):
    def fail(*_, **__):
        raise OutputError("The disk is full.")

    monkeypatch.setattr(files, "write", fail)
    with pytest.raises(OutputError):
        SynthesisJob(SynthesisRequest({"us": image()}), start)
    assert start.calls == []


def test_a_model_file_is_given_to_the_child_by_its_whole_path(start, folder, monkeypatch):
    (folder / "own.pth").write_bytes(b"")
    monkeypatch.chdir(folder)
    SynthesisJob(SynthesisRequest({"us": image()}, model="own.pth"), start).kill()
    assert start.option("--model") == str(folder / "own.pth")
    assert os.path.isabs(start.option("--output-dir")) and os.path.isabs(start.option("--us"))


def test_a_killed_job_leaves_nothing(start, folder):
    job = SynthesisJob(SynthesisRequest({"us": image()}), start)
    assert len(os.listdir(folder)) == 1
    job.kill()
    assert start.process.deeds == ["kill"] and os.listdir(folder) == []


def wait(job, seconds=120):
    end = time.monotonic() + seconds
    while job.poll() == RUNNING:
        assert time.monotonic() < end, job.log()
        time.sleep(0.05)
    return job.state


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("torch")
    from synthesis.making import model_file

    return model_file(tmp_path_factory.mktemp("model"))


def test_the_child_the_library_and_a_preview_give_identical_voxels(model):
    from MMHVAESynthesisLib.synthesis.engine import synthesize
    from synthesis.making import fan

    us = fan()
    us.SetDirection((0.36, 0.48, -0.8, -0.8, 0.6, 0.0, 0.48, 0.64, 0.6))
    request = SynthesisRequest({"us": us}, ["t2", "flair"], model, samples=2, seed=4, device="cpu")
    job, shown = SynthesisJob(request, process.starter()), SynthesisJob(request, process.starter(), preview=True)
    assert wait(job) == DONE, job.log()
    assert wait(shown) == DONE, shown.log()
    expected = synthesize(request)
    for made, direct in ((job.made.images, expected.images), (job.made.uncertainty, expected.uncertainty)):
        assert list(made) == ["t2", "flair"]
        for modality, volume in made.items():
            assert sitk.GetArrayFromImage(volume).tobytes() == sitk.GetArrayFromImage(direct[modality]).tobytes()
    plane = shown.made
    for modality, volume in plane.images.items():
        whole = sitk.GetArrayFromImage(expected.images[modality])[plane.plane]
        assert sitk.GetArrayFromImage(volume)[0].tobytes() == whole.tobytes()
    assert plane.seconds > 0 and job.made.provenance["model_digest"] == expected.provenance["model_digest"]


def test_a_real_child_is_cancelled(model):
    from synthesis.making import fan

    job = SynthesisJob(SynthesisRequest({"us": fan(400)}, model=model, device="cpu"), process.starter())
    end = time.monotonic() + 120
    while job.poll() == RUNNING and (job.progress is None or job.progress.stage != "synthesis"):
        assert time.monotonic() < end, job.log()
        time.sleep(0.05)
    job.cancel()
    assert wait(job) == CANCELLED and job.made is None


def test_what_a_killed_slicer_left_behind_is_removed_by_a_later_job(start, folder):
    request = SynthesisRequest({"us": image()}, targets=["t2"])
    left, recent, others = (folder / name for name in ("mmhvae-job-old", "mmhvae-job-new", "mmhvae-results"))
    long_ago = time.time() - 8 * 24 * 3600
    for each in (left, recent, others):
        each.mkdir()
        (each / "us.nrrd").write_bytes(b"")
    for each in (left, others):
        os.utime(each, (long_ago, long_ago))
    job = SynthesisJob(request, start)
    job.kill()
    assert not left.exists() and recent.exists() and others.exists()
    for each in (recent, others):
        (each / "us.nrrd").unlink()
        each.rmdir()
