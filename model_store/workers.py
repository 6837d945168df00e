"""A few files at a time, in threads that stop together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")

THREADS = 4
"""Files in transfer at a time: more did not help one machine, fewer leave a slow line idle."""


_STOP_POLL_S = 0.1
"""How soon a worker that waits notices that it should not any more."""


class Stopped(Exception):  # noqa: N818 -- a sign between threads that never reaches a caller
    """Another thread failed or the user interrupted, so this one gives up."""


class Stop:
    """Tells running workers to give up at their next block."""

    def __init__(self, outer: Stop | None = None) -> None:
        """Begin without a wish to stop.

        Args:
            outer: Stops these workers too, and others besides.
        """
        self._event = threading.Event()
        self._outer = outer

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
        if self._outer:
            self._outer.check()

    def wait(self, seconds: float) -> None:
        """Sleep, but not on once somebody asked to give up.

        Raises:
            Stopped: Caught by `for_each`.
        """
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check()
            self._event.wait(min(left, _STOP_POLL_S))


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
