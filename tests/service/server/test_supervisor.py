"""Circus as `patch_supervisor` leaves it: a stop that comes while processes are being started is not forgotten."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from circus.arbiter import Arbiter
from circus.sockets import CircusSocket
from circus.watcher import Watcher
from tornado.ioloop import IOLoop

from service.server.supervisor import patch_supervisor
from tests.server import free_port

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
