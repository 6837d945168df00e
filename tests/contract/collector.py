"""A collector of OpenTelemetry over HTTP that keeps the spans it is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


def read_attributes(attributes: Any) -> dict[str, Any]:
    """Return them as Python's values."""
    return {one.key: _value(one) for one in attributes}


def _value(attribute: KeyValue) -> Any:
    return getattr(attribute.value, str(attribute.value.WhichOneof("value")))


class Collector:
    """What has been collected so far."""

    def __init__(self) -> None:
        self.url = ""
        self.stop: Callable[[], None] = lambda: None
        """Stops listening."""
        self.services: set[str] = set()
        """The names of the services that sent anything."""
        self._spans: list[Span] = []
        self._lock = threading.Lock()

    def take(self, body: bytes) -> None:
        """Keep what one request brings."""
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            for resource in request.resource_spans:
                self.services.add(read_attributes(resource.resource.attributes)["service.name"])
                for scope in resource.scope_spans:
                    self._spans.extend(scope.spans)

    def find(self, wanted: Callable[[Span], bool]) -> list[Span]:
        """Return the spans that are wanted, in the order of their starts."""
        with self._lock:
            return sorted(filter(wanted, self._spans), key=lambda span: span.start_time_unix_nano)

    def wait_for_root(self, request_id: str) -> Span:
        """Return the outermost span of a request once it has come."""
        until = time.monotonic() + 30
        while not (found := self.find(lambda span: read_attributes(span.attributes).get("request.id") == request_id)):
            assert time.monotonic() < until
            time.sleep(0.05)
        (root,) = found
        return root

    def trace(self, root: Span) -> dict[str, Span]:
        """Return the spans of a request, by name; they are sent no later than the outermost one."""
        spans = self.find(lambda span: span.trace_id == root.trace_id)
        assert len({span.name for span in spans}) == len(spans)
        return {span.name: span for span in spans}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector, whose `url` takes spans."""
    collector = Collector()
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if stopped.is_set():  # On a connection that was open already.
                self.close_connection = True
                return
            assert self.path == "/v1/traces"
            collector.take(body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def stop() -> None:
        if not stopped.is_set():
            stopped.set()
            server.shutdown()
            thread.join()
            server.server_close()

    collector.stop = stop
    try:
        yield collector
    finally:
        stop()
