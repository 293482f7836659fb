"""The main job on real images: outputs on the input's grid, background exactly where it has none."""

import os
from pathlib import Path

import pytest

pytest.importorskip("torch")

from MMHVAESynthesisLib.request import SynthesisRequest  # noqa: E402
from MMHVAESynthesisLib.synthesis.engine import synthesize  # noqa: E402
from MMHVAESynthesisLib.volumes.files import read, same_geometry  # noqa: E402

from .making import array, model_file  # noqa: E402

DATA = Path(os.environ.get("MMHVAE_DATA", ""))
VOLUMES = sorted(DATA.glob("ius/*/us.nii.gz")) if os.environ.get("MMHVAE_DATA") else []
HEADS = DATA / "raw" / "TCGA-FG-6692"
needs_data = pytest.mark.skipif(not VOLUMES, reason="MMHVAE_DATA does not name a folder with real images")


def check(result, reference, background):
    for image in result.images.values():
        assert same_geometry(reference, image, 1e-9)
        found = array(image)
        assert (found[background] == 0).all()
        # At a model spacing four times the volume's, a lone voxel may fall between the model's pixels.
        assert (found[~background] == 0).mean() < 1e-3


@needs_data
@pytest.mark.parametrize("file", VOLUMES, ids=lambda file: file.parent.name)
def test_every_real_ultrasound(tmp_path, file):
    us = read(file)
    result = synthesize(SynthesisRequest({"us": us}, ["t2", "flair"], model_file(tmp_path, 2.0, size=64), device="cpu"))
    check(result, us, array(us) <= 0)


@needs_data
def test_a_whole_head_as_scanned_on_three_grids(tmp_path):
    heads = {modality: read(next(HEADS.glob(f"{modality}*"))) for modality in ("t2", "cet1", "flair")}
    result = synthesize(SynthesisRequest(heads, ["us", "t2"], model_file(tmp_path, 2.0, size=64), device="cpu"))
    check(result, heads["t2"], array(heads["t2"]) == array(heads["t2"]).min())
    assert any("skull" in warning for warning in result.warnings)
