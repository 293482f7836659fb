"""The example case in Slicer's Sample Data: registered, fetched with its checksums, and what it says it is."""

import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from MMHVAESynthesisLib.modalities import recognise

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "Resources" / "SampleData"


@pytest.fixture
def sample_data(slicer):
    from MMHVAESynthesisLib.scene import sample_data

    return sample_data


@pytest.fixture
def catalogue(slicer, tmp_path, monkeypatch):
    """Slicer's Sample Data, empty, with an empty cache."""
    import SampleData

    manager = slicer.mrmlScene.GetCacheManager()
    former = manager.GetRemoteCacheDirectory()
    manager.SetRemoteCacheDirectory(str(tmp_path))
    monkeypatch.setattr(SampleData.SampleDataLogic, "sources", {})
    yield SampleData.SampleDataLogic
    manager.SetRemoteCacheDirectory(former)


@pytest.fixture
def here(sample_data, monkeypatch):
    """The repository's files where they lie on this machine."""
    monkeypatch.setattr(sample_data, "URL", FOLDER.as_uri() + "/")


def files_of(sample_data):
    return {each.modality: each for sample in sample_data.SAMPLES for each in sample.files}


def test_the_committed_files_are_those_that_are_registered_and_small(sample_data, catalogue, slicer, module):
    module.registerSampleData()
    sources = catalogue.sources["MMHVAE"]
    registered = {name: sum_ for source in sources for name, sum_ in zip(source.fileNames, source.checksums)}
    assert sorted(registered) == sorted(path.name for path in FOLDER.iterdir())
    for name, checksum in registered.items():
        assert checksum == "SHA256:" + slicer.util.computeChecksum("SHA256", str(FOLDER / name))
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2e6
    assert all(uri.startswith("https://") and uri.endswith(".nrrd") for source in sources for uri in source.uris)


def test_the_address_is_that_of_this_folder_in_the_repository(sample_data):
    homepage = re.search(r'EXTENSION_HOMEPAGE "([^"]+)"', (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")).group(
        1
    )
    raw = homepage.replace("github.com", "raw.githubusercontent.com")
    assert sample_data.URL == f"{raw}/main/{FOLDER.relative_to(ROOT).as_posix()}/"


def test_registering_again_adds_nothing_and_the_thumbnails_have_slicers_size(catalogue, module):
    module.registerSampleData()
    module.registerSampleData()
    names = [source.sampleName for source in catalogue.sources["MMHVAE"]]
    assert names == ["MMHVAE phantom iUS", "MMHVAE phantom MR"]
    for source in catalogue.sources["MMHVAE"]:
        header = Path(source.thumbnailFileName).read_bytes()[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", header[16:]) == (260, 280)


def test_a_module_that_is_loaded_after_slicers_start_offers_it_once_its_panel_opens(catalogue, panel, module):
    from slicer_headless.modules import open_panel

    # By the panel of the fixture, which opens after that of the catalogue emptied it; and by another one.
    assert len(catalogue.sources["MMHVAE"]) == 2
    open_panel(module).cleanup()
    assert [source.sampleName for source in catalogue.sources["MMHVAE"]] == ["MMHVAE phantom iUS", "MMHVAE phantom MR"]


def test_a_slicer_that_knows_categories_gets_one_and_one_without_the_module_gets_nothing(
    catalogue, module, monkeypatch
):
    made = []
    monkeypatch.setattr(
        catalogue, "registerCustomSampleDataCategory", lambda name, title: made.append((name, title)), raising=False
    )
    module.registerSampleData()
    assert made == [("MMHVAE", "MMHVAE")]
    catalogue.sources.clear()
    monkeypatch.setitem(sys.modules, "SampleData", None)
    module.registerSampleData()
    assert catalogue.sources == {}


def test_loading_gives_the_volumes_under_names_that_say_what_they_are(
    scene, sample_data, catalogue, here, module, slicer
):
    import SimpleITK as sitk

    module.registerSampleData()
    nodes = [node for name in ("MMHVAE phantom iUS", "MMHVAE phantom MR") for node in catalogue.downloadSamples(name)]
    assert [recognise(node.GetName()) for node in nodes] == ["us", "t2", "cet1", "flair"]
    for node, each in zip(nodes, files_of(sample_data).values()):
        there = sitk.GetArrayFromImage(sitk.ReadImage(str(FOLDER / each.name)))
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), there)
        assert node.GetStorageNode() is None


def test_over_the_web_too_and_a_file_that_was_changed_on_its_way_is_refused(
    scene, sample_data, catalogue, module, monkeypatch, tmp_path
):
    import http.server
    import shutil
    import threading
    from functools import partial

    import SimpleITK as sitk

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    served = shutil.copytree(FOLDER, tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setattr(sample_data, "URL", f"http://127.0.0.1:{server.server_address[1]}/")
        module.registerSampleData()
        (node,) = catalogue.downloadSamples("MMHVAE phantom iUS")
        size = sitk.ReadImage(str(FOLDER / files_of(sample_data)["us"].name)).GetSize()
        assert node.GetImageData().GetDimensions() == size
        changed = served / files_of(sample_data)["flair"].name
        changed.write_bytes(changed.read_bytes()[:-1] + b"x")
        with pytest.raises(ValueError, match="Failed to download"):
            catalogue.downloadSamples("MMHVAE phantom MR")
        server.shutdown()


def test_the_files_are_what_the_script_makes_and_the_mr_fits_at_its_true_place():
    script = f"""
import sys
sys.path[:0] = [{str(ROOT / "Testing")!r}]
import sample_data
import numpy as np, SimpleITK as sitk
from MMHVAESynthesisLib.scene.sample_data import SAMPLES
made, read = sample_data.volumes(), {{}}
for each in (file for sample in SAMPLES for file in sample.files):
    image = read[each.modality] = sitk.ReadImage({str(FOLDER)!r} + "/" + each.name)
    new, old = (sitk.GetArrayFromImage(volume).astype(int) for volume in (made[each.modality], image))
    np.testing.assert_allclose(made[each.modality].GetOrigin(), image.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(made[each.modality].GetDirection(), image.GetDirection(), atol=1e-9)
    # Another numpy or scipy may round a few voxels to the other side.
    assert new.shape == old.shape and (np.abs(new - old) > 1).mean() < 1e-3, each.name
from demo import PATIENT
from MMHVAESynthesisLib.ultrasound.phantom import phantom
truth = sitk.GetArrayFromImage(sitk.Resample(phantom(PATIENT)["t2"], read["us"])).astype(float)
seen = sitk.GetArrayFromImage(read["us"]) > 0
def likeness(transform):
    there = sitk.GetArrayFromImage(sitk.Resample(read["t2"], read["us"], transform)).astype(float)
    return np.corrcoef(there[seen], truth[seen])[0, 1]
print(likeness(sample_data.displacement()), likeness(sitk.Transform()))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    true, given = map(float, done.stdout.split())
    assert true > 0.97 and given < 0.7
