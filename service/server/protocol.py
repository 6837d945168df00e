"""One caller's connection: uvicorn's HTTP/1.1, with bounds and in a form for which it has no settings."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, cast

import orjson
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.http.request_body import BROKEN
from service.server.transport import ResponseTransport
from service.telemetry.request_log import finish
from service.telemetry.request_record import RequestRecord

MAX_HEAD_BYTES = 64 * 1024
"""Of a head, of what stands behind a body in chunks, and between the chunks; what one read brings may exceed it."""

_FIRST_S = 60.0
"""How long a connection may stay without a request; gateways open some in advance."""

_HEAD_S = 10.0
"""How long a head may take, once it has begun."""

_LINGER_S = 5.0
"""How long what is left of a request is still taken, and thrown away, once its answer has ended the connection."""

_TAKE_S = 20.0
"""How long a caller may leave an answer lying."""

_MOST_AHEAD = 16
"""Requests that may come before the one ahead of them is answered; browsers and clients send none."""

_KEEP_S = 75.0
"""How long a connection stays after an answer.

Longer than gateways keep theirs (60 s), so that none sends a request, which it may not repeat, into one that is being
closed; uvicorn's 5 s are for callers on the open Internet.
"""


class HttpProtocol(HttpToolsProtocol):
    """Reads requests, and closes where nothing comes of it: heads without an end, callers who send or take nothing.

    All of this is before admission: nobody has been asked for a key yet, and no deadline runs.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.timeout_keep_alive = _KEEP_S  # type: ignore[assignment]
        self.ws_protocol_class = None  # No route speaks WebSocket; a request for it is a request like others.
        self._unread = 0
        """Bytes since the last that were part of something complete, or of a body."""
        self._due = math.inf
        """When nothing has come of it, on the loop's clock."""
        self._idle_timer: asyncio.TimerHandle | None = None
        """Rings when that is due, or before; then it is set anew. To set one for each request costs more."""
        self._left_lying: asyncio.TimerHandle | None = None
        self._broken = False
        """Whether the body that comes is no HTTP, so that all behind it means nothing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, and wait for the first request."""
        self._answers = ResponseTransport(transport, _TAKE_S, _LINGER_S)
        super().connection_made(self._answers)  # type: ignore[arg-type]
        self._wait(_FIRST_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._reset_timer()
        self._start_timer()
        self.resume_writing()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless what came before makes no sense without an end."""
        if self._broken:
            return
        self._unread += len(data)
        super().data_received(data)
        if not self._unread or self._broken or self.transport.is_closing():
            return
        if self._unread > MAX_HEAD_BYTES:
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head is over the limit of {MAX_HEAD_BYTES} bytes"
            )
        elif self._unread == len(data) and not self._has_rest():  # It has begun with these.
            self._wait(_HEAD_S)

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        self._reset_timer()
        self._answers.receiving = True
        if self.parser.should_upgrade() and not self._should_upgrade() and _has_body(self.headers):
            self._refuse(
                HTTPStatus.BAD_REQUEST,
                "Upgrade: this is HTTP/1.1 only, and would lose the body of a request that asks for more; send it "
                "without (in Java choose HttpClient.Version.HTTP_1_1)",
            )
            raise ValueError("a body that cannot be read")
        super().on_headers_complete()
        if len(self.pipeline) > _MOST_AHEAD:
            self.transport.abort()
            raise ValueError(f"more than {_MOST_AHEAD} requests before the first is answered")

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._unread = 0
        if not self.cycle.response_complete:  # How long a body may take, who answers the request sees to.
            self._due = math.inf
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of the request."""
        self._reset_timer()
        self._answers.receiving = False
        super().on_message_complete()
        if not self.cycle.response_complete:
            return
        if self.transport.is_closing():
            self._answers.finish()
        else:
            self._wait(_KEEP_S)  # uvicorn's clock for idle connections stopped when this came.

    def on_response_complete(self) -> None:
        """Go over to the next request; what is left of this one is not waited for as if it mattered."""
        super().on_response_complete()
        if self._has_rest():
            self.flow.resume_reading()
            self._wait(_HEAD_S)

    def pause_writing(self) -> None:
        """Stop sending, and give the caller some time to take what was sent."""
        super().pause_writing()
        self._left_lying = self.loop.call_later(_TAKE_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Send on."""
        if self._left_lying:
            self._left_lying.cancel()
            self._left_lying = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # Says less than ours.
        """Refuse what is no HTTP, as a body by the request that it belongs to."""
        if self.transport.is_closing():
            return
        if self._answers.receiving and self.cycle.more_body and not self.cycle.response_complete:
            self._broken = True
            cast(Scope, self.cycle.scope)[BROKEN] = True
            self.cycle.keep_alive = self.cycle.more_body = False
            self.cycle.message_event.set()
            return
        self._refuse(HTTPStatus.BAD_REQUEST, "this is no HTTP/1.1 request")

    def _unsupported_upgrade_warning(self) -> None:
        """Leave it at the answer; uvicorn would write a line of its own."""

    def _has_rest(self) -> bool:
        """Tell whether the newest request is answered, and still coming."""
        return self._answers.receiving and self.cycle.response_complete

    def _wait(self, seconds: float) -> None:
        self._due = self.loop.time() + seconds
        if self._idle_timer is None or self._idle_timer.when() > self._due:
            self._start_timer()

    def _reset_timer(self) -> None:
        self._unread = 0
        self._due = math.inf

    def _start_timer(self) -> None:
        if self._idle_timer:
            self._idle_timer.cancel()
        self._idle_timer = None if self._due == math.inf else self.loop.call_at(self._due, self._on_timeout)

    def _on_timeout(self) -> None:
        if self.loop.time() < self._due:
            self._start_timer()
        else:
            self._idle_timer = None
            self._close_idle()

    def _close_idle(self) -> None:
        if self.transport.is_closing():
            return
        if self._unread and not self._has_rest():
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"the head did not arrive within {_HEAD_S:.0f} s")
        else:
            self._answers.finish()

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        if self.transport.is_closing():
            return
        if self.cycle and not self.cycle.response_complete:  # It would stand before, or in, that answer.
            self.transport.abort()
            return
        record = RequestRecord()
        record.fail("slow_request" if status is HTTPStatus.REQUEST_TIMEOUT else "bad_request", text)
        finish(record, status)
        body = orjson.dumps({"error": text})
        length = str(len(body)).encode()
        self._answer(status, [(b"content-type", b"application/json"), (b"content-length", length)], body, close=True)

    def _answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, close: bool) -> None:
        parts = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        parts += (b"connection: close\r\n\r\n" if close else b"\r\n", body)
        self.transport.write(b"".join(parts))
        if close:
            self.transport.close()


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0") for name, value in headers
    )
