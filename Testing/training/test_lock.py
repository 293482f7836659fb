import os
import subprocess
import sys

import pytest

from MMHVAESynthesisLib.errors import OutputError
from MMHVAESynthesisLib.training import lock, loop

HOLDER = """
import sys
from pathlib import Path
from MMHVAESynthesisLib.training.lock import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Start another process that holds a folder, and return it."""
    paths = [os.path.dirname(os.path.dirname(os.path.dirname(lock.__file__)))]
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "state")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        text=True,
    )
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.communicate()


def test_a_second_training_into_a_state_is_refused_until_the_first_ends(holder, tmp_path, data, config):
    with pytest.raises(OutputError, match="Another training is at work in .*state: .* another folder with --state"):
        loop.train(data, tmp_path / "state", config)
    assert [file.name for file in (tmp_path / "state").iterdir()] == [lock.FILE], "nothing was begun"
    holder.communicate("")
    with lock.only_one(tmp_path / "state"):
        pass
    assert not list((tmp_path / "state").iterdir())


def test_a_lock_ends_with_the_process_that_held_it(holder, tmp_path):
    holder.kill()
    holder.wait()
    assert (tmp_path / "state" / lock.FILE).exists(), "which had no time to take it away"
    with lock.only_one(tmp_path / "state"):
        pass


def test_a_lock_ends_with_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), lock.only_one(tmp_path):
            raise KeyError
    assert not list(tmp_path.iterdir())
