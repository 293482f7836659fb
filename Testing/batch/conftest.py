import os
import shutil
import tempfile
from pathlib import Path

import pytest

GOOD = 27
NOBODY = 65534


@pytest.fixture
def shut():
    """``shut(mode, *paths)`` takes rights to what is in ``shut.folder`` away; root is nobody from then on."""
    if not hasattr(os, "geteuid"):
        pytest.skip("no such rights here")
    folder, user, taken = Path(tempfile.mkdtemp(prefix="mmhvae-rights-")), os.geteuid(), []
    folder.chmod(0o755)

    def take(mode, *paths):
        taken.extend(paths)
        for path in paths:
            path.chmod(mode)
            if user == 0:
                shutil.chown(path, NOBODY)
        if user == 0:
            os.seteuid(NOBODY)

    take.folder = folder
    yield take
    os.seteuid(user)
    for path in taken:
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    pytest.importorskip("torch")
    from synthesis.making import model_file

    return model_file(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def settings(model):
    from MMHVAESynthesisLib.batch.settings import Settings

    return Settings(targets=("t2",), model=model, samples=2, seed=5, device="cpu", workers=1)


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    from .making import cohort

    return cohort(tmp_path_factory.mktemp("a cohort"), GOOD)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, table, settings):
    """The results of a run of 30 cases that nothing disturbed: ``(result, folder, progress reports)``."""
    from MMHVAESynthesisLib.batch.runner import run_batch
    from MMHVAESynthesisLib.batch.table import read_table

    from .making import BROKEN

    folder = tmp_path_factory.mktemp("undisturbed") / "new" / "out"
    reports = []
    result = run_batch(read_table(table), settings, folder, reports.append)
    assert len(result.outcomes) == GOOD + len(BROKEN)
    return result, folder, reports
