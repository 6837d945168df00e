"""Around every answer: its request id, and errors as JSON where BentoML or Starlette would answer in plain text."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable

import orjson
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .failures import REQUEST_ID, report
from .logs import Event, shorten

log = logging.getLogger("bentoml.access")

HEADER = b"x-request-id"

_REASONS = {404: "no_such_path", 405: "no_such_method", 503: "not_ready"}
"""What Starlette and BentoML refuse."""

_GOOD_ID = re.compile(rb"[\x21-\x7e]{1,128}")
"""What is taken over from the caller: printable ASCII, so that it can stand in any log line or header."""


def take_request_id(scope: Scope) -> bytes:
    """Return the id of a request, its caller's or a new one, and keep it in the scope."""
    given = next((value for name, value in scope["headers"] if name == HEADER), b"")
    request_id = given if _GOOD_ID.fullmatch(given) else os.urandom(16).hex().encode()
    scope[REQUEST_ID] = request_id.decode()
    return request_id


def log_answer(scope: Scope, status: int, started: float) -> None:
    """Write the line of an answer, which began at `started` by `time.perf_counter`."""
    log.info(
        Event(
            "request answered",
            status=status,
            method=scope["method"],
            path=shorten(scope["path"]),
            ms=round(1000 * (time.perf_counter() - started), 2),
            request_id=scope.get(REQUEST_ID),
        )
    )


class RequestIdMiddleware:
    """Takes over the caller's `X-Request-Id`, or makes one, and sends it back."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request_id = take_request_id(scope)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (HEADER, request_id)]
            await send(message)

        return await self.app(scope, receive, send_with_id)


class AccessLogMiddleware:
    """Writes a line for each answer, whatever its status."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = time.perf_counter()
        status = 0

        async def send_and_see(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            return await self.app(scope, receive, send_and_see)
        finally:
            log_answer(scope, status, started)


class JsonErrorMiddleware:
    """Turns the plain-text errors of routing and probes into `{"error": "…"}`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start: Message | None = None
        text = bytearray()

        async def send_json(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                if message["status"] >= 400 and _is_plain(message["headers"]):
                    start = message
                    return
            elif start is not None:
                text.extend(message.get("body", b""))
                if message.get("more_body"):
                    return
                explained = _explain(start["status"], text.decode(errors="replace"), scope)
                report(scope, start["status"], _REASONS.get(start["status"], "internal"), explained)
                body = orjson.dumps({"error": explained})
                headers = MutableHeaders(scope=start)
                headers["content-type"], headers["content-length"] = "application/json", str(len(body))
                if start["status"] == 503:
                    headers["retry-after"] = "1"
                await send(start)
                message = {"type": "http.response.body", "body": body}
                start = None
            await send(message)

        try:
            await self.app(scope, receive, send_json)
        except HTTPException as error:  # Of a router that nothing of Starlette's stands around.
            await PlainTextResponse(error.detail, error.status_code, error.headers)(scope, receive, send_json)


def _is_plain(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(b"text/plain") for name, value in headers)


def _explain(status: int, text: str, scope: Scope) -> str:
    path = shorten(scope["path"])
    if status == 404:
        return f"no such path: {path}"
    if status == 405:
        return f"{path} does not take {scope['method']}"
    return text.strip() or "failed"
