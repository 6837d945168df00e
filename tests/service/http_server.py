"""uvicorn's own server with this service's connections, in the process of a test, and callers of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from service.server.listener import tune_listener
from service.server.protocol import HttpProtocol

ServerOf = tuple[uvicorn.Server, tuple[str, int]]
"""A server, and where it listens."""


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[ServerOf]:
    """Serve an application at a free port."""
    tune_listener()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(app, http=HttpProtocol, loop="none", lifespan="off", log_config=None, timeout_keep_alive=30)
        )
        running = asyncio.create_task(server.serve([listener]))
        await until(lambda: server.started)
        try:
            yield server, listener.getsockname()
        finally:
            server.should_exit = True
            await asyncio.wait_for(running, 10)


async def until(come_true: Callable[[], bool]) -> None:
    """Wait for something that nobody tells."""
    while not come_true():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def ask(address: tuple[str, int], *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send parts and return what comes until the connection is closed."""
    reader, writer = await asyncio.open_connection(*address)
    for part in parts:
        writer.write(part)
        await asyncio.sleep(pause_s)
    received = await reader.read()
    writer.close()
    return received
