"""Work that gives way to requests: a thread of its own, with a lower claim on the processor."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from .priority import BACKGROUND, give_way

T = TypeVar("T")


async def in_background(work: Callable[[], T], niceness: int = BACKGROUND) -> T:
    """Run `work` in a new thread and return what it returns.

    Linux keeps a niceness for each thread, hands it on to those that the thread starts, and lets nobody without
    privileges take it back: hence a thread that ends with its work, and not one of a pool.

    Raises:
        Exception: Whatever `work` raises.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        give_way(niceness)
        try:
            result, error = work(), None
        except Exception as raised:
            result, error = None, raised
        with suppress(RuntimeError):  # The loop has closed meanwhile: nobody waits any more.
            loop.call_soon_threadsafe(finish, result, error)

    threading.Thread(target=run, name="background", daemon=True).start()
    return await done
