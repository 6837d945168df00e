"""Spans over the wire, as a collector of OpenTelemetry gets them."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from PIL import Image

from service.core.inference import Inference
from service.core.result import Result
from service.telemetry import tracing
from service.telemetry.request_record import RequestRecord
from tests.contract.calls import PREDICT, b64, post
from tests.server import ROOT, Server
from tests.service.protocols.open_inference.samples import MODEL

from .collector import Collector, collecting, read_attributes

CONFIGURATION = """\
services:
  xception:
    tracing:
      exporter_type: otlp
      sample_rate: 1.0
      otlp:
        protocol: http
        endpoint: {}
"""

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e47{:02x}", "00f067aa0ba902b7"


class Traced(NamedTuple):
    server: Server
    collector: Collector


def tracing_server(folder: Path, store_url: str, endpoint: str, export_every_ms: int = 100) -> Server:
    folder.mkdir(exist_ok=True)
    configuration = folder / "bentoml.yaml"
    configuration.write_text(CONFIGURATION.format(endpoint))
    return Server(
        folder / "server",
        MODEL_STORE_URL=store_url,
        ENGINE="openvino",
        BENTOML_CONFIG=str(configuration),
        OTEL_BSP_SCHEDULE_DELAY=str(export_every_ms),
    )


@pytest.fixture(scope="module")
def traced(store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    folder = tmp_path_factory.mktemp("tracing")
    with collecting() as collector, tracing_server(folder, store_url, collector.url) as server:
        yield Traced(server, collector)


@pytest.fixture
def two(golden: list[Path]) -> bytes:
    return orjson.dumps({"instances": [b64(golden[number].read_bytes()) for number in (3, 8)]})


def encloses(outer: Span, *inner: Span) -> bool:
    """Return whether the spans follow one another within `outer`."""
    times = [outer.start_time_unix_nano]
    for span in inner:
        times += [span.start_time_unix_nano, span.end_time_unix_nano]
    times.append(outer.end_time_unix_nano)
    return times == sorted(times)


def test_the_steps_of_a_request_in_the_trace_of_its_client(traced: Traced, two: bytes) -> None:
    trace = TRACE.format(1)
    answer = post(traced.server, PREDICT, two, traceparent=f"00-{trace}-{PARENT}-01", **{"X-Request-Id": "answered"})
    assert answer.status_code == 200
    root = traced.collector.wait_for_root("answered")
    assert (root.name, root.kind) == ("predict", Span.SPAN_KIND_SERVER)
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (trace, PARENT)
    assert root.status.code == Status.STATUS_CODE_UNSET
    assert read_attributes(root.attributes) == {
        "http.request.method": "POST",
        "url.path": PREDICT,
        "http.response.status_code": 200,
        "request.id": "answered",
    }
    spans = traced.collector.trace(root)
    assert set(spans) == {"predict", "decode", "runner", "queue", "inference"}
    decode, runner, queue, inference = (spans[name] for name in ("decode", "runner", "queue", "inference"))
    assert {decode.parent_span_id, runner.parent_span_id} == {root.span_id}
    assert {queue.parent_span_id, inference.parent_span_id} == {runner.span_id}
    assert encloses(root, decode, runner)
    assert encloses(runner, queue, inference)
    assert read_attributes(decode.attributes) == {"images": 2}
    assert read_attributes(runner.attributes) == {"model.name": "xception", "model.version": 1}
    batches = read_attributes(inference.attributes)
    assert batches["batch.size"] in (1, 2)
    assert batches["engine.seconds"] > 0
    assert traced.collector.services == {"xception"}


def test_batches_side_by_side_do_not_outlast_their_request(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    result = Result(np.zeros((64, 10), np.float32), queue_s=1.0, infer_s=9.0, batch_size=4)
    inference = Inference(MODEL, result, decode_s=0.5, started_at=100.5, ended_at=107.0)
    request = RequestRecord(method="POST", path=PREDICT, route="predict", started=100.0, inference=inference)
    tracing.record(request, 200)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    start = spans["decode"].start_time
    seconds = {name: ((span.start_time - start) / 1e9, (span.end_time - start) / 1e9) for name, span in spans.items()}
    assert seconds["decode"] == (0, 0.5)
    assert seconds["runner"] == (0.5, 6.5)
    assert seconds["queue"] == (0.5, 1.5)
    assert seconds["inference"] == (1.5, 6.5)
    assert spans["inference"].attributes == {"batch.size": 4, "engine.seconds": 9.0}


@pytest.mark.parametrize(
    ("path", "body", "status", "name"),
    [
        (PREDICT, b"{}", 400, "predict"),
        ("/classify", b"no image", 400, "classify"),
        ("/v2/models/other/infer", b"{}", 404, "infer"),
    ],
)
def test_a_refused_request_has_a_span_with_its_status(
    traced: Traced, path: str, body: bytes, status: int, name: str
) -> None:
    number = f"{name}-{status}"
    assert post(traced.server, path, body, **{"X-Request-Id": number}).status_code == status
    root = traced.collector.wait_for_root(number)
    assert (root.name, root.parent_span_id, root.status.code) == (name, b"", Status.STATUS_CODE_UNSET)
    assert read_attributes(root.attributes)["http.response.status_code"] == status
    assert list(traced.collector.trace(root)) == [name]


def test_a_request_that_comes_too_late_is_an_error(traced: Traced) -> None:
    large = io.BytesIO()
    Image.new("RGB", (5000, 5000)).save(large, "PNG")  # A small body that takes its time to decode.
    body = orjson.dumps({"instances": [b64(large.getvalue())] * 8})
    late = post(traced.server, PREDICT, body, **{"X-Request-Id": "late", "X-Request-Timeout-Ms": "200"})
    assert late.status_code == 504
    root = traced.collector.wait_for_root("late")
    assert root.status.code == Status.STATUS_CODE_ERROR
    assert read_attributes(root.attributes)["http.response.status_code"] == 504


def test_the_client_decides_what_is_sampled(traced: Traced, two: bytes) -> None:
    not_sampled = TRACE.format(2)
    unheard = post(traced.server, PREDICT, two, traceparent=f"00-{not_sampled}-{PARENT}-00")
    assert unheard.status_code == 200
    assert post(traced.server, PREDICT, two, traceparent="nonsense", **{"X-Request-Id": "next"}).status_code == 200
    assert traced.collector.wait_for_root("next").parent_span_id == b""
    assert not traced.collector.find(lambda span: span.trace_id.hex() == not_sampled)


def test_probes_have_no_spans(traced: Traced) -> None:
    for path in ("/livez", "/readyz", "/metrics", "/v2/health/ready"):
        assert traced.server.client.get(path).status_code == 200
    assert post(traced.server, PREDICT, b"{}", **{"X-Request-Id": "after"}).status_code == 400
    traced.collector.wait_for_root("after")
    assert {span.name for span in traced.collector.find(lambda span: not span.parent_span_id)} <= {
        "predict",
        "classify",
        "infer",
    }


def test_without_a_collector_requests_are_served_and_the_service_stops(traced: Traced, two: bytes) -> None:
    """The last test with this service: it takes the collector away and stops the service."""
    traced.collector.stop()
    for _ in range(5):
        assert post(traced.server, PREDICT, two).status_code == 200
    assert traced.server.stop() == 0
    assert "Failed to export" in traced.server.log or "Transient error" in traced.server.log
    assert "Traceback" not in traced.server.log


def test_what_is_left_is_exported_at_the_end(store_url: str, tmp_path: Path, two: bytes) -> None:
    with collecting() as collector:
        with tracing_server(tmp_path, store_url, collector.url, export_every_ms=600_000) as server:
            assert post(server, PREDICT, two, **{"X-Request-Id": "last"}).status_code == 200
            assert server.stop() == 0
        assert len(collector.trace(collector.wait_for_root("last"))) == 5


def test_without_a_configuration_no_exporter_is_imported() -> None:
    program = """
import sys
from service.telemetry import tracing
from service.server.bentoml_internals import tracer_provider
from service.app import EdgeService
EdgeService.to_asgi()
tracing.start(tracer_provider())
print(tracing._tracer, [name for name in sys.modules if name.startswith("opentelemetry.exporter")])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["None []"], done.stderr
