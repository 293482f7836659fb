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


MEANS = """
import sys
import numpy as np
import torch
from pathlib import Path
from MMHVAESynthesisLib.training import config, distributed, loop
from MMHVAESynthesisLib.training.learner import Learner

torch.set_num_threads(1)
loop._ROW_EVERY = 2
distributed.start(torch.device("cpu"))
rank = distributed.rank()


def check_gradients():
    shared, mine, nobodys = (torch.nn.Parameter(torch.zeros(3)) for _ in range(3))
    shared.grad = torch.full((3,), 1.0 + 2 * rank)
    if rank == 1:
        mine.grad = torch.full((3,), 4.0)
    distributed.average_gradients([shared, mine, nobodys])
    assert shared.grad.tolist() == [2.0] * 3, "no mean of what both have"
    assert mine.grad.tolist() == [2.0] * 3, "no mean where one has none"
    assert nobodys.grad is None


class After:
    def __init__(self, steps):
        self.left = steps

    def is_set(self):
        self.left -= 1
        return self.left <= 0


def same(one, other):
    return one.inputs.keys() == other.inputs.keys() and all(
        np.array_equal(one.inputs[name], other.inputs[name]) for name in one.inputs
    )


check_gradients()
batches, l1 = [], []
learn = Learner.learn


def noting(self, batch, step, epoch):
    terms = learn(self, batch, step, epoch)
    batches.append(batch)
    l1.append(terms["l1"])
    return terms


Learner.learn = noting
words = Path(sys.argv[1]), Path(sys.argv[2]), config.load(sys.argv[3])
loop.train(*words, cancel=After(3))
run, complete = loop.train(*words)
assert complete and len(batches) == 4
assert all(same(batch, run.batches.batch(2 * step + rank)) for step, batch in enumerate(batches)), "other batches"
assert not any(same(batch, run.batches.batch(2 * step + 1 - rank)) for step, batch in enumerate(batches))
both = np.array(distributed.gather(l1))
wanted = [both[:, :2].mean(), both[:, 2:].mean()]
assert np.allclose([row["l1"] for row in run.losses.rows], wanted, rtol=1e-6, atol=0), "no means of both"
assert abs(both[0].mean() / both[1].mean() - 1) > 1e-4
distributed.stop()
"""


def start(worker, arguments, rank, port):
    library = Path(loop.__file__).parents[2]
    environment = dict(os.environ, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", OMP_NUM_THREADS="1")
    environment.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), PYTHONPATH=str(library))
    command = [sys.executable, "-c", worker, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, encoding="utf-8")


def run_two(worker, data, config, folder):
    config.save(folder / "config.json")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = (data, folder / "state", folder / "config.json")
    processes = [start(worker, arguments, rank, port) for rank in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors


needs_gloo = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this PyTorch has no gloo")


@needs_gloo
def test_gradients_and_curves_are_means_over_processes_that_take_different_batches(data, config, tmp_path):
    run_two(MEANS, data, dataclasses.replace(config, epochs=4, epoch_batches=2), tmp_path)
    saved, _ = state.load(tmp_path / "state")
    assert saved["step"] == 4 and saved["means"] == "{}"


@needs_gloo
@pytest.mark.parametrize("subsets", ["uniform", "all"])
def test_two_processes_stay_alike_and_save_one_state_with_both_pools(data, config, tmp_path, subsets):
    # With all subsets a case of FLAIR alone makes one step, one of all contrasts seven.
    run_two(WORKER, data, dataclasses.replace(config, epochs=3, epoch_batches=2, subsets=subsets), tmp_path)
    saved, _ = state.load(tmp_path / "state")
    assert saved["step"] == 3  # two batches an epoch, one for each process
    assert len(saved["learner"]["pools"]) == 2


def test_one_process_alone_needs_nothing_started():
    parameter = torch.nn.Parameter(torch.ones(2))
    distributed.average_gradients([parameter])
    assert parameter.grad is None
    assert (distributed.rank(), distributed.world(), distributed.gather(3)) == (0, 1, [3])
    assert distributed.any_process(True) and not distributed.any_process(False)
