"""OpenTelemetry spans of a request, where BentoML's configuration names an exporter (`tracing:`).

    predict ─┬─ decode
             └─ runner ─┬─ queue
                        └─ inference

They are made once the answer is ready, from the times that it carries anyway, so that a request costs nothing more
where nobody looks. The runner's steps are told by the runner with its answer: no span travels with the pixels.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.types import Scope

from .failures import REQUEST_ID
from .inference import Inference

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_LAST_EXPORT_S = 3.0
"""How long a process that stops waits for the collector; left to itself the exporter would take half a minute."""

_tracer: Tracer | None = None


def start() -> None:
    """Make spans from now on, if BentoML is configured to export any."""
    global _tracer
    from bentoml._internal.configuration.containers import BentoMLContainer

    tracing = BentoMLContainer.tracing
    if tracing.exporter_type.get() and tracing.sample_rate.get():
        _tracer = BentoMLContainer.tracer_provider.get().get_tracer("xception")


async def stop() -> None:
    """Export what has not been exported yet, unless the collector takes too long."""
    global _tracer
    if _tracer is None:
        return
    from bentoml._internal.configuration.containers import BentoMLContainer

    _tracer = None
    last_export = threading.Thread(target=BentoMLContainer.tracer_provider.get().shutdown, daemon=True)
    last_export.start()
    await asyncio.to_thread(last_export.join, _LAST_EXPORT_S)


def record(scope: Scope, route: str, status: int, started: float, done: Inference | None) -> None:
    """Make the spans of a request that is answered now.

    Args:
        scope: Of the request; its `traceparent` makes the spans part of the caller's trace.
        route: The name of the outermost span.
        status: Of the answer.
        started: When it began, by `time.perf_counter`.
        done: The scores and how they came about, where there are any.
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
        route,
        extract(Headers(scope=scope)),
        SpanKind.SERVER,
        start_time=at(started),
        attributes={
            "http.request.method": scope["method"],
            "url.path": scope["path"],
            "http.response.status_code": status,
            "request.id": scope.get(REQUEST_ID, ""),
        },
    )
    if status >= 500:
        root.set_status(Status(StatusCode.ERROR))
    if done is not None and root.get_span_context().trace_flags.sampled:
        result, asked = done.result, done.began + done.decode_s
        child("decode", root, done.began, asked, {"images": len(result.scores)})
        model = {"model.name": done.model.name, "model.version": done.model.version}
        runner = child("runner", root, asked, done.ended, model)
        left_queue = asked + result.queue_s
        # Batches of one request may run side by side: together they take longer than it did.
        inferred = min(left_queue + result.infer_s, done.ended)
        child("queue", runner, asked, left_queue, {})
        batches = {"batch.size": result.batch_size, "engine.seconds": result.infer_s}
        child("inference", runner, left_queue, inferred, batches)
    root.end()
