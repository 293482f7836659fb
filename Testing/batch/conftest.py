import pytest

GOOD = 27


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
