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
    pool = ThreadPool(1, "test")
    pool.start()
    async with asyncio.timeout(10):
        pool = await pool.run(niceness)
        print(pool, await run_in_background(niceness, WORK_NICENESS), await run_in_background(niceness))
    await pool.stop()

os.nice(max(0, 17 - niceness()))  # The tests themselves may run under `nice`.
if os.getuid() == 0 and DROP:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
asyncio.run(main())
"""


async def test_work_runs_in_threads_and_its_result_is_set_in_the_loop() -> None:
    pool = ThreadPool(2, "test")
    pool.start()
    both = threading.Barrier(2)
    names = await asyncio.gather(
        *(pool.run(lambda: both.wait(5) >= 0 and threading.current_thread().name) for _ in "ab")
    )
    assert sorted(map(str, names)) == ["test-0", "test-1"]
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 // 0)
    await pool.stop()


async def test_work_that_is_cancelled_in_the_queue_does_not_run() -> None:
    pool = ThreadPool(1, "test")
    pool.start()
    gate, begun = threading.Event(), []
    first = pool.run(lambda: gate.wait(5))
    cancelled = pool.run(lambda: begun.append("cancelled"))
    last = pool.run(lambda: begun.append("last"))
    cancelled.cancel()
    gate.set()
    await asyncio.gather(first, last)
    assert begun == ["last"]
    await pool.stop()


async def test_stop_waits_for_running_work_and_cancels_queued_work() -> None:
    pool = ThreadPool(1, "test")
    pool.start()
    gate, entered = threading.Event(), threading.Event()
    running = pool.run(lambda: (entered.set(), gate.wait(5)))
    waiting = pool.run(lambda: None)
    await asyncio.to_thread(entered.wait, 5)
    stopping = asyncio.create_task(pool.stop())
    await asyncio.sleep(0.01)
    assert waiting.cancelled()
    assert not stopping.done()
    gate.set()
    await stopping
    assert (await running)[1]


async def test_stop_has_a_timeout(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("bentoml"), "propagate", True)  # BentoML turns it off when it serves.
    caplog.set_level(logging.WARNING, "bentoml")  # OpenVINO's converter leaves the root at errors only.
    pool, gate, entered = ThreadPool(2, "test"), threading.Event(), threading.Barrier(3)
    pool.start()
    running = [pool.run(lambda: entered.wait(5) >= 0 and gate.wait(30)) for _ in "ab"]
    await asyncio.to_thread(entered.wait, 5)
    await asyncio.wait_for(pool.stop(timeout_s=0.05), 10)
    assert not any(future.done() for future in running)
    assert [record.getMessage() for record in caplog.records] == [
        'threads are still running threads="test-0,test-1" waited_s=0.05'
    ]
    gate.set()
    assert await asyncio.gather(*running) == [True, True]


async def test_without_threads_no_work_is_accepted() -> None:
    pool = ThreadPool(1, "test")
    with pytest.raises(NotReadyError):
        pool.run(lambda: None)
    pool.start()
    await pool.stop()
    with pytest.raises(NotReadyError):
        pool.run(lambda: None)


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a niceness for each thread")
async def test_only_the_work_and_the_threads_it_starts_are_nice() -> None:
    def work() -> tuple[int, int]:
        with ThreadPoolExecutor(1) as pool:
            return niceness(), pool.submit(niceness).result()

    before = niceness()
    lowered = max(before, BACKGROUND_NICENESS)
    assert await run_in_background(work) == (lowered, lowered)
    assert niceness() == before
    assert await asyncio.to_thread(niceness) == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a niceness for each thread")
@pytest.mark.parametrize("drop", [True, False], ids=["without privileges", "as it is"])
def test_in_a_nice_process_niceness_is_not_changed(drop: bool) -> None:
    """As a unit of systemd may be; only a privileged process can lower its niceness again."""
    script = f"DROP = {drop}\n{NICER}"
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.stdout.split() == [str(max(17, niceness()))] * 3, ran.stderr


async def test_an_exception_is_raised_and_a_cancelled_call_is_not_resumed() -> None:
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
