import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def data():
    folder = os.environ.get("MMHVAE_DATA")
    if not folder:
        pytest.skip("MMHVAE_DATA is not set")
    return Path(folder)


@pytest.fixture
def model(module, tmp_path):
    """A small random network of coarse pixels, so that a whole head takes seconds."""
    torch = pytest.importorskip("torch", reason="not installed: torch")
    from MMHVAESynthesisLib.models.checkpoint import save
    from MMHVAESynthesisLib.models.header import ModelHeader
    from MMHVAESynthesisLib.network.model import MMHVAE
    from MMHVAESynthesisLib.network.sizes import NetworkSizes

    torch.manual_seed(0)
    sizes = NetworkSizes(base_features=4, max_features=8, halvings=4, size=64, decoder_blocks=1, decoder_features=4)
    save(tmp_path / "coarse.safetensors", ModelHeader(name="coarse", sizes=sizes, spacing=4.0), MMHVAE(sizes))
    return str(tmp_path / "coarse.safetensors")


def loaded(slicer, path, name):
    if not path.is_file():
        pytest.skip(f"MMHVAE_DATA lacks {path.name}")
    return slicer.util.loadVolume(str(path), {"name": name})


def test_three_grids_of_a_raw_head_under_one_transform(slicer, scene, module, model, data):
    from scene import scenes

    head = data / "raw" / "TCGA-FG-6692"
    inputs = {key: loaded(slicer, head / f"{key}.nii.gz", key) for key in ("t2", "cet1", "flair")}
    transform = scenes.parent(inputs["t2"], scenes.rotation(25))
    for node in inputs.values():
        node.SetAndObserveTransformNodeID(transform.GetID())
    nodes = module.MMHVAESynthesisLogic().synthesize(inputs, targets=["us"], model=model, device="cpu")
    made = nodes["us"]
    assert np.abs(scenes.matrix_of(made) - scenes.matrix_of(inputs["t2"])).max() == 0
    assert made.GetTransformNodeID() == transform.GetID()
    assert made.GetImageData().GetDimensions() == inputs["t2"].GetImageData().GetDimensions()
    voxels = slicer.util.arrayFromVolume(made)
    assert voxels.dtype == np.float32 and 0 <= voxels.min() and voxels.max() <= 255 and voxels.std() > 0


def test_a_parent_transform_changes_where_and_not_what(slicer, scene, module, model, data):
    from scene import scenes

    us = loaded(slicer, data / "ius" / "Case27" / "us.nii.gz", "US")
    logic = module.MMHVAESynthesisLogic()
    free = logic.synthesize({"us": us}, targets=["t2"], model=model, device="cpu")["t2"]
    scenes.parent(us, scenes.rotation(25))
    under = logic.synthesize({"us": us}, targets=["t2"], model=model, device="cpu")["t2"]
    np.testing.assert_allclose(slicer.util.arrayFromVolume(under), slicer.util.arrayFromVolume(free), atol=0.05)
    assert (slicer.util.arrayFromVolume(under)[slicer.util.arrayFromVolume(us) == 0] == 0).all()
