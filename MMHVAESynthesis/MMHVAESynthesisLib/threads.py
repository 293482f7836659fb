"""One thread for a library that would share its work out among several, whoever else uses it at the same time."""

import importlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable


class OneThread:
    """A context in which a library computes on one thread; the last that leaves it gives back the number of before.

    The number is the whole process's: where two runs overlap, the first to end must not change it under the other.

    :param get: Returns the library's number of threads, and ``set_to`` changes it.
    """

    def __init__(self, get: Callable[[], int], set_to: Callable[[int], Any]):
        self._get, self._set_to = get, set_to
        self._lock, self._users, self._before = threading.Lock(), 0, 1

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._before = self._get()
                self._set_to(1)
            self._users += 1

    def __exit__(self, *error) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._set_to(self._before)


def _of_torch(name: str, *given: int) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(getattr(importlib.import_module("torch"), name), *given).result()


# PyTorch keeps the number for new threads apart from that of each thread that has computed already: from a new one,
# only the former is read and set. So the caller's own stays what it is.
ONE_TORCH_THREAD = OneThread(lambda: _of_torch("get_num_threads"), lambda count: _of_torch("set_num_threads", count))
"""Threads made within it compute with PyTorch on one: so results repeat bit for bit, and none waits for another.

One for the whole process, as PyTorch's number is. Loads PyTorch when it is first entered.
"""


def on_one_torch_thread(call: Callable[..., Any], *given: Any) -> Any:
    """Return what a call returns, and raise what it raises, made in a thread in which PyTorch computes on one."""
    set_to = importlib.import_module("torch").set_num_threads
    with ONE_TORCH_THREAD, ThreadPoolExecutor(1, initializer=set_to, initargs=(1,)) as pool:
        return pool.submit(call, *given).result()
