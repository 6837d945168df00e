"""A runner's server, and a connection to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.ipc.client import Connection
from service.ipc.messages import FrameAddress

from .backend import Backend, connected


@pytest.fixture
def address(tmp_path: Path) -> FrameAddress:
    return FrameAddress(str(tmp_path / "runner.sock.frames"))


@pytest.fixture
async def backend(address: FrameAddress) -> AsyncIterator[Backend]:
    made = Backend()
    made.batcher.start()
    await made.server.start(address)
    yield made
    made.engine.gate.set()
    await made.batcher.stop()
    await made.server.stop()


@pytest.fixture
async def connection(backend: Backend, address: FrameAddress) -> AsyncIterator[Connection]:
    made = await connected(address)
    yield made
    made.abort()
