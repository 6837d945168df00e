"""How connections are accepted; `test_protocol.py` sees it through uvicorn's own server."""

from __future__ import annotations

import asyncio
import inspect
import resource
import socket
import ssl
from typing import Any

import pytest
import uvicorn

from service.server import listener
from tests.service.http_server import ask, serving, until


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


def test_uvicorn_opens_its_sockets_as_is_expected_here() -> None:
    source = inspect.getsource(uvicorn.Server.startup)
    assert "loop.create_server(" in source
    assert "sock=" in source


def test_the_limit_of_open_files_is_the_hard_one() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, before[0]), before[1]))
        listener.raise_open_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_every_waiting_client_is_served() -> None:
    async with serving(application) as (server, address):
        request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answers = await asyncio.gather(*(ask(address, request) for _ in range(100)))
        assert all(answer.startswith(b"HTTP/1.1 200 OK") for answer in answers)
        await until(lambda: not server.server_state.connections)


@pytest.mark.parametrize(("processes", "at_once"), [(1, 64), (4, 8)])
async def test_no_more_than_a_limit_in_one_turn(processes: int, at_once: int) -> None:
    listener.tune_listener(processes)
    made = 0

    def protocol() -> asyncio.Protocol:
        nonlocal made
        made += 1
        return asyncio.Protocol()

    with socket.create_server(("127.0.0.1", 0), backlog=128) as waiting:
        waiting.setblocking(False)
        clients = [socket.create_connection(waiting.getsockname()) for _ in range(100)]
        turn = listener._AcceptLoop(protocol, waiting, {}, at_once)
        turn.accept()
        assert len(turn._connecting) == at_once - 1
        await until(lambda: made == at_once)
        for client in clients:
            client.close()


async def test_tls_connections_are_closed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {}

    async def create_server(_: Any, **given: Any) -> None:
        options.update(given)

    monkeypatch.setattr(asyncio.get_running_loop(), "create_server", create_server, raising=False)
    listener.tune_listener()
    context = ssl.create_default_context()
    await asyncio.get_running_loop().create_server(asyncio.Protocol, ssl=context)
    assert options == {"ssl": context, "ssl_shutdown_timeout": 2.0}
