"""Whose case a line of the log belongs to."""

import logging
import threading
from contextlib import contextmanager
from typing import Iterator


class _CaseName(logging.Filter):
    """Puts a case's name in front of what one thread logs, once, however many handlers there are."""

    def __init__(self, name: str):
        super().__init__()
        self._name, self._thread = name, threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        if threading.get_ident() == self._thread and not hasattr(record, "mmhvae_case"):
            record.msg, record.args = f"{self._name}: {record.getMessage()}", ()
            record.mmhvae_case = self._name
        return True


@contextmanager
def named_in_log(name: str) -> Iterator[None]:
    """Put a case's name in front of whatever this thread logs while the block runs."""
    case, handlers = _CaseName(name), list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(case)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(case)
