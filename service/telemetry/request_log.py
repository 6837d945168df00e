"""Finish a request, whatever its transport, in one place: count it, log it and make its spans."""

from __future__ import annotations

import logging
import time

from service.telemetry import metrics, tracing
from service.telemetry.log_format import Event, shorten
from service.telemetry.request_record import RequestRecord

log = logging.getLogger("bentoml.edge")
access_log = logging.getLogger("bentoml.access")

_PROBES = {"/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready"}
"""Polled every few seconds; «not ready» is a valid response of theirs, not a failure."""

_RETRYABLE = {408, 429, 503, 504}
"""Statuses after which a client may retry; logged as warnings."""


def finish(record: RequestRecord, status: int) -> None:
    """Count, log and trace a request; called once, when its response is sent.

    Args:
        record: The request.
        status: HTTP status of the response, or the equivalent of another protocol's status.
    """
    seconds = time.perf_counter() - record.started
    if record.route is not None:
        tracing.record(record, status)
        metrics.record_response(record.route, status, seconds, record.inference)
    if record.reason is not None and record.path not in _PROBES:
        metrics.record_failure(record.reason)
        _log_failure(record, status)
    if record.access_log:
        access_log.info(
            Event(
                "request answered",
                status=status,
                method=record.method,
                path=shorten(record.path or ""),
                ms=round(1000 * seconds, 2),
                request_id=record.request_id,
            )
        )


def _log_failure(record: RequestRecord, status: int) -> None:
    level = logging.INFO if status < 500 else logging.ERROR
    if status in _RETRYABLE:
        level = logging.WARNING
    if not log.isEnabledFor(level):
        return
    log.log(
        level,
        Event(
            "request failed" if status >= 500 and status not in _RETRYABLE else "request rejected",
            status=status,
            reason=record.reason,
            method=record.method,
            path=shorten(record.path) if record.path is not None else None,
            request_id=record.request_id,
            client=record.client,
            error=record.error,
        ),
    )
