"""A few threads at a time, cancelled together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")

THREADS = 4
"""Concurrent transfers: more did not help one machine, fewer leave a slow line idle."""


_STOP_POLL_S = 0.1
"""Interval at which a waiting worker checks for cancellation."""


class Stopped(Exception):  # noqa: N818 -- a signal between threads, never raised to users
    """This thread is cancelled, since another one failed or the user interrupted."""


class Stop:
    """A cancellation token: workers check it at each block."""

    def __init__(self, outer: Stop | None = None) -> None:
        """Create a token that is not set.

        Args:
            outer: A token that cancels these workers too.
        """
        self._event = threading.Event()
        self._outer = outer

    def set(self) -> None:
        """Cancel every worker."""
        self._event.set()

    def check(self) -> None:
        """Raise `Stopped` once the token is set.

        Raises:
            Stopped: Caught by `for_each`.
        """
        if self._event.is_set():
            raise Stopped
        if self._outer:
            self._outer.check()

    def wait(self, seconds: float) -> None:
        """Sleep until the time is over or the token is set.

        Raises:
            Stopped: Caught by `for_each`.
        """
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check()
            self._event.wait(min(left, _STOP_POLL_S))


def for_each(items: Iterable[_T], work: Callable[[_T, Stop], _R], threads: int = THREADS) -> list[_R]:
    """Return the result of `work` for each item, in order; the first failure cancels the others and is raised.

    When it returns or raises, Ctrl-C included, no worker is running.
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
