"""A server whose edges come, leave, send nonsense, and are told what changes and when it stops."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from service.core.errors import RunnerLostError
from service.ipc.client import Connection
from service.ipc.messages import HEAD_BYTES, FrameAddress

from .backend import Backend, connected, fails, images, request, until


@pytest.fixture
def tcp_address() -> FrameAddress:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return FrameAddress.beside("http://127.0.0.1:3000", probe.getsockname()[1])


@pytest.fixture
async def remote(tcp_address: FrameAddress) -> AsyncIterator[Backend]:
    """A runner that listens at a port."""
    made = Backend()
    made.batcher.start()
    await made.server.start(tcp_address)
    yield made
    made.engine.gate.set()
    await made.batcher.stop()
    await made.server.stop()


async def test_every_edge_learns_the_state_at_once_and_every_change(backend: Backend, address: FrameAddress) -> None:
    edges = [await connected(address) for _ in range(3)]
    assert [edge.state for edge in edges] == [backend.state] * 3
    backend.change(default=None, waiting_for="version 2 is warming")
    await until(lambda: all(edge.state and edge.state.default is None for edge in edges))
    late = await connected(address)
    assert late.state == backend.state
    for edge in (*edges, late):
        edge.abort()


async def test_an_edge_that_goes_leaves_nothing_to_do(connection: Connection, backend: Backend) -> None:
    backend.engine.gate.clear()
    sent = [asyncio.create_task(connection.infer(request(connection, images(1)), 10)) for _ in range(6)]
    reload = asyncio.create_task(connection.reload(10))
    await asyncio.to_thread(backend.engine.entered.acquire)
    await until(lambda: backend.batcher.images == 5 and bool(backend.reloads))
    connection.abort()
    for task in (*sent, reload):
        assert "connection lost" in str(await fails(task))
    await until(lambda: backend.reloads[0].cancelled())
    backend.engine.gate.set()
    await backend.batcher.stop()
    assert backend.images_run == 1


async def test_a_socket_that_a_killed_runner_left_behind_is_replaced(
    connection: Connection, backend: Backend, address: FrameAddress
) -> None:
    await backend.server.stop()
    assert address.path is not None
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(address.path)
    await backend.server.start(address)
    again = await connected(address)
    assert await again.infer(request(again, images(1)), 10)
    again.abort()


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\nHost: runner\r\n\r\n".ljust(HEAD_BYTES), bytes(HEAD_BYTES), b"\xff" * HEAD_BYTES]
)
async def test_no_frame_ends_the_connection(backend: Backend, address: FrameAddress, head: bytes) -> None:
    assert address.path is not None
    reader, writer = await asyncio.open_unix_connection(address.path)
    writer.write(head)
    await asyncio.wait_for(reader.read(), 5)  # The state, and the end.
    writer.close()


async def test_a_request_over_the_limit_ends_the_connection(connection: Connection) -> None:
    with pytest.raises(RunnerLostError, match="connection lost"):
        await connection.infer(request(connection, images(16, side=299)), 10)


async def test_over_tcp(remote: Backend, tcp_address: FrameAddress) -> None:
    connection = await connected(tcp_address)
    assert (await connection.infer(request(connection, images(2)), 10)).scores.shape == (2, 1)
    connection.abort()


async def test_edges_beside_it_are_served_until_they_disconnect(connection: Connection, backend: Backend) -> None:
    drain = asyncio.create_task(backend.server.drain(10))
    await asyncio.sleep(0.05)
    assert await connection.infer(request(connection, images(1)), 10)
    assert not drain.done()
    connection.close()
    await asyncio.wait_for(drain, 5)


async def test_edges_elsewhere_are_sent_away_and_get_their_responses(
    remote: Backend, tcp_address: FrameAddress
) -> None:
    idle, busy = [await connected(tcp_address) for _ in range(2)]
    remote.engine.gate.clear()
    sent = asyncio.create_task(busy.infer(request(busy, images(1)), 10))
    await asyncio.to_thread(remote.engine.entered.acquire)
    drain = asyncio.create_task(remote.server.drain(10))
    for edge in (idle, busy):
        assert "shutting down" in str(await asyncio.wait_for(edge.wait_ended(), 5))
        with pytest.raises(RunnerLostError, match="shutting down"):
            await edge.infer(request(edge, images(1)), 10)
    with pytest.raises(RunnerLostError):
        await connected(tcp_address)
    assert not sent.done()
    remote.engine.gate.set()
    assert (await sent).scores.shape == (1, 1)
    await asyncio.wait_for(drain, 5)


async def test_a_request_that_crosses_with_goaway_may_be_sent_to_another_runner(
    remote: Backend, tcp_address: FrameAddress
) -> None:
    edge = await connected(tcp_address)
    remote.engine.gate.clear()
    first = asyncio.create_task(edge.infer(request(edge, images(1)), 10))
    await asyncio.to_thread(remote.engine.entered.acquire)
    (server_side,) = remote.server._connections
    server_side._draining = True  # GOAWAY is on its way.
    with pytest.raises(RunnerLostError, match="shutting down"):
        await edge.infer(request(edge, images(1)), 10)
    remote.engine.gate.set()
    assert await first
    edge.abort()


async def test_a_drain_waits_only_so_long(connection: Connection, backend: Backend) -> None:
    await asyncio.wait_for(backend.server.drain(0.05), 5)
    assert connection.error is None
