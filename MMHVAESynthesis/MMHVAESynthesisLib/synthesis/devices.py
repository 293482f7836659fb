"""Where to compute, and how much at a time."""

import ctypes
import logging
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Iterator, Optional

import torch

from ..errors import DeviceError
from ..network.sizes import NetworkSizes
from ..request import SynthesisRequest
from ..volumes.checks import is_no_memory

log = logging.getLogger(__name__)

_BYTES_A_PIXEL_AND_FEATURE = 120
"""Peak memory of one slice through the network: measured 66 MB at 192 x 192 and 16 features."""

_LARGEST_BATCH = 32

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What PyTorch says: of GPUs; of a CPU; of a CPU under Windows. For what ITK says see :func:`is_no_memory`."""

_HOST = torch.device("cpu")

_M_ARENA_MAX = -8
"""The number of glibc's option (malloc.h)."""


@dataclass(frozen=True)
class Resources:
    """Where and how a request is computed.

    :param device: The torch device.
    :param workers: Threads that each take a slice.
    :param batch: Slices that go through the network together.
    :param half_precision: Whether convolutions run in float16.
    """

    device: torch.device
    workers: int
    batch: int
    half_precision: bool


def available_devices():
    """Return the names of the devices that this machine has, best first."""
    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return [*names, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def described(device: str) -> str:
    """Return what a user wants to know of a device of this machine."""
    if device.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device)}, {torch.cuda.mem_get_info(device)[1] / 1e9:.0f} GB"
    return "Apple GPU" if device == "mps" else f"{cores()} core{'s' if cores() > 1 else ''}"


def torch_version() -> str:
    """Return the version of PyTorch."""
    return str(torch.__version__)


def computes(device: str) -> bool:
    """Return whether this PyTorch can compute on a device that is there: for older GPUs it may have no kernels."""
    try:
        with torch.inference_mode():
            image = torch.zeros(1, 1, 8, 8, device=device)
            torch.nn.functional.conv2d(image, image[..., :3, :3]).cpu()
    except (RuntimeError, AssertionError) as error:
        log.debug("%s cannot be used", device, exc_info=error)
        return False
    return True


def find_device(name: str) -> torch.device:
    """Return the device of a checked name; ``auto`` is CUDA where there is one that works, else MPS, else the CPU.

    :raises DeviceError: when this machine has no such device, or PyTorch cannot compute on it.
    """
    available = available_devices()
    if name == "auto":
        return torch.device(next(filter(_works, available), "cpu"))
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in available:
        raise DeviceError(f"There is no device {name!r} here. Choose among: auto, {', '.join(available)}.")
    if not _works(wanted):
        raise DeviceError(
            f"PyTorch {torch_version()} cannot compute on {wanted}: its memory may be full, or PyTorch may not support "
            "it any more. Choose the device 'cpu', or install a PyTorch that does."
        )
    return torch.device(wanted)


def _works(device: str) -> bool:
    if device == "cpu" or computes(device):
        return True
    log.warning("%s is there, but PyTorch %s cannot compute on it.", device, torch_version())
    return False


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def batch_for(free_bytes: int, sizes: NetworkSizes) -> int:
    """Return how many slices fit into half of the free memory, 1 to 32."""
    slice_bytes = _BYTES_A_PIXEL_AND_FEATURE * sizes.size**2 * sizes.base_features
    return max(1, min(_LARGEST_BATCH, free_bytes // 2 // slice_bytes))


def find_resources(request: SynthesisRequest, sizes: NetworkSizes) -> Resources:
    """Decide where a request is computed.

    :raises DeviceError: when the device is absent, or cannot compute in half precision.
    """
    device = find_device(request.device)
    if request.half_precision and device.type != "cuda":
        raise DeviceError(
            f"Half precision needs CUDA; this would run on {device}. Choose a CUDA device, or leave half precision off."
        )
    if device.type == "cpu":
        return Resources(device, request.workers or cores(), 1, False)
    return Resources(device, 1, request.batch or _batch_on(device, sizes), request.half_precision)


def _batch_on(device: torch.device, sizes: NetworkSizes) -> int:
    if device.type == "cuda":
        return batch_for(torch.cuda.mem_get_info(device)[0], sizes)
    return 4


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the memory of the device, or of this machine, ran out."""
    text = str(error).lower()
    return (
        is_no_memory(error)
        or isinstance(error, torch.cuda.OutOfMemoryError)
        or (isinstance(error, RuntimeError) and any(words in text for words in _OUT_OF_MEMORY))
    )


def release_memory(device: torch.device) -> None:
    """Give back what a device holds in reserve.

    On a CPU that is what the allocator kept of memory that was freed: reading a model frees three times its size. Only
    glibc has to be asked for it, and asked by name.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps" and hasattr(torch, "mps"):
        torch.mps.empty_cache()
    elif device.type == "cpu" and sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def use_one_heap() -> None:
    """Let all threads of this process take memory from one heap, so that what one has freed serves another.

    Only glibc has heaps by thread, and only it is asked. Slices take few and large blocks: nobody waits for the heap.
    """
    if sys.platform.startswith("linux"):
        set_option = getattr(ctypes.CDLL(None), "mallopt", None)
        if set_option is not None:
            set_option(_M_ARENA_MAX, 1)


def out_of_memory(device: torch.device, cause: Optional[BaseException] = None) -> DeviceError:
    """Return the error for the user where a device's memory ran out; of a GPU, even with one slice at a time."""
    log.debug("out of memory on %s", device, exc_info=cause)
    if device.type == "cpu":
        return DeviceError("The memory of this machine ran out: close other programs, or use fewer workers.")
    return DeviceError(
        f"The memory of {device} ran out, even with one slice at a time. Choose the device 'cpu': "
        "slower, with the same result to rounding."
    )


@contextmanager
def memory_of(device: torch.device = _HOST) -> Iterator[None]:
    """Tell the user where memory runs out within the block.

    :param device: Whose memory it takes; without, this machine's.
    :raises DeviceError: in place of the error that says so.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(device, error) from error
