"""A response in one write, on a real connection of uvloop; `test_protocol.py` has the rest."""

from __future__ import annotations

import asyncio
import socket

import pytest

from service.server.transport import ResponseTransport

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Connection:
    """One end of a socket pair with the transport around it, and the other end, as a client."""

    async def open(self) -> Connection:
        server, self.client = socket.socketpair()
        self.client.setblocking(False)
        self.inner, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=server)
        self.transport = ResponseTransport(self.inner, write_timeout_s=0.2, linger_timeout_s=0.2)
        return self

    async def receive(self) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.client, 65536), 5)


@pytest.fixture
async def connection() -> Connection:
    return await Connection().open()


async def test_a_head_is_sent_with_its_body(connection: Connection) -> None:
    connection.transport.write(HEAD)
    with pytest.raises(BlockingIOError):
        connection.client.recv(1)
    connection.transport.write(b"body")
    assert await connection.receive() == HEAD + b"body"


async def test_a_head_alone_is_sent_in_the_next_turn(connection: Connection) -> None:
    connection.transport.write(HEAD)
    assert await connection.receive() == HEAD


async def test_it_closes_at_once_where_nothing_is_received(connection: Connection) -> None:
    connection.transport.write(HEAD)
    connection.transport.close()
    assert await connection.receive() == HEAD
    assert await connection.receive() == b""
    assert connection.inner.is_closing()


async def test_it_lingers_while_a_request_is_received(connection: Connection) -> None:
    connection.transport.receiving = True
    connection.transport.write(HEAD)
    connection.transport.close()
    assert await connection.receive() == HEAD
    assert await connection.receive() == b""  # Half closed: the client can still send.
    assert connection.transport.is_closing()
    assert not connection.inner.is_closing()
    connection.transport.write(b"more")  # Is not sent any more.
    await asyncio.sleep(0.3)
    assert connection.inner.is_closing()


async def test_everything_else_is_the_transports_own(connection: Connection) -> None:
    assert connection.transport.get_extra_info("socket") is not None
    assert connection.transport.get_write_buffer_size() == 0
