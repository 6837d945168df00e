"""Threads that work for an event loop: a lower cost per call than an executor, and strictly in order of submission."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from service.core.errors import NotReadyError
from service.telemetry.log_format import Event

log = logging.getLogger("bentoml.workers")

T = TypeVar("T")

WORK_NICENESS = 10
"""Niceness of decoding and inference: a tenth of the share of a thread at 0 that competes for the same core."""

BACKGROUND_NICENESS = 15
"""Niceness of work that no request waits for: a third of that."""

_STOP_TIMEOUT_S = 5.0
"""Seconds that `ThreadPool.stop` waits in total; the largest image takes about 2 s of a core."""

_Job = tuple["asyncio.Future[Any]", Callable[[], Any]]


def set_niceness(niceness: int) -> None:
    """Raise the niceness of this thread and of those it starts; only a privileged process can lower it again.

    Linux only: there each thread has a niceness of its own. A thread that is as nice already, as in a service that was
    started with `nice`, is not changed, nor is any thread if the system forbids it.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):
            if os.getpriority(os.PRIO_PROCESS, thread) < niceness:
                os.setpriority(os.PRIO_PROCESS, thread, niceness)


class ThreadPool:
    """A few threads and their queue. Only the submitted functions run outside the thread of the event loop."""

    def __init__(self, threads: int, name: str) -> None:
        """Keep the number of threads, and their name in a stack dump."""
        self._number = threads
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads, for the running event loop."""
        loop = asyncio.get_running_loop()
        for number in range(self._number):
            thread = threading.Thread(target=self._work, args=(loop,), name=f"{self._name}-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    async def stop(self, timeout_s: float = _STOP_TIMEOUT_S) -> None:
        """Stop the threads after their current work; queued work is cancelled.

        Args:
            timeout_s: Total time to wait; threads that still run then are logged, and end with the process.
        """
        with suppress(Empty):
            while True:  # A thread may take the last item concurrently, so this does not block.
                if job := self._jobs.get_nowait():
                    job[0].cancel()
        for _ in self._threads:
            self._jobs.put(None)
        threads, self._threads = self._threads, []
        end = time.monotonic() + timeout_s
        for thread in threads:
            await asyncio.to_thread(thread.join, max(0.0, end - time.monotonic()))
        if busy := [thread.name for thread in threads if thread.is_alive()]:
            log.warning(Event("threads are still running", threads=",".join(busy), waited_s=timeout_s))

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Run `work` in a thread; cancelling the future before it starts prevents it.

        Raises:
            NotReadyError: The threads are not running.
        """
        if not self._threads:
            raise NotReadyError("the service is shutting down")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((future, work))
        return future

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        set_niceness(WORK_NICENESS)
        while job := self._jobs.get():
            future, work = job
            if not future.cancelled():
                _call(work, future, loop)
            del job, future, work  # Free them while the thread waits.


async def run_in_background(work: Callable[[], T], niceness: int = BACKGROUND_NICENESS) -> T:
    """Run `work` in a new thread and return what it returns.

    Threads inherit the niceness of the thread that starts them; without privileges it cannot be lowered again: hence
    a thread of its own, and not one of a pool.

    Raises:
        BaseException: Whatever `work` raises.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        set_niceness(niceness)
        _call(work, future, loop)

    threading.Thread(target=run, name="background", daemon=True).start()
    return await future


def _call(work: Callable[[], T], future: asyncio.Future[T], loop: asyncio.AbstractEventLoop) -> None:
    """Call `work`, and set the result or the error of the future in the thread of the loop."""
    result, error = None, None
    try:
        result = work()
    except BaseException as raised:  # Passed on to the future, whatever it is.
        error = raised
    with suppress(RuntimeError):  # The loop is closed.
        loop.call_soon_threadsafe(_settle, future, result, error)
    del work, future, result, error  # The traceback of the error refers to this frame.


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():  # Cancelled while the work ran.
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
