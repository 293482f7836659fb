import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.ultrasound.simulate import simulate_sweep
from MMHVAESynthesisLib.ultrasound.tissue import tissue_from_mr


@pytest.fixture(scope="module")
def case():
    folder = Path(os.environ.get("MMHVAE_DATA", "")) / "mri" / "BraTS2021_01482"
    if not os.environ.get("MMHVAE_DATA") or not (folder / "seg.nii.gz").exists():
        pytest.skip("MMHVAE_DATA is not set or lacks mri/BraTS2021_01482")
    contrasts = {m: sitk.ReadImage(str(folder / f"{m}.nii.gz")) for m in ("t2", "cet1", "flair")}
    return contrasts, sitk.ReadImage(str(folder / "seg.nii.gz"))


def test_histogram_lies_within_that_of_real_sweeps(case):
    medians, uppers, shares = [], [], []
    for seed in range(3):
        us = sitk.GetArrayFromImage(simulate_sweep(case[0], seed, case[1]).us)
        medians.append(np.median(us[us > 0]))
        uppers.append(np.percentile(us[us > 0], 95))
        shares.append((us > 0).mean())
    assert 18 < np.mean(medians) < 55
    assert 40 < np.mean(uppers) < 130
    assert 0.15 < np.mean(shares) < 0.45


def test_tissue_follows_the_contrasts(case):
    arrays = {m: sitk.GetArrayFromImage(image) for m, image in case[0].items()}
    label = sitk.GetArrayFromImage(case[1])
    tissue = tissue_from_mr(arrays, label, 1.0)
    assert 0.005 < (tissue.fluid > 0.5).sum() / (arrays["t2"] > 0).sum() < 0.15
    fluid, sulci = tissue.fluid > 0.5, tissue.sulcus > 0.5
    brain = (arrays["t2"] > 0) & ~fluid & ~sulci & (label == 0)
    assert np.median(arrays["t2"][fluid]) > 1.5 * np.median(arrays["t2"][brain])
    assert np.median(arrays["t2"][sulci]) > 1.1 * np.median(arrays["t2"][brain])
    assert np.median(arrays["flair"][fluid]) < 0.8 * np.median(arrays["flair"][brain])
