import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from MMHVAESynthesisLib.training import distributed, loop, state

WORKER = """
import sys
import torch
from pathlib import Path
from MMHVAESynthesisLib.training import config, distributed, loop

torch.set_num_threads(1)
run, complete = loop.train(Path(sys.argv[1]), Path(sys.argv[2]), config.load(sys.argv[3]))
weights = torch.cat([p.detach().reshape(-1) for p in run.learner.network.parameters()])
both = distributed.gather(weights)
assert torch.equal(both[0], both[1]), "the processes went apart"
assert complete
distributed.stop()
"""


def start(arguments, rank, port):
    library = Path(loop.__file__).parents[2]
    environment = dict(os.environ, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", OMP_NUM_THREADS="1")
    environment.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), PYTHONPATH=str(library))
    command = [sys.executable, "-c", WORKER, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, encoding="utf-8")


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this PyTorch has no gloo")
@pytest.mark.parametrize("subsets", ["uniform", "all"])
def test_two_processes_stay_alike_and_save_one_state_with_both_pools(data, config, tmp_path, subsets):
    # With all subsets a case of FLAIR alone makes one step, one of all contrasts seven.
    dataclasses.replace(config, epochs=3, epoch_batches=2, subsets=subsets).save(tmp_path / "config.json")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = (data, tmp_path / "state", tmp_path / "config.json")
    processes = [start(arguments, rank, port) for rank in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    saved, _ = state.load(tmp_path / "state")
    assert saved["step"] == 3  # two batches an epoch, one for each process
    assert len(saved["learner"]["pools"]) == 2


def test_one_process_alone_needs_nothing_started():
    parameter = torch.nn.Parameter(torch.ones(2))
    distributed.average_gradients([parameter])
    assert parameter.grad is None
    assert (distributed.rank(), distributed.world(), distributed.gather(3)) == (0, 1, [3])
    assert distributed.any_process(True) and not distributed.any_process(False)
