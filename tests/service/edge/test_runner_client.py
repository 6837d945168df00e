"""The edge's watch over a runner that says strange things, or nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from service.core.serving_state import RunnerState
from service.edge.runner_client import RunnerClient

STATE = RunnerState(
    name="xception", process="a", changes=1, waiting_for=None, default=1, labels={}, versions=(), served=()
)

GARBAGE = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope"


class Strange:
    """A runner that takes frames and never answers, and says what it is told to where it is watched."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "runner.sock")
        self.answer = GARBAGE
        self.asked = 0
        self.client = RunnerClient()

    async def start(self) -> None:
        self._servers = [
            await asyncio.start_unix_server(self._describe, self.path),
            await asyncio.start_unix_server(self._hold, f"{self.path}.frames"),
        ]
        await self.client.start(f"file://{self.path}", 0)

    async def stop(self) -> None:
        await self.client.stop()
        for server in self._servers:
            server.close()

    def say(self, state: RunnerState) -> None:
        body = state.model_dump_json().encode()
        self.answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    async def _describe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        await asyncio.sleep(0.02)
        writer.write(self.answer)
        writer.close()

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()


@pytest.fixture
async def strange(tmp_path: Path) -> AsyncIterator[Strange]:
    made = Strange(tmp_path)
    await made.start()
    yield made
    await made.stop()


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- of another task
            await asyncio.sleep(0.01)


async def test_what_nobody_foresaw_is_said_once_and_the_watch_goes_on(
    strange: Strange, caplog: pytest.LogCaptureFixture
) -> None:
    await wait_until(lambda: strange.asked > 2)
    assert not strange.client.ready
    strange.say(STATE)
    await wait_until(lambda: strange.client.ready)
    assert (await strange.client.state()).default == 1
    strange.say(STATE.model_copy(update={"changes": 2, "default": None}))
    await wait_until(lambda: not strange.client.ready)
    assert [record.levelno for record in caplog.records if "cannot be watched" in record.message] == [logging.ERROR]
