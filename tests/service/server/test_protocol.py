"""What a connection may do, through uvicorn's own server and real sockets."""

from __future__ import annotations

import asyncio
import inspect
import re
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.metadata import version

import orjson
import pytest
import uvloop
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.http.request_body import INVALID_BODY
from service.server import protocol as connection
from service.server.protocol import MAX_HEAD_BYTES, HttpProtocol
from tests.service.http_server import ServerOf, ask, serving, until

LONG = 4 * 2**20
"""Bytes of an answer that no socket's buffer holds."""

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the path, or with many bytes; `/early` does not wait for the body."""
    if scope["path"] == "/hold":
        await asyncio.sleep(0.8)
    if scope["method"] == "POST" and scope["path"] != "/early":
        while (await receive()).get("more_body"):
            pass
    body = b"x" * LONG if scope["path"] == "/long" else scope["path"].encode()
    body = b"broken" if INVALID_BODY in scope else body
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


def test_what_is_used_of_uvicorn_is_there() -> None:
    """Another release: read `protocol.py` and `transport.py` beside its source, then change the first line."""
    assert version("uvicorn").startswith("0.54.")
    overridden = {name for name in vars(HttpProtocol) if hasattr(HttpToolsProtocol, name) and not name.startswith("__")}
    assert overridden == {
        "connection_made",
        "connection_lost",
        "data_received",
        "on_headers_complete",
        "on_body",
        "on_message_complete",
        "on_response_complete",
        "pause_writing",
        "resume_writing",
        "send_400_response",
        "_unsupported_upgrade_warning",
    }
    assert callable(HttpToolsProtocol._should_upgrade)
    protocol, cycle = inspect.getsource(HttpToolsProtocol), inspect.getsource(RequestResponseCycle)
    for name in ("transport", "parser", "flow", "cycle", "pipeline", "headers", "loop", "server_state"):
        assert re.search(rf"self\.{name}\b.* = ", protocol), name
    for name in ("timeout_keep_alive", "ws_protocol_class"):
        assert f"self.{name} = config.{name}" in protocol
    for name in ("scope", "keep_alive", "more_body", "message_event", "response_complete"):
        assert f"self.{name} = " in cycle
    assert STATUS_LINE[400] == b"HTTP/1.1 400 Bad Request\r\n"
    assert 'b"\\r\\n"' in cycle  # The end of a head, by which `ResponseTransport` knows it.


def on_uvloop(test: Callable[[ServerOf], Awaitable[None]]) -> Callable[[], None]:
    async def run() -> None:
        async with serving(answer) as server:
            await asyncio.wait_for(test(server), 20)

    def wrapped() -> None:
        uvloop.run(run())

    wrapped.__name__, wrapped.__doc__ = test.__name__, test.__doc__  # type: ignore[attr-defined]
    return wrapped


def status_and_error(received: bytes) -> tuple[int, str]:
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    return int(head.split()[1]), orjson.loads(body)["error"]


@on_uvloop
async def test_an_answer_is_one_write(server: ServerOf) -> None:
    with socket.create_connection(server[1]) as caller:
        caller.setblocking(False)
        loop = asyncio.get_running_loop()
        for _ in range(20):
            await loop.sock_sendall(caller, GET)
            received = await loop.sock_recv(caller, 65536)
            assert received.startswith(b"HTTP/1.1 200 OK\r\n"), received
            assert received.endswith(b"\r\n\r\n/"), received


@on_uvloop
async def test_all_who_wait_are_taken_in_one_turn(server: ServerOf) -> None:
    """Without `tune_listener` uvloop takes one in a turn."""
    callers = [socket.create_connection(server[1]) for _ in range(60)]
    for _ in range(8):  # Turns in which the first is seen, the others are taken, and all begin.
        await asyncio.sleep(0)
    assert len(server[0].server_state.connections) == 60
    for caller in callers:
        caller.close()


@pytest.mark.parametrize("piece", [b"a" * 4096, b"x: y\r\n" * 700], ids=["no end of a line", "no end of lines"])
@pytest.mark.parametrize(
    "start",
    [
        b"GET /",
        b"GET / HTTP/1.1\r\nx: ",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: ",
    ],
    ids=["path", "head", "behind the body"],
)
def test_a_head_has_a_limit(start: bytes, piece: bytes) -> None:
    @on_uvloop
    async def test(server: ServerOf) -> None:
        reader, writer = await asyncio.open_connection(*server[1])
        sent = 0
        writer.write(start)
        with_an_end = asyncio.create_task(reader.read())
        while not with_an_end.done():
            assert sent < 20 * MAX_HEAD_BYTES
            writer.write(piece)
            sent += len(piece)
            await asyncio.sleep(0.002)
        writer.close()

    test()


@on_uvloop
async def test_a_refused_head_is_told_why(server: ServerOf) -> None:
    status, error = status_and_error(await ask(server[1], b"GET / HTTP/1.1\r\n", b"x: " + b"a" * MAX_HEAD_BYTES))
    assert (status, error) == (431, "the head is over the limit of 65536 bytes")


@on_uvloop
async def test_a_head_in_pieces_before_a_long_body_is_taken(server: ServerOf) -> None:
    head = b"POST /first HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\nConnection: close\r\n\r\n"
    received = await ask(server[1], head[:20], head[20:] + b"x" * 150_000, b"x" * 150_000, pause_s=0.05)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")


@on_uvloop
async def test_what_is_no_http_is_refused_as_json(server: ServerOf) -> None:
    assert status_and_error(await ask(server[1], b"\x16\x03\x01\x02\x00")) == (400, "this is not an HTTP/1.1 request")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience of half a second."""
    for name in ("_FIRST_REQUEST_TIMEOUT_S", "_HEAD_TIMEOUT_S", "_WRITE_TIMEOUT_S"):
        monkeypatch.setattr(connection, name, 0.5)


@pytest.mark.usefixtures("short")
class TestPatience:
    """Callers for whom nobody waits for ever."""

    def test_half_a_head(self) -> None:
        @on_uvloop
        async def test(server: ServerOf) -> None:
            status, error = status_and_error(await ask(server[1], b"GET / HT", b"TP/1.1\r\n", b"x: y\r\n", pause_s=0.1))
            assert status == 408
            assert "the head did not arrive" in error

        test()

    def test_nothing_at_all(self) -> None:
        @on_uvloop
        async def test(server: ServerOf) -> None:
            assert await ask(server[1]) == b""

        test()

    def test_a_body_that_nobody_waits_for(self) -> None:
        @on_uvloop
        async def test(server: ServerOf) -> None:
            head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
            received = await ask(server[1], head)
            assert received.startswith(b"HTTP/1.1 200 OK\r\n")

        test()

    def test_an_answer_longer_than_that(self) -> None:
        @on_uvloop
        async def test(server: ServerOf) -> None:
            reader, writer = await asyncio.open_connection(*server[1])
            writer.write(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            writer.close()

        test()

    @pytest.mark.parametrize("path", [b"/long", b"/short"])
    @pytest.mark.parametrize("stopping", [False, True], ids=["while serving", "while stopping"])
    def test_an_answer_that_nobody_takes(self, path: bytes, stopping: bool) -> None:
        """The server gets rid of the connection; were it to wait for the caller, it could not stop."""

        @on_uvloop
        async def test(server: ServerOf) -> None:
            with socket.socket() as caller:
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                caller.connect(server[1])
                caller.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path * 15)
                await asyncio.sleep(0.2)
                assert len(server[0].server_state.connections) == 1
                if stopping:
                    server[0].should_exit = True
                elif path == b"/short":
                    return  # All of it lies in the socket's buffer: nothing is held here.
                await until(lambda: not server[0].server_state.connections)

        test()


@on_uvloop
async def test_requests_ahead_have_a_limit(server: ServerOf) -> None:
    """What comes while an answer is under way is kept; without a limit it would be as much as a caller sends."""
    hold = b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"
    reader, writer = await asyncio.open_connection(*server[1])
    writer.write(hold + GET * 16)
    for path in (b"/hold", *[b"/"] * 16):
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(len(path)) == path
    writer.write(hold + GET * 1000)
    with suppress(ConnectionResetError):
        assert await reader.read() == b""
    await until(lambda: not server[0].server_state.connections)


@pytest.mark.parametrize(
    "pieces", [[b"zz\r\nabc\r\n"], [b"3\r\nabc\r\n", b"zz\r\n", b"3\r\nabc\r\n", GET], [b"3\r\nabcdef\r\n" + GET]]
)
def test_chunks_that_are_no_http_are_the_requests_own_fault(pieces: list[bytes]) -> None:
    """It is answered in its turn, behind those before it, and is the last of its connection."""

    @on_uvloop
    async def test(server: ServerOf) -> None:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        received = await ask(server[1], b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n" + head, *pieces, pause_s=0.05)
        answers = received.split(b"HTTP/1.1 200 OK\r\n")[1:]
        assert [answer.partition(b"\r\n\r\n")[2] for answer in answers] == [b"/hold", b"broken"]
        assert b"connection: close" in answers[1]

    test()


@on_uvloop
async def test_a_body_that_the_parser_would_lose_is_refused_by_name(server: ServerOf) -> None:
    upgrade = b"Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
    status, error = status_and_error(
        await ask(server[1], b"POST / HTTP/1.1\r\n" + upgrade + b"Content-Length: 4\r\n\r\nbody")
    )
    assert status == 400
    assert error.startswith("Upgrade: ")
    reader, writer = await asyncio.open_connection(*server[1])
    writer.write(b"GET / HTTP/1.1\r\n" + upgrade + b"\r\n")
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    writer.close()


@pytest.mark.usefixtures("short")
def test_a_body_in_chunks_may_take_longer_than_a_head() -> None:
    @on_uvloop
    async def test(server: ServerOf) -> None:
        head = b"POST /slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        pieces = [b"10\r\n", *[b"0123"] * 4, b"\r\n", b"0\r\n\r\n"]
        received = await ask(server[1], head, *pieces, pause_s=0.12)
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")

    test()


@on_uvloop
async def test_who_is_still_sending_gets_the_answer_that_ends_the_connection(server: ServerOf) -> None:
    """Closed at once, the connection would be reset, and the answer lost."""
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (2 * LONG)

    def send_all_then_read() -> bytes:
        with socket.create_connection(server[1]) as caller:
            caller.sendall(head)
            for _ in range(8):
                caller.sendall(b"x" * (LONG // 4))
                time.sleep(0.02)
            received = b""
            while piece := caller.recv(65536):
                received += piece
            return received

    received = await asyncio.to_thread(send_all_then_read)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"/early")
    await until(lambda: not server[0].server_state.connections)


def test_what_is_left_of_a_request_is_not_taken_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_LINGER_TIMEOUT_S", 0.3)

    @on_uvloop
    async def test(server: ServerOf) -> None:
        _, writer = await asyncio.open_connection(*server[1])
        writer.write(b"POST /early HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n")
        await until(lambda: bool(server[0].server_state.connections))
        for _ in range(200):
            if not server[0].server_state.connections:
                return
            writer.write(b"x")
            await asyncio.sleep(0.02)
        pytest.fail("the connection is still there")

    test()


@pytest.mark.usefixtures("short")
def test_an_answer_does_not_hurry_the_body_of_the_next_request() -> None:
    @on_uvloop
    async def test(server: ServerOf) -> None:
        post = b"POST /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\n"
        received = await ask(server[1], GET + post + b"bo", b"dy", pause_s=0.8)
        assert received.count(b"HTTP/1.1 200 OK\r\n") == 2

    test()


@pytest.mark.usefixtures("short")
def test_a_body_that_nobody_waits_for_cannot_be_drawn_out() -> None:
    @on_uvloop
    async def test(server: ServerOf) -> None:
        _, writer = await asyncio.open_connection(*server[1])
        writer.write(b"POST /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await until(lambda: bool(server[0].server_state.connections))
        for number in range(100):
            if not server[0].server_state.connections:
                return
            writer.write(b"x\r\n" if number % 2 else b"1\r\n")
            await asyncio.sleep(0.02)
        pytest.fail("the connection is still there")

    test()


@on_uvloop
async def test_a_web_socket_is_a_request_like_others(server: ServerOf) -> None:
    upgrade = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(*server[1])
    for before in (b"", b"", b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"):
        writer.write(before + b"GET / HTTP/1.1\r\nHost: x\r\n" + upgrade)
        for path in (*[b"/hold"] * bool(before), b"/"):
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(len(path)) == path
    writer.close()
