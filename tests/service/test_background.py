from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.background import in_background
from service.priority import BACKGROUND
from tests.server import ROOT

NICER = """
import asyncio, os, threading
import concurrent.futures.thread  # Where no other user may read it, it cannot be imported later.
from service.background import in_background
from service.priority import WORK
from service.workers import Workers

def niceness():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

async def main():
    workers = Workers(1, "test")
    workers.start()
    async with asyncio.timeout(10):
        print(await workers.run(niceness), await in_background(niceness, WORK), await in_background(niceness))
    await workers.stop()

os.nice(max(0, 17 - niceness()))  # The tests themselves may run under `nice`.
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
    lowered = max(before, BACKGROUND)
    assert await in_background(work) == (lowered, lowered)
    assert niceness() == before
    assert await asyncio.to_thread(niceness) == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a niceness for each thread")
@pytest.mark.parametrize("drop", [True, False], ids=["without privileges", "as it is"])
def test_in_a_process_that_gives_way_already_all_is_done_and_stays_as_it_is(drop: bool) -> None:
    """A unit of systemd may say so; nobody without privileges takes niceness back, and nobody should."""
    script = f"DROP = {drop}\n{NICER}"
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.stdout.split() == [str(max(17, niceness()))] * 3, ran.stderr


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
