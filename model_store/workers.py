"""A few files at a time, in threads that stop together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")

THREADS = 4
"""Files in transfer at a time: more did not help one machine, fewer leave a slow line idle."""


class Stopped(Exception):  # noqa: N818 -- a sign between threads that never reaches a caller
    """Another thread failed or the user interrupted, so this one gives up."""


class Stop:
    """Tells running workers to give up at their next block."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask every worker to give up."""
        self._event.set()

    def check(self) -> None:
        """Raise `Stopped` once somebody asked to give up.

        Raises:
            Stopped: Caught by `for_each`.
        """
        if self._event.is_set():
            raise Stopped


def for_each(items: Iterable[_T], work: Callable[[_T, Stop], _R], threads: int = THREADS) -> list[_R]:
    """Return what `work` makes of each item, in order; the first failure stops the others and is raised.

    When it returns or raises, Ctrl-C included, no worker runs any more.
    """
    stop = Stop()
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="model-store") as pool:
        futures = [pool.submit(work, item, stop) for item in items]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            if not all(future.done() for future in futures):
                stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
    failures = [error for future in futures if not future.cancelled() and (error := future.exception())]
    for error in failures:
        if not isinstance(error, Stopped):
            raise error
    return [future.result() for future in futures]
