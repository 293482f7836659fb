"""Several processes, one a GPU, started by ``torchrun``: ranks, the mean of gradients, gathered states.

DistributedDataParallel is not used: a step makes three passes before one backward pass, and which encoders get a
gradient differs from process to process. The mean of the gradients is taken here instead, once a step.
"""

import os
import sys
from typing import Any, Iterable, List

import torch
from torch import distributed as dist
from torch import nn

from ..synthesis.devices import find_device


def start(device: torch.device) -> None:
    """Join the other processes if ``torchrun`` started this one."""
    if "WORLD_SIZE" in os.environ and int(os.environ["WORLD_SIZE"]) > 1 and not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")


def stop() -> None:
    """Leave the other processes; unless an error is on its way, together.

    One that goes while another still speaks to it can end with an abort; after an error the others may never come.
    """
    if dist.is_initialized():
        if sys.exc_info()[0] is None:
            dist.barrier()
        dist.destroy_process_group()


def local_device(name: str) -> torch.device:
    """Return the device ``name``; for ``cuda`` under ``torchrun`` this process's own one.

    :raises DeviceError: when this machine has no such device.
    """
    return find_device(f"cuda:{os.environ['LOCAL_RANK']}" if name == "cuda" and "LOCAL_RANK" in os.environ else name)


def rank() -> int:
    """Return this process's number, 0 when there is one only."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Return how many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def any_process(flag: bool) -> bool:
    """Return whether ``flag`` is set in any process, so that all stop at the same step."""
    if world() == 1:
        return flag
    flags: List[Any] = [None] * world()
    dist.all_gather_object(flags, flag)
    return any(flags)


def most(count: int) -> int:
    """Return the largest ``count`` of all processes."""
    return max(gather(count))


def gather(value: Any) -> List[Any]:
    """Return ``value`` of all processes, in the order of their ranks."""
    if world() == 1:
        return [value]
    values: List[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the processes.

    A parameter without a gradient in every process keeps none, and so gets no step; without one in some it counts as 0.
    """
    if world() == 1:
        return
    mine = list(parameters)
    present = torch.tensor([float(p.grad is not None) for p in mine], device=mine[0].device)
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in mine])
    dist.all_reduce(present)
    dist.all_reduce(flat)
    parts = (flat / world()).split([p.numel() for p in mine])
    for parameter, count, part in zip(mine, present.tolist(), parts):
        parameter.grad = part.view_as(parameter) if count else None
