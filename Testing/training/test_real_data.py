import os
from pathlib import Path

import pytest

from MMHVAESynthesisLib.training import cases, presets

DATA = Path(os.environ.get("MMHVAE_DATA", "nowhere"))


@pytest.mark.skipif(not (DATA / "mri").is_dir(), reason="MMHVAE_DATA is not set or has no folder mri")
def test_the_demonstrator_never_trains_on_its_held_out_cases():
    data = presets.demonstrator().data
    to_train, held_out = cases.split(cases.find(DATA, data.folders), data)
    assert {case.name for case in held_out} == set(data.held_out)
    assert len(to_train) == 37 and not {case.name for case in to_train} & set(data.held_out)


@pytest.mark.skipif(not (DATA / "mri" / "BraTS2021_01484").is_dir(), reason="MMHVAE_DATA lacks BraTS2021_01484")
def test_white_matter_of_a_patient_lies_between_the_extremes_of_its_contrasts():
    case = cases.load(DATA / "mri" / "BraTS2021_01484", presets.demonstrator().data)
    relative = {name: case.white_matter[name] / case.ranges[name].high for name in case.modalities}
    # white matter is dark in T2, the brightest tissue but vessels in ceT1, in the middle in FLAIR
    assert relative["t2"] < 0.35 < relative["flair"] < 0.6 and 0.4 < relative["cet1"] < 0.65
