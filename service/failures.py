"""What becomes of a request that is not answered: a line in the log, and a count."""

from __future__ import annotations

import logging

from starlette.types import Scope

from . import metrics
from .logs import Event, shorten

log = logging.getLogger("bentoml.edge")

REQUEST_ID = "xception.request_id"
"""Where the scope of a request has its id; BentoML puts one of its own, or None, under `request_id`."""

_PROBES = {"/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready"}
"""Asked every few seconds; that one says no is its answer, and no failure."""

_PASSING = {408, 429, 503, 504}
"""What may go well the next time."""


def report(scope: Scope, status: int, reason: str, text: str) -> None:
    """Log and count a request that was refused or failed; probes are left out.

    Args:
        scope: Of the request.
        status: Of the answer.
        reason: One of the few words that `ServiceError.reason` may be.
        text: What its caller is told.
    """
    if scope["path"] in _PROBES:
        return
    metrics.failed(reason)
    level = logging.INFO if status < 500 else logging.ERROR
    if status in _PASSING:
        level = logging.WARNING
    if not log.isEnabledFor(level):
        return
    caller = scope.get("caller")
    log.log(
        level,
        Event(
            "request failed" if status >= 500 and status not in _PASSING else "request refused",
            status=status,
            reason=reason,
            method=scope["method"],
            path=shorten(scope["path"]),
            request_id=scope.get(REQUEST_ID),
            caller=caller.name if caller else None,
            error=text,
        ),
    )
