"""The HTTP/1.1 protocol of a connection: uvicorn's, with limits and timeouts for which uvicorn has no settings.

It overrides methods and uses attributes that uvicorn does not document; `tests/service/server/test_protocol.py` fails
when a release of uvicorn moves them. The only other place is `transport.py`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, cast

import orjson
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.http.request_body import INVALID_BODY
from service.server.transport import ResponseTransport
from service.telemetry.request_log import finish
from service.telemetry.request_record import RequestRecord

MAX_HEAD_BYTES = 64 * 1024
"""Limit of a request head, of chunk headers and of trailers; exceeded by at most one read."""

_FIRST_REQUEST_TIMEOUT_S = 60.0
"""Time until the first request of a connection; gateways open some in advance."""

_HEAD_TIMEOUT_S = 10.0
"""Time from the first byte of a head to its end."""

_LINGER_TIMEOUT_S = 5.0
"""Time for which the rest of a request is read and discarded after the response that closes the connection."""

_WRITE_TIMEOUT_S = 20.0
"""Time for which a client may leave a response unread."""

_MAX_PIPELINED = 16
"""Pipelined requests behind the one in progress; browsers and HTTP clients send none."""

_KEEP_ALIVE_S = 75.0
"""Time for which an idle connection is kept after a response.

Longer than gateways keep theirs (60 s): otherwise a gateway may send a request, which it must not retry, on a
connection that is just being closed. uvicorn's 5 s are meant for clients on the open Internet.
"""


class HttpProtocol(HttpToolsProtocol):
    """Parses requests, and closes connections that are idle, or whose client stalls in a head or in reading a response.

    All of this happens before admission: no API key has been checked yet, and no deadline runs.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.timeout_keep_alive = _KEEP_ALIVE_S  # type: ignore[assignment]
        self.ws_protocol_class = None  # No route speaks WebSocket; such a request is handled like any other.
        self._incomplete = 0
        """Bytes received since the last complete head or part of a body."""
        self._expires_at = math.inf
        """When the idle timer expires, on the clock of the event loop."""
        self._idle_timer: asyncio.TimerHandle | None = None
        """Fires at `_expires_at` or before, and is then restarted; one timer for each request would cost more."""
        self._write_timer: asyncio.TimerHandle | None = None
        self._invalid = False
        """Whether a body was not valid HTTP, so that nothing after it can be parsed."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timeout for the first request."""
        self._response_transport = ResponseTransport(transport, _WRITE_TIMEOUT_S, _LINGER_TIMEOUT_S)
        super().connection_made(self._response_transport)  # type: ignore[arg-type]
        self._set_timeout(_FIRST_REQUEST_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release what the connection holds."""
        self._reset_timer()
        self._start_timer()
        self.resume_writing()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what was received, within the limits of a head."""
        if self._invalid:
            return
        self._incomplete += len(data)
        super().data_received(data)
        if not self._incomplete or self._invalid or self.transport.is_closing():
            return
        if self._incomplete > MAX_HEAD_BYTES:
            self._reject(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head is over the limit of {MAX_HEAD_BYTES} bytes"
            )
        elif self._incomplete == len(data) and not self._discards_body():  # The first bytes of a head.
            self._set_timeout(_HEAD_TIMEOUT_S)

    def on_headers_complete(self) -> None:
        """Start to handle the request."""
        self._reset_timer()
        self._response_transport.receiving = True
        if self.parser.should_upgrade() and not self._should_upgrade() and _has_body(self.headers):
            self._reject(
                HTTPStatus.BAD_REQUEST,
                "Upgrade: only HTTP/1.1 is supported, and the body of a request to upgrade would be lost; send it "
                "without (in Java choose HttpClient.Version.HTTP_1_1)",
            )
            raise ValueError("a body that cannot be read")
        super().on_headers_complete()
        if len(self.pipeline) > _MAX_PIPELINED:
            self.transport.abort()
            raise ValueError(f"more than {_MAX_PIPELINED} requests before the first is answered")

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body."""
        self._incomplete = 0
        if not self.cycle.response_complete:  # The endpoint limits the time of its body.
            self._expires_at = math.inf
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the end of the request."""
        self._reset_timer()
        self._response_transport.receiving = False
        super().on_message_complete()
        if not self.cycle.response_complete:
            return
        if self.transport.is_closing():
            self._response_transport.finish()
        else:
            self._set_timeout(_KEEP_ALIVE_S)  # uvicorn's own timer stopped when this request came.

    def on_response_complete(self) -> None:
        """Go on to the next request; the rest of this one is discarded, within the timeout of a head."""
        super().on_response_complete()
        if self._discards_body():
            self.flow.resume_reading()
            self._set_timeout(_HEAD_TIMEOUT_S)

    def pause_writing(self) -> None:
        """Stop sending, and start the timeout for the client to read."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(_WRITE_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Continue to send."""
        if self._write_timer:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # The error message says more.
        """Reject what is not valid HTTP; an invalid body is rejected by the response to its request."""
        if self.transport.is_closing():
            return
        if self._response_transport.receiving and self.cycle.more_body and not self.cycle.response_complete:
            self._invalid = True
            cast(Scope, self.cycle.scope)[INVALID_BODY] = True
            self.cycle.keep_alive = self.cycle.more_body = False
            self.cycle.message_event.set()
            return
        self._reject(HTTPStatus.BAD_REQUEST, "this is not an HTTP/1.1 request")

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing; the response says enough."""

    def _discards_body(self) -> bool:
        """Return whether the newest request was responded to, and its body is still being received."""
        return self._response_transport.receiving and self.cycle.response_complete

    def _set_timeout(self, seconds: float) -> None:
        self._expires_at = self.loop.time() + seconds
        if self._idle_timer is None or self._idle_timer.when() > self._expires_at:
            self._start_timer()

    def _reset_timer(self) -> None:
        self._incomplete = 0
        self._expires_at = math.inf

    def _start_timer(self) -> None:
        if self._idle_timer:
            self._idle_timer.cancel()
        self._idle_timer = (
            None if self._expires_at == math.inf else self.loop.call_at(self._expires_at, self._on_timeout)
        )

    def _on_timeout(self) -> None:
        if self.loop.time() < self._expires_at:
            self._start_timer()
        else:
            self._idle_timer = None
            self._close_idle()

    def _close_idle(self) -> None:
        if self.transport.is_closing():
            return
        if self._incomplete and not self._discards_body():
            self._reject(HTTPStatus.REQUEST_TIMEOUT, f"the head did not arrive within {_HEAD_TIMEOUT_S:.0f} s")
        else:
            self._response_transport.finish()

    def _reject(self, status: HTTPStatus, text: str) -> None:
        if self.transport.is_closing():
            return
        if self.cycle and not self.cycle.response_complete:  # An error would be taken for a part of that response.
            self.transport.abort()
            return
        record = RequestRecord()
        record.fail("slow_request" if status is HTTPStatus.REQUEST_TIMEOUT else "bad_request", text)
        finish(record, status)
        body = orjson.dumps({"error": text})
        length = str(len(body)).encode()
        self._respond(status, [(b"content-type", b"application/json"), (b"content-length", length)], body, close=True)

    def _respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, close: bool) -> None:
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
