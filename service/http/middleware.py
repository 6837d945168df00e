"""Around every response: request id, record of the request, and errors as JSON where BentoML or Starlette send text."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

import orjson
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.scope import record_of, start_record
from service.telemetry.log_format import shorten
from service.telemetry.request_log import finish

_HEADER = b"x-request-id"

_REASONS = {404: "no_such_path", 405: "no_such_method", 503: "not_ready"}
"""Reasons for the errors of Starlette and BentoML, by status."""

_VALID_ID = re.compile(rb"[\x21-\x7e]{1,128}")
"""Accepted from a client: printable ASCII, which is safe in log lines and headers."""


class RequestMiddleware:
    """Accepts the client's `X-Request-Id` or makes one, sends it back, and finishes the record of the request."""

    def __init__(self, app: ASGIApp, *, access_log: bool) -> None:
        """Keep the application, and whether each request is logged."""
        self.app = app
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        given = next((value for name, value in scope["headers"] if name == _HEADER), b"")
        request_id = given if _VALID_ID.fullmatch(given) else os.urandom(16).hex().encode()
        record = start_record(scope, request_id.decode(), access_log=self._access_log)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (_HEADER, request_id)]
                finish(record, message["status"])
            await send(message)

        return await self.app(scope, receive, send_with_id)


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
                error = _describe(start["status"], text.decode(errors="replace"), scope)
                record_of(scope).fail(_REASONS.get(start["status"], "internal"), error)
                body = orjson.dumps({"error": error})
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
        except HTTPException as error:  # Raised by a router without Starlette's middleware around it.
            await PlainTextResponse(error.detail, error.status_code, error.headers)(scope, receive, send_json)


def _is_plain(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(b"text/plain") for name, value in headers)


def _describe(status: int, text: str, scope: Scope) -> str:
    path = shorten(scope["path"])
    if status == 404:
        return f"no such path: {path}"
    if status == 405:
        return f"{path} does not take {scope['method']}"
    return text.strip() or "failed"
