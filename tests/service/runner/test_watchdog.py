"""A process that cannot go on ends itself, and says where it stood."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import asyncio, logging, time
from service.runner import watchdog

logging.basicConfig()
watchdog._SILENT_S = 1.0
watchdog._PAUSE_S = 0.05
reason = None

async def main():
    global reason
    watching = asyncio.create_task(watchdog.Watchdog(lambda: reason).run())
    await asyncio.sleep(0.2)
    {then}
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)

asyncio.run(main())
{afterwards}
print("went on")
"""


def run(then: str, afterwards: str = "") -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(then=then, afterwards=afterwards)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)


def test_one_that_is_told_it_is_stuck_ends_with_a_stack() -> None:
    done = run("reason = 'the engine hangs'; await asyncio.sleep(30)")
    assert (done.returncode, done.stdout) == (70, "")
    assert "the engine hangs; this process ends, another takes its place" in done.stderr
    assert "most recent call first" in done.stderr


def test_one_whose_event_loop_stands_still_ends_with_a_stack() -> None:
    done = run("time.sleep(30)")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Timeout" in done.stderr
    assert "in main" in done.stderr


def test_one_that_goes_on_is_left_alone_and_forgotten_when_it_stops() -> None:
    done = run("await asyncio.sleep(1.5)", afterwards="time.sleep(1.5)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")
