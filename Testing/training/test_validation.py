import dataclasses

import numpy as np
import pytest

from MMHVAESynthesisLib.network.model import MMHVAE
from MMHVAESynthesisLib.training import cases
from MMHVAESynthesisLib.training.validation import Validation

from .conftest import TINY, brain, sweep, write


def loaded(folder, config, wanted):
    """Return cases, each with iUS and the MR that is named; ``wanted`` names one ``rare`` to put among the others."""
    rng = np.random.default_rng(0)
    for name, modalities in wanted.items():
        write(folder / "paired" / name, "us", sweep(rng, (10, 20, 18)))
        for modality in modalities:
            write(folder / "paired" / name, modality, brain(rng, (10, 20, 18)))
    return cases.load_all(cases.find(folder), config.data)


@pytest.mark.parametrize("place", range(10))
def test_every_modality_of_the_held_out_cases_is_validated_on(paired, tmp_path, place):
    _, config = paired
    wanted = {f"case{number}": ("t2", "flair") if number == place else ("t2",) for number in range(10)}
    validation = Validation(loaded(tmp_path / "many", config, wanted), config)
    assert {"us>t2", "us>flair", "flair>t2", "all>flair"} <= set(validation.psnr(MMHVAE(TINY)))
    batches = validation._paired
    assert 4 <= len(batches) <= 5 and len({batch.cases for batch in batches}) == len(batches)


def test_what_is_drawn_from_itself_is_validated_on_from_all_others(paired, tmp_path):
    _, config = paired
    own = dataclasses.replace(TINY, reconstruction="own")
    held_out = loaded(tmp_path / "many", config, {"case0": ("t2", "flair"), "case1": ("t2", "flair")})
    found = Validation(held_out, dataclasses.replace(config, sizes=own)).psnr(MMHVAE(own))
    assert {"others>us", "others>t2", "others>flair", "us>t2", "t2>t2"} <= set(found)
    assert not [name for name in found if name.startswith("all>")]


def test_what_the_first_blocks_show_and_what_the_network_does_not_know_brings_no_more(paired, tmp_path):
    _, config = paired
    config = dataclasses.replace(config, sizes=dataclasses.replace(TINY, modalities=("us", "t2")))
    held_out = loaded(tmp_path / "many", config, {f"case{number}": ("t2", "cet1") for number in range(6)})
    assert len(Validation(held_out, config)._paired) == 4


def test_crops_are_validated_on_as_many_batches_as_ever(data, config):
    held_out = cases.load_all(cases.split(cases.find(data), config.data)[1], config.data)
    validation = Validation(held_out, config)
    assert (len(validation._paired), len(validation._real)) == (4, 4)
