"""Circus as `patch_supervisor` leaves it: a stop that comes while processes are being started is not forgotten."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from circus.arbiter import Arbiter
from circus.sockets import CircusSocket
from circus.watcher import Watcher
from tornado.ioloop import IOLoop

from service.server.supervisor import patch_supervisor
from tests.server import ROOT, free_port

_SIGNALS = (signal.SIGHUP, signal.SIGQUIT, signal.SIGINT, signal.SIGTERM, signal.SIGWINCH)

START_S = 0.15
"""How long the supervisor takes to start its two processes."""


@pytest.fixture(autouse=True)
def patched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}  # Circus installs its own.
    for name in ("__init__", "manage_watchers", "stop"):
        monkeypatch.setattr(Arbiter, name, getattr(Arbiter, name))
    patch_supervisor()
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
async def arbiter() -> AsyncIterator[Arbiter]:
    """A supervisor of two processes that hands them the port of an edge, as BentoML makes one."""
    watchers = [Watcher(name, "sleep", args=["60"], graceful_timeout=5) for name in ("edge", "runner")]
    made = Arbiter(
        watchers,
        f"tcp://127.0.0.1:{free_port()}",
        f"tcp://127.0.0.1:{free_port()}",
        check_delay=10,
        warmup_delay=START_S,
        loop=IOLoop.current(),
        sockets=[CircusSocket("edge", host="127.0.0.1", port=free_port())],
    )
    yield made
    for watcher in watchers:
        for process in watcher.processes.values():
            process.stop()


def port_of(arbiter: Arbiter) -> int:
    return int(arbiter.sockets["edge"].port)


async def test_processes_are_looked_at_four_times_a_second(arbiter: Arbiter) -> None:
    assert arbiter.check_delay == 0.25


async def test_a_look_while_processes_are_started_is_skipped(arbiter: Arbiter) -> None:
    starting = arbiter.start()
    assert arbiter.manage_watchers() is None
    await starting
    await arbiter.manage_watchers()
    await arbiter.stop()


@pytest.mark.parametrize("after_ms", [0, 5, 10, 25, 40, 100, 200])
async def test_a_stop_during_the_start_is_carried_out(arbiter: Arbiter, after_ms: int) -> None:
    starting = asyncio.ensure_future(arbiter.start())
    await asyncio.sleep(after_ms / 1000)
    arbiter.stop()
    async with asyncio.timeout(10):
        await starting
        while not arbiter._stopping or any(watcher.processes for watcher in arbiter.watchers):  # noqa: ASYNC110 -- no event
            await asyncio.sleep(0.01)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(arbiter)), timeout=5)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_only_inherited_tcp_listeners_are_closed() -> None:
    code = "from service.server.supervisor import close_inherited_listeners as close; close()\n"
    code += "import os, sys\nfor number in map(int, sys.argv[1:]):\n"
    code += "    try: os.fstat(number); print('open')\n    except OSError: print('closed')\n"
    listener, unix, connected = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX), socket.socket()
    with listener, unix, connected:
        unix.bind("\0service-test-" + str(os.getpid()))
        unix.listen()
        connected.connect(listener.getsockname())
        numbers = [one.fileno() for one in (listener, unix, connected)]
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, numbers)],
            cwd=ROOT,
            pass_fds=numbers,
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.split() == ["closed", "open", "open"]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_a_process_ends_when_its_parent_was_killed() -> None:
    child = "from service.server.supervisor import end_with_supervisor as f; f(); print('up', flush=True)\n"
    child += "import signal\nsignal.pause()\n"
    parent = "import subprocess, sys, signal\n"
    parent += f"subprocess.Popen([sys.executable, '-c', {child!r}])\nsignal.pause()\n"
    with subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGKILL)
        assert process.stdout.read() == b""  # Its end of the pipe is closed once the child has ended, too.
