from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.host.thread_pool import BACKGROUND_NICENESS, run_in_background
from tests.server import ROOT

NICER = """
import asyncio, os, threading
import concurrent.futures.thread  # Where no other user may read it, it cannot be imported later.
from service.host.thread_pool import WORK_NICENESS, ThreadPool, run_in_background

def niceness():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

async def main():
    workers = ThreadPool(1, "test")
    workers.start()
    async with asyncio.timeout(10):
        pool = await workers.run(niceness)
        print(pool, await run_in_background(niceness, WORK_NICENESS), await run_in_background(niceness))
    await workers.stop()

os.nice(17)
if os.getuid() == 0 and DROP:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
asyncio.run(main())
"""


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a niceness for each thread")
async def test_the_work_and_the_threads_it_starts_give_way_and_nobody_else_does() -> None:
    def work() -> tuple[int, int]:
        with ThreadPoolExecutor(1) as pool:
            return niceness(), pool.submit(niceness).result()

    before = niceness()
    assert await run_in_background(work) == (BACKGROUND_NICENESS, BACKGROUND_NICENESS)
    assert niceness() == before
    assert await asyncio.to_thread(niceness) == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a niceness for each thread")
@pytest.mark.parametrize("drop", [True, False], ids=["without privileges", "as it is"])
def test_in_a_process_that_gives_way_already_all_is_done_and_stays_as_it_is(drop: bool) -> None:
    """A unit of systemd may say so; nobody without privileges takes niceness back, and nobody should."""
    script = f"DROP = {drop}\n{NICER}"
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.stdout.split() == ["17", "17", "17"], ran.stderr


async def test_what_it_raises_is_raised_and_who_gave_up_hears_nothing() -> None:
    def fail() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        await run_in_background(fail)
    gate = threading.Event()
    waiting = asyncio.create_task(run_in_background(lambda: gate.wait(5)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0.05)
