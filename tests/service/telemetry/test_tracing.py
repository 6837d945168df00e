"""Spans of a request, made by OpenTelemetry's own library; `tests/contract/test_tracing.py` exports them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

from service.telemetry import tracing
from service.telemetry.request_record import RequestRecord
from tests.service.http.samples import inference

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
async def spans() -> AsyncIterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.start(provider)
    yield exporter
    await tracing.stop()
    tracing.start(None)


def named(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


def request(**changes: object) -> RequestRecord:
    headers = [(b"Traceparent", f"00-{TRACE}-{PARENT}-01".encode())]
    record = RequestRecord(method="POST", path="/classify", request_id="abc", headers=headers, route="classify")
    record.inference = inference()
    record.started = record.inference.started_at - 0.001
    return record


def test_spans_follow_the_steps_of_a_request(spans: InMemorySpanExporter) -> None:
    tracing.record(request(), 200)
    found = named(spans)
    assert set(found) == {"classify", "decode", "runner", "queue", "inference"}
    root = found["classify"]
    assert root.kind is SpanKind.SERVER
    assert root.attributes is not None
    assert root.attributes["http.response.status_code"] == 200
    assert f"{root.context.trace_id:032x}" == TRACE
    assert root.parent is not None
    assert f"{root.parent.span_id:016x}" == PARENT
    for name, parent in [("decode", "classify"), ("runner", "classify"), ("queue", "runner"), ("inference", "runner")]:
        span, outer = found[name], found[parent]
        assert span.parent is not None
        assert span.parent.span_id == outer.context.span_id
        assert (outer.start_time or 0) <= (span.start_time or 0) <= (span.end_time or 0) <= (outer.end_time or 0), name


def test_a_request_without_an_inference_is_one_span(spans: InMemorySpanExporter) -> None:
    record = request()
    record.inference = None
    tracing.record(record, 500)
    (root,) = spans.get_finished_spans()
    assert not root.status.is_ok


def test_nothing_is_made_of_what_is_not_sampled() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_OFF)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.start(provider)
    tracing.record(request(), 200)
    tracing.start(None)
    tracing.record(request(), 200)
    assert not exporter.get_finished_spans()
