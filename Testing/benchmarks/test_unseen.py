import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks import unseen  # noqa: E402
from MMHVAESynthesisLib.models import checkpoint  # noqa: E402
from MMHVAESynthesisLib.models.header import ModelHeader  # noqa: E402
from MMHVAESynthesisLib.models.loading import load  # noqa: E402
from MMHVAESynthesisLib.network.model import MMHVAE  # noqa: E402
from MMHVAESynthesisLib.network.sizes import NetworkSizes  # noqa: E402

SIZES = NetworkSizes(size=32, base_features=8, max_features=8, halvings=2, decoder_blocks=0, decoder_features=4)
FOLDERS = """
import sys, types
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import registration
options = types.SimpleNamespace(data=Path(sys.argv[2]), modalities=["t2"], model=sys.argv[3], cases=sys.argv[4:])
print(*(folder.name for folder in registration.folders_of(options)))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "own.safetensors"
    training = {"cases": ["TCGA-DU-7294", "seen"], "held_out": ["kept", "also"]}
    checkpoint.save(path, ModelHeader("own", SIZES, spacing=1.0, training=training), MMHVAE(SIZES))
    return path


def test_the_models_own_held_out_cases_are_measured_on_and_none_that_it_saw(model):
    assert unseen.names(load(str(model))) == ["kept", "also"]
    assert unseen.names(load(str(model)), ["new"]) == ["new"]
    with pytest.raises(SystemExit, match="trained on TCGA-DU-7294"):
        unseen.names(load(str(model)), ["new", "TCGA-DU-7294"])


def test_whether_a_pair_was_seen_is_known_by_the_name_of_its_case(model, tmp_path):
    assert [unseen.says(load(str(model)), case) for case in ("seen", "kept")] == ["yes", "no"]
    checkpoint.save(tmp_path / "foreign.safetensors", ModelHeader("foreign", SIZES), MMHVAE(SIZES))
    assert unseen.says(load(str(tmp_path / "foreign.safetensors")), "seen") == "unknown"


@pytest.mark.parametrize(("named", "said"), [((), "kept"), (("seen",), "trained on seen"), (("new",), "new")])
def test_registration_takes_fields_of_view_from_unseen_cases(model, tmp_path, named, said):
    for name in ("kept", "seen", "new", "TCGA-DU-7294"):
        (tmp_path / "mri" / name).mkdir(parents=True)
        (tmp_path / "mri" / name / "t2.nii.gz").write_bytes(b"")
    benchmarks = Path(unseen.__file__).parent
    library = benchmarks.parents[1] / "MMHVAESynthesis"
    words = [sys.executable, "-c", FOLDERS, *map(str, (benchmarks, tmp_path, model, *named))]
    run = subprocess.run(words, env=dict(os.environ, PYTHONPATH=str(library)), capture_output=True, text=True)
    assert (run.stdout.split() == [said]) if run.returncode == 0 else said in run.stderr
