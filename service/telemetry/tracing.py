"""OpenTelemetry spans of a request, where BentoML's configuration names an exporter (`tracing:`).

    predict ─┬─ decode
             └─ runner ─┬─ queue
                        └─ inference

They are created when the response is sent, from the timings that it carries anyway, so that tracing costs nothing where
it is disabled. The runner reports the timings of its steps with the scores: no span context travels with the pixels.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from service.telemetry.request_record import RequestRecord

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

_EXPORT_TIMEOUT_S = 3.0
"""Time for which a process that stops waits for the collector; the exporter's own timeout is half a minute."""

_provider: TracerProvider | None = None
_tracer: Tracer | None = None


def start(provider: TracerProvider | None) -> None:
    """Create spans from now on, unless there is no provider."""
    global _provider, _tracer
    _provider = provider
    _tracer = provider.get_tracer("xception") if provider else None


async def stop() -> None:
    """Export the remaining spans, unless the collector takes too long."""
    global _tracer
    if _provider is None:
        return
    _tracer = None
    last_export = threading.Thread(target=_provider.shutdown, daemon=True)
    last_export.start()
    await asyncio.to_thread(last_export.join, _EXPORT_TIMEOUT_S)


def record(request: RequestRecord, status: int) -> None:
    """Create the spans of a request whose response is being sent.

    Args:
        request: Its `traceparent` header makes the spans part of the client's trace; its route names the outermost one.
        status: HTTP status of the response.
    """
    if _tracer is None:
        return
    from opentelemetry.propagate import extract
    from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

    tracer = _tracer
    epoch_ns = time.time_ns() - int(time.perf_counter() * 1e9)

    def at(seconds: float) -> int:
        return epoch_ns + int(seconds * 1e9)

    def child(name: str, parent: Any, begin: float, end: float, attributes: dict[str, Any]) -> Any:
        span = tracer.start_span(name, set_span_in_context(parent), start_time=at(begin), attributes=attributes)
        span.end(at(end))
        return span

    root = tracer.start_span(
        request.route or "",
        extract({name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.headers}),
        SpanKind.SERVER,
        start_time=at(request.started),
        attributes={
            "http.request.method": request.method or "",
            "url.path": request.path or "",
            "http.response.status_code": status,
            "request.id": request.request_id or "",
        },
    )
    if status >= 500:
        root.set_status(Status(StatusCode.ERROR))
    done = request.inference
    if done is not None and root.get_span_context().trace_flags.sampled:
        result, submitted = done.result, done.started_at + done.decode_s
        child("decode", root, done.started_at, submitted, {"images": len(result.scores)})
        model = {"model.name": done.model.name, "model.version": done.model.version}
        runner = child("runner", root, submitted, done.ended_at, model)
        dequeued = submitted + result.queue_s
        # Batches of one request may run in parallel: the sum of their times exceeds the time of the request.
        inferred = min(dequeued + result.infer_s, done.ended_at)
        child("queue", runner, submitted, dequeued, {})
        batches = {"batch.size": result.batch_size, "engine.seconds": result.infer_s}
        child("inference", runner, dequeued, inferred, batches)
    root.end()
