from __future__ import annotations

import asyncio
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.background import in_background


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a niceness for each thread")
async def test_the_work_and_the_threads_it_starts_give_way_and_nobody_else_does() -> None:
    def work() -> tuple[int, int]:
        with ThreadPoolExecutor(1) as pool:
            return niceness(), pool.submit(niceness).result()

    before = niceness()
    assert await in_background(work) == (before + 10, before + 10)
    assert niceness() == before
    assert await asyncio.to_thread(niceness) == before


async def test_what_it_raises_is_raised_and_who_gave_up_hears_nothing() -> None:
    def fail() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        await in_background(fail)
    gate = threading.Event()
    waiting = asyncio.create_task(in_background(lambda: gate.wait(5)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0.05)
