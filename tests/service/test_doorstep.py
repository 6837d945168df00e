"""What the doorstep refuses is what the ordinary way would refuse, in the same words, over real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from service import connection
from service.access import AccessMiddleware
from service.callers import Callers, KeyEntry, KeyFile
from service.connection import Connection
from service.doorstep import Doorstep
from service.edge import Edge
from service.logs import Event
from service.middleware import AccessLogMiddleware, JsonErrorMiddleware, RequestIdMiddleware
from service.oip.routes import OpenInference
from service.settings import Settings
from service.tfserving.routes import TensorFlowServing

from .http_server import serving, until

PREDICT = "/v1/models/xception:predict"
BODY = b'{"instances": []}'


def request(path: str = PREDICT, *headers: str, method: str = "POST", body: bytes = BODY) -> bytes:
    lines = (f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


class Service:
    """An edge without a runner whose places are taken, served as `service/app.py` does it."""

    def __init__(self, callers: Callers | None = None) -> None:
        self.edge = Edge(Settings(model_store_url="file:///nowhere", max_in_flight=4))
        self.edge.admission.requests = 4
        apis = (TensorFlowServing(self.edge), OpenInference(self.edge), self.edge)
        router = Starlette(routes=[route for api in apis for route in api.routes()]).router
        self.tasks: list[str] = []
        app: ASGIApp = AccessMiddleware(router, callers) if callers else router
        self._app = RequestIdMiddleware(AccessLogMiddleware(JsonErrorMiddleware(app)))
        self.doorstep = Doorstep(self.edge, router.routes, callers, access_log=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer on the ordinary way."""
        self.tasks.append(scope["path"])
        await self._app(scope, receive, send)

    def storm(self) -> None:
        """Have it as if somebody had been refused just now."""
        self.edge.admission.refused_at = asyncio.get_running_loop().time()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    made = Service()
    monkeypatch.setattr(Connection, "doorstep", made.doorstep)
    return made


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def read(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        return int(head[0].split()[1]), headers, await self.reader.readexactly(int(headers["content-length"]))

    async def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        self.writer.write(data)
        return await self.read()


async def connect(address: tuple[str, int]) -> Client:
    return Client(*await asyncio.open_connection(*address))


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, Event):
            self.events.append({"text": record.msg.text, "level": record.levelname, **record.msg.fields})


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger("bentoml")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (PREDICT, "predict"),
        ("/v1/models/xception/versions/7:classify", "classify_examples"),
        ("/classify?top_k=3", "classify"),
        ("/v2/models/xception/infer", "infer"),
    ],
)
async def test_both_ways_refuse_alike(service: Service, lines: Lines, path: str, route: str) -> None:
    def counts() -> tuple[float, ...]:
        return (
            count("xception_requests_total", route=route, status="429"),
            count("xception_request_seconds_count", route=route),
            count("xception_failed_requests_total", reason="requests"),
        )

    async with serving(service) as (_, address):
        client = await connect(address)
        seen = []
        for number in range(2):
            before = counts()
            status, headers, body = await client.ask(request(path, f"X-Request-Id: number-{number}"))
            assert headers.pop("x-request-id") == f"number-{number}"
            assert [after - earlier for earlier, after in zip(before, counts(), strict=True)] == [1, 1, 1]
            assert [event.pop("request_id") for event in lines.events] == [f"number-{number}"] * 2
            assert [event.pop("ms", None) is None for event in lines.events] == [True, False]
            headers.pop("date")
            seen.append((status, sorted(headers.items()), body, list(lines.events)))
            lines.events.clear()
        assert seen[0] == seen[1]
        assert seen[0][0] == 429
        assert dict(seen[0][1])["retry-after"] == "1"
    assert len(service.tasks) == 1  # Of the second nothing was made.


async def test_each_refusal_has_an_id(service: Service) -> None:
    async with serving(service) as (_, address):
        service.storm()
        client = await connect(address)
        ids = [(await client.ask(request()))[1]["x-request-id"] for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)
    assert ids[0] != ids[1]
    assert not service.tasks


@pytest.mark.parametrize(
    ("data", "status", "text"),
    [
        (request("/nothing"), 404, b"no such path"),
        (request(method="GET"), 400, b"Malformed request: GET"),
        (request("/classify", method="GET"), 405, b"does not take GET"),
        (request(PREDICT, "X-Request-Timeout-Ms: soon"), 400, b"X-Request-Timeout-Ms: 'soon'"),
        (request(PREDICT, "X-Request-Priority: high"), 400, b"X-Request-Priority: 'high'"),
        (b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413, b"the limit is"),
    ],
    ids=["path", "method", "other method", "deadline", "priority", "size"],
)
async def test_whatever_else_is_wrong_is_told_on_the_ordinary_way(
    service: Service, data: bytes, status: int, text: bytes
) -> None:
    async with serving(service) as (_, address):
        service.storm()
        found, _, body = await (await connect(address)).ask(data)
    assert found == status
    assert text in body
    assert len(service.tasks) == 1


async def test_who_has_a_place_goes_the_ordinary_way(service: Service) -> None:
    service.edge.admission.requests = 3
    async with serving(service) as (_, address):
        service.storm()
        status, _, body = await (await connect(address)).ask(request())
        assert (status, len(service.tasks)) == (503, 1), body  # There is no runner.
    assert service.edge.admission.requests == 3


async def test_a_service_that_stops_is_not_too_busy(service: Service) -> None:
    service.edge.admission.close()
    async with serving(service) as (_, address):
        service.storm()
        status, _, body = await (await connect(address)).ask(request())
    assert status == 503
    assert b"shutting down" in body


def key_file(folder: Path, **entry: Any) -> Callers:
    path = folder / "keys.json"
    known = KeyEntry(name="shop", sha256=hashlib.sha256(b"secret").hexdigest(), **entry)
    path.write_text(KeyFile(keys=[known]).model_dump_json())
    return Callers(path, 1)


async def test_a_caller_without_a_key_is_not_told_how_busy_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lines: Lines
) -> None:
    service = Service(key_file(tmp_path))
    monkeypatch.setattr(Connection, "doorstep", service.doorstep)
    async with serving(service) as (_, address):
        service.storm()
        client = await connect(address)
        assert (await client.ask(request()))[0] == 401
        assert (await client.ask(request(PREDICT, "Authorization: Bearer wrong")))[0] == 401
        lines.events.clear()
        assert (await client.ask(request(PREDICT, "Authorization: Bearer secret")))[0] == 429
    assert lines.events[0]["caller"] == "shop"
    assert len(service.tasks) == 2


async def test_more_than_the_rate_of_a_key_is_refused_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    service = Service(key_file(tmp_path, images_per_second=0.001))
    service.edge.admission.requests = 0
    monkeypatch.setattr(Connection, "doorstep", service.doorstep)
    async with serving(service) as (_, address):
        client = await connect(address)
        bodies = [(await client.ask(request(PREDICT, "Authorization: Bearer secret")))[2] for _ in range(4)]
    assert b"not started" in bodies[1]  # Admitted, and there is no runner: one image at once, and some of the next.
    assert b"shop may have 0.001 images a second" in bodies[2]
    assert bodies[3] == bodies[2]
    assert len(service.tasks) == 3


@pytest.mark.parametrize(
    "send",
    [
        lambda data: [data],
        lambda data: [data[:20], data[20:-10], data[-10:]],
        lambda data: [data[:-10], data[-10:] + data[:30], data[30:]],
    ],
    ids=["at once", "in pieces", "two, cut across"],
)
async def test_a_connection_goes_on_after_a_refusal(service: Service, send: Callable[[bytes], list[bytes]]) -> None:
    pieces = send(request())
    async with serving(service) as (_, address):
        service.storm()
        client = await connect(address)
        for _ in range(3):
            for piece in pieces:
                client.writer.write(piece)
                await asyncio.sleep(0.02)
            for _ in range(sum(map(len, pieces)) // len(request())):
                assert (await client.read())[0] == 429
    assert not service.tasks


async def test_requests_sent_ahead_are_answered_in_their_order(service: Service) -> None:
    async with serving(service) as (_, address):
        service.storm()
        client = await connect(address)
        wanted = [429, 404, 429, 404, 429]
        paths = {404: "/nothing", 429: PREDICT}
        client.writer.write(b"".join(request(paths[status]) for status in wanted))
        assert [(await client.read())[0] for _ in wanted] == wanted


async def test_who_sends_thousands_ahead_is_not_served(service: Service) -> None:
    """Were each refused here, one read of them would hold up all others for a second."""
    async with serving(service) as (server, address):
        service.storm()
        client = await connect(address)
        client.writer.write(request("/classify", body=b"") * 2000)
        with suppress(ConnectionResetError):
            received = await client.reader.read()
            assert received.count(b"HTTP/1.1 429") <= 2 * 17  # What one read brings, and what the next does.
        await until(lambda: not server.server_state.connections)


@pytest.mark.parametrize(
    ("path", "header"),
    [
        (PREDICT, "Content-Type: application/xml"),
        ("/v2/models/xception/infer", "Content-Type: application/xml"),
        ("/classify?top_k=many", "Content-Type: application/xml"),
        ("/v1/models/xception/versions/99999999999999999999:predict", "X-Nothing: x"),
        ("/v2/models/xception/versions/99999999999999999999/infer", "X-Nothing: x"),
        ("/v1/models/other:predict", "X-Nothing: x"),
    ],
)
async def test_neither_way_looks_at_what_it_has_no_room_for(service: Service, path: str, header: str) -> None:
    async with serving(service) as (_, address):
        client = await connect(address)
        assert [(await client.ask(request(path, header)))[0] for _ in range(2)] == [429, 429]
    assert len(service.tasks) == 1


@pytest.mark.parametrize(
    "data",
    [request(PREDICT, "Connection: close"), request().replace(b"HTTP/1.1", b"HTTP/1.0")],
    ids=["told to", "HTTP/1.0"],
)
async def test_a_connection_ends_that_is_to_end(service: Service, data: bytes) -> None:
    async with serving(service) as (_, address):
        service.storm()
        client = await connect(address)
        status, headers, _ = await client.ask(data)
        assert (status, headers["connection"]) == (429, "close")
        assert await client.reader.read() == b""
    assert not service.tasks


async def test_the_wait_for_the_body_is_bounded(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_HEAD_S", 0.3)
    async with serving(service) as (server, address):
        service.storm()
        client = await connect(address)
        assert (await client.ask(request()[:-5]))[0] == 429
        assert len(server.server_state.connections) == 1
        await asyncio.wait_for(until(lambda: not server.server_state.connections), 5)


async def test_a_connection_that_stays_idle_is_closed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_KEEP_S", 0.3)
    async with serving(service) as (server, address):
        service.storm()
        client = await connect(address)
        data = request()
        assert (await client.ask(data[:-5]))[0] == 429
        client.writer.write(data[-5:])
        await asyncio.wait_for(until(lambda: not server.server_state.connections), 5)


async def test_a_connection_may_be_idle_for_longer_than_a_head_may_take(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_HEAD_S", 0.2)
    monkeypatch.setattr(connection, "_KEEP_S", 1.5)
    async with serving(service) as (server, address):
        client = await connect(address)
        for _ in range(2):
            service.storm()
            data = request()
            assert (await client.ask(data[:-5]))[0] == 429
            client.writer.write(data[-5:])
            await asyncio.sleep(0.5)
            assert len(server.server_state.connections) == 1
        await asyncio.wait_for(until(lambda: not server.server_state.connections), 5)
    assert not service.tasks


async def test_in_calm_weather_the_doorstep_does_not_look(service: Service) -> None:
    scope = {"type": "http", "method": "POST", "path": PREDICT, "headers": []}
    assert service.doorstep.refuse(scope) is None
    service.storm()
    refusal = service.doorstep.refuse(scope)
    assert refusal is not None
    assert refusal.status_code == 429
    service.edge.admission.refused_at -= 2
    assert service.doorstep.refuse(scope) is None
