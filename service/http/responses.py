"""HTTP responses: a body with its timings, or an error as JSON."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
from starlette.responses import Response
from starlette.types import Scope

from service.core.errors import AccessDeniedError, ClientDisconnectedError, InferenceError, ServiceError
from service.core.inference import Inference
from service.host.memory import drop_tracebacks
from service.http.scope import record_of

log = logging.getLogger("bentoml.edge")

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that disconnected; it appears in logs and metrics only."""

_MAX_ERROR_CHARS = 2000
"""Length of an error message, in characters; it may quote values of any length from the request."""


@dataclass(frozen=True)
class InferenceResponse:
    """The body of a response, and the inference behind it."""

    body: bytes
    inference: Inference
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of the protocol, beside those that every response has."""

    def response(self) -> Response:
        """Return the response, with model version, batch size and the durations of its steps in its headers."""
        result, decode_s = self.inference.result, self.inference.decode_s
        timing = (
            f"decode;dur={decode_s * 1000:.2f}, "
            f"queue;dur={result.queue_s * 1000:.2f}, "
            f"infer;dur={result.infer_s * 1000:.2f}"
        )
        headers = {
            "Server-Timing": timing,
            "X-Model-Version": str(self.inference.model.version),
            "X-Batch-Size": str(result.batch_size),
            **self.headers,
        }
        return Response(self.body, headers=headers, media_type=self.media_type)


def error_response(error: Exception, scope: Scope) -> Response:
    """Return `{"error": "…"}` with the status of the error, and note it in the record of the request.

    An error that is not a `ServiceError` is logged, and becomes 500. The error keeps no data of the request in memory.
    """
    response = _respond(error, scope)
    drop_tracebacks(error)
    return response


def _respond(error: Exception, scope: Scope) -> Response:
    if isinstance(error, ClientDisconnectedError):
        record_of(scope).fail("client_disconnected", "the client disconnected before the response was sent")
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    if not isinstance(error, ServiceError):
        log.error("A request failed", exc_info=error)
        error = InferenceError("the service failed; its log says why")
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
    if isinstance(error, AccessDeniedError):
        headers["WWW-Authenticate"] = "Bearer"
    text = str(error)
    if len(text) > _MAX_ERROR_CHARS:
        text = f"{text[:_MAX_ERROR_CHARS]}…"
    record_of(scope).fail(error.reason, text)
    body = orjson.dumps({"error": text})
    return Response(body, status_code=error.status, headers=headers, media_type="application/json")
