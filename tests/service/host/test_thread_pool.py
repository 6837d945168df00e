"""Threads that work for an event loop, and their niceness."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.core.errors import NotReadyError
from service.host.thread_pool import BACKGROUND_NICENESS, ThreadPool, run_in_background
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


async def test_work_is_done_in_threads_and_answered_in_the_loop() -> None:
    workers = ThreadPool(2, "test")
    workers.start()
    both = threading.Barrier(2)
    names = await asyncio.gather(
        *(workers.run(lambda: both.wait(5) >= 0 and threading.current_thread().name) for _ in "ab")
    )
    assert sorted(map(str, names)) == ["test-0", "test-1"]
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 // 0)
    await workers.stop()


async def test_what_is_cancelled_before_its_turn_is_not_begun() -> None:
    workers = ThreadPool(1, "test")
    workers.start()
    gate, begun = threading.Event(), []
    first = workers.run(lambda: gate.wait(5))
    cancelled = workers.run(lambda: begun.append("cancelled"))
    last = workers.run(lambda: begun.append("last"))
    cancelled.cancel()
    gate.set()
    await asyncio.gather(first, last)
    assert begun == ["last"]
    await workers.stop()


async def test_stop_ends_what_runs_and_cancels_what_waits() -> None:
    workers = ThreadPool(1, "test")
    workers.start()
    gate, entered = threading.Event(), threading.Event()
    running = workers.run(lambda: (entered.set(), gate.wait(5)))
    waiting = workers.run(lambda: None)
    await asyncio.to_thread(entered.wait, 5)
    stopping = asyncio.create_task(workers.stop())
    await asyncio.sleep(0.01)
    assert waiting.cancelled()
    assert not stopping.done()
    gate.set()
    await stopping
    assert (await running)[1]


async def test_stop_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("bentoml"), "propagate", True)  # BentoML turns it off when it serves.
    caplog.set_level(logging.WARNING, "bentoml")  # OpenVINO's converter leaves the root at errors only.
    workers, gate, entered = ThreadPool(2, "test"), threading.Event(), threading.Barrier(3)
    workers.start()
    running = [workers.run(lambda: entered.wait(5) >= 0 and gate.wait(30)) for _ in "ab"]
    await asyncio.to_thread(entered.wait, 5)
    await asyncio.wait_for(workers.stop(timeout_s=0.05), 10)
    assert not any(future.done() for future in running)
    assert [record.getMessage() for record in caplog.records] == [
        'threads are still running threads="test-0,test-1" waited_s=0.05'
    ]
    gate.set()
    assert await asyncio.gather(*running) == [True, True]


async def test_nothing_is_taken_on_that_nobody_would_do() -> None:
    workers = ThreadPool(1, "test")
    with pytest.raises(NotReadyError):
        workers.run(lambda: None)
    workers.start()
    await workers.stop()
    with pytest.raises(NotReadyError):
        workers.run(lambda: None)


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
