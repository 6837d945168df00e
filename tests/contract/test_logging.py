"""Log lines of the real processes: how many, their fields, and that no client can forge one."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.contract.calls import MODEL, PREDICT, ask, b64, post
from tests.server import START_TIMEOUT_S, Demo, Server

POLLED = ("/favicon.ico", "/livez", "/readyz")

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+\d{4} \[[A-Z]+\] \[[\w:]+\] .*")
"""How BentoML begins a line."""


class Lines:
    """What a service logs from now on."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._mark = len(server.log)

    def read(self) -> list[str]:
        """Return the lines, split at whatever anything might take for the end of one."""
        return self._server.log[self._mark :].splitlines()


@pytest.fixture(scope="module")
def json_server(demo: Demo) -> Iterator[Server]:
    """A service that logs every request, as JSON."""
    server = demo(LOG_FORMAT="json", ACCESS_LOG="true").start()
    try:
        poll(server)
        yield server
    finally:
        server.kill()


def poll(server: Server) -> None:
    """Request what a browser and `make serve` do until the service is ready, with as little patience."""
    ready = False
    until = time.monotonic() + START_TIMEOUT_S
    while not ready:
        assert time.monotonic() < until, server.log
        for path in POLLED:
            with suppress(httpx.TransportError):
                ready = httpx.get(server.url + path, timeout=0.2).status_code == 200
        time.sleep(0.1)


@pytest.fixture
def eight(golden: list[Path]) -> dict[str, Any]:
    return {"instances": [b64(golden[8].read_bytes())]}


def send(server: Server, head: str) -> bytes:
    """Send a request as it stands, and return its answer."""
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head.encode("latin-1"))
        while more := connection.recv(65536):
            received += more
    return received


def test_what_is_answered_leaves_no_line(server: Server, eight: dict[str, Any]) -> None:
    lines = Lines(server)
    for _ in range(3):
        assert ask(server, PREDICT, eight).status_code == 200
    for path in (MODEL, f"{MODEL}/metadata", "/v2/models/xception", "/metrics", "/docs.json", "/", "/livez", "/readyz"):
        assert server.client.get(path).status_code == 200
    assert lines.read() == []


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "reason"),
    [
        ("POST", PREDICT, b"{}", {}, 400, "bad_request"),
        ("POST", "/classify", b"no image", {}, 400, "invalid_image"),
        ("POST", f"{MODEL}/reload", b"", {}, 401, "access_denied"),
        ("GET", "/debug/batching", b"", {}, 401, "access_denied"),
        ("POST", "/v1/models/other:predict", b'{"instances": [0]}', {}, 404, "model_not_found"),
        ("GET", "/nothing", b"", {}, 404, "no_such_path"),
        ("GET", "/classify", b"", {}, 405, "no_such_method"),
        ("DELETE", "/docs.json", b"", {}, 405, "no_such_method"),
        ("POST", PREDICT, b"x" * (4 * 2**20 + 1), {}, 413, "too_large"),
        ("POST", "/classify", b"{}", {"Content-Type": "application/json"}, 415, "media_type"),
    ],
)
def test_what_is_refused_leaves_one_line(
    server: Server, method: str, path: str, body: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    lines = Lines(server)
    number = f"refused-{status}"
    answer = server.client.request(method, path, content=body, headers={"X-Request-Id": number, **headers})
    assert answer.status_code == status
    (line,) = lines.read()
    fields = f"request rejected status={status} reason={reason} method={method} path={path} request_id={number} error="
    assert fields in line
    assert LINE.fullmatch(line)


@pytest.mark.parametrize("path", [PREDICT, "/classify", "/v2/models/xception/infer"])
def test_chunks_that_are_no_http_leave_one_line(server: Server, path: str) -> None:
    lines = Lines(server)
    answer = send(
        server, f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\nd\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    error = "the chunked encoding of the body is invalid after its first 3 bytes"
    assert error.encode() in answer
    (line,) = lines.read()
    assert f"status=400 reason=bad_request method=POST path={path} " in line
    assert f'error="{error}"' in line


def test_what_comes_too_late_leaves_one_line(server: Server, eight: dict[str, Any]) -> None:
    lines = Lines(server)
    body = orjson.dumps({"instances": eight["instances"] * 400})
    answer = post(server, PREDICT, body, **{"X-Request-Timeout-Ms": "5", "X-Request-Id": "late"})
    assert answer.status_code == 504
    (line,) = lines.read()
    assert "[WARNING]" in line
    assert f"status=504 reason=deadline method=POST path={PREDICT} request_id=late error=" in line


PATHS = [
    "/nothing%0A2026-01-01T00:00:00+0000%20[INFO]%20[entry_service:xception:1]%20forged",
    "/nothing%0D%0Aforged",
    "/nothing%1b[2Jforged",
    "/nothing%C2%85forged",
    "/nothing%E2%80%A8forged",
    "/nothing%00%0B%0C%1Cforged",
    "/v1/models/x%0Aforged:predict",
    "/v1/x%0Aforged",
    "/classify?top%0Aforged=1",
    '/nothing"%20status=200%20x="',
]

IDENTIFIERS = ["a b", 'a" status=200 x="', "a\x1b[2Jforged", "a\x85forged", "a\x0bforged", "x" * 300, 'a"b', "a\\nb"]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_forges_no_line(server: Server, path: str) -> None:
    lines = Lines(server)
    send(server, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    written = lines.read()
    assert len(written) == 1
    assert LINE.fullmatch(written[0])
    assert written[0].isprintable()


@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_a_request_id_forges_no_line(server: Server, identifier: str) -> None:
    lines = Lines(server)
    send(server, f"GET /nothing HTTP/1.1\r\nHost: x\r\nX-Request-Id: {identifier}\r\nConnection: close\r\n\r\n")
    (line,) = lines.read()
    assert LINE.fullmatch(line)
    assert line.isprintable()
    assert "reason=no_such_path" in line or 'error="this is not an HTTP/1.1 request"' in line


def access_lines(lines: Lines, number: str) -> list[dict[str, Any]]:
    entries = [orjson.loads(line) for line in lines.read()]
    return [entry for entry in entries if entry.get("request_id") == number and entry["message"] == "request answered"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", PREDICT, 200),
        ("GET", MODEL, 200),
        ("GET", "/v2", 200),
        ("GET", "/v2/health/ready", 200),
        ("GET", "/metrics", 200),
        ("GET", "/livez", 200),
        ("GET", "/readyz", 200),
        ("GET", "/", 200),
        ("POST", f"{MODEL}/reload", 401),
        ("GET", "/nothing", 404),
        ("GET", "/nothing\nforged", 404),
        ("GET", "/classify", 405),
    ],
)
def test_the_access_log_has_a_line_for_each_answer(
    json_server: Server, eight: dict[str, Any], method: str, path: str, status: int
) -> None:
    lines = Lines(json_server)
    number = f"answered-{status}"
    headers = {"X-Request-Id": number}
    sent = path.replace("\n", "%0A")
    answer = json_server.client.request(method, sent, content=orjson.dumps(eight), headers=headers)
    assert answer.status_code == status
    until = time.monotonic() + 10  # It is written once the answer has been sent.
    while not (found := access_lines(lines, number)):
        assert time.monotonic() < until
        time.sleep(0.02)
    (line,) = found
    assert (line["status"], line["method"], line["path"]) == (status, method, path)
    assert line["ms"] > 0
    assert (line["service"], line["logger"], line["level"]) == ("edge", "bentoml.access", "info")


def test_polling_while_it_starts_is_no_failure(json_server: Server) -> None:
    lines = [orjson.loads(line) for line in json_server.log.splitlines() if line.startswith("{")]
    polled = [line for line in lines if line.get("path") in POLLED]
    assert {line["path"] for line in polled} == set(POLLED)
    assert {line["message"] for line in polled} == {"request answered"}


def test_every_line_is_json_until_the_end(json_server: Server, eight: dict[str, Any]) -> None:
    """The last test here: it stops the service."""
    lines = Lines(json_server)
    assert ask(json_server, PREDICT, eight).status_code == 200
    assert post(json_server, PREDICT, b"{}", **{"X-Request-Id": "bad"}).status_code == 400
    send(json_server, "nonsense\r\n\r\n")
    assert json_server.stop() == 0
    entries = [orjson.loads(line) for line in lines.read() if "[cli]" not in line]  # The supervisor is BentoML's own.
    [rejected] = [one for one in entries if one.get("request_id") == "bad" and one["message"] == "request rejected"]
    assert (rejected["status"], rejected["reason"]) == (400, "bad_request")
    assert {entry["service"] for entry in entries} == {"edge", "runner"}
    assert {"time", "level", "service", "logger", "message"} <= set.intersection(*(set(entry) for entry in entries))
