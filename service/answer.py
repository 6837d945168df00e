"""What goes back to the caller: a body with its timings, or an error as JSON."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
from starlette.responses import Response
from starlette.types import Scope

from . import metrics
from .disconnect import ClientDisconnectedError
from .errors import AccessDeniedError, InferenceError, ServiceError
from .failures import report
from .inference import Inference
from .memory import cut_loose

log = logging.getLogger("bentoml.edge")

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a caller that hung up; only logs and metrics see it."""

_LONGEST = 2000
"""Characters of the text of an error; what a caller sent may be quoted in it, however long that is."""


@dataclass(frozen=True)
class Answer:
    """The body of an answer, and how it came about."""

    body: bytes
    done: Inference
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of the protocol, beside those that every answer has."""

    def response(self) -> Response:
        """Return the response, with model version, batch size and the times of its steps in its headers."""
        result, decode_s = self.done.result, self.done.decode_s
        metrics.DECODE_SECONDS.observe(decode_s)
        metrics.QUEUE_SECONDS.observe(result.queue_s)
        metrics.INSTANCES.observe(len(result.scores))
        timing = (
            f"decode;dur={decode_s * 1000:.2f}, "
            f"queue;dur={result.queue_s * 1000:.2f}, "
            f"infer;dur={result.infer_s * 1000:.2f}"
        )
        headers = {
            "Server-Timing": timing,
            "X-Model-Version": str(self.done.model.version),
            "X-Batch-Size": str(result.batch_size),
            **self.headers,
        }
        return Response(self.body, headers=headers, media_type=self.media_type)


def error_answer(error: Exception, scope: Scope) -> Response:
    """Return `{"error": "…"}` with the status of the error, which is logged; what is not one of ours is 500.

    Nothing of the request stays in memory with the error.
    """
    response = _explain(error, scope)
    cut_loose(error)
    return response


def _explain(error: Exception, scope: Scope) -> Response:
    if isinstance(error, ClientDisconnectedError):
        report(scope, CLIENT_CLOSED_REQUEST, "hung_up", "the caller hung up before the answer was there")
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    if not isinstance(error, ServiceError):
        log.error("A request failed", exc_info=error)
        error = InferenceError("the service failed; its log says why")
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
    if isinstance(error, AccessDeniedError):
        headers["WWW-Authenticate"] = "Bearer"
    text = str(error)
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
    report(scope, error.status, error.reason, text)
    body = orjson.dumps({"error": text})
    return Response(body, status_code=error.status, headers=headers, media_type="application/json")
