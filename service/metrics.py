"""What Prometheus sees; BentoML points all processes of one service to one folder, and `/metrics` adds them up."""

from __future__ import annotations

import os

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from .served import ServedVersion
from .state import State, VersionStatus

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

REQUESTS = Counter("xception_requests", "Requests answered, by route and status.", ["route", "status"])
REQUEST_SECONDS = Histogram(
    "xception_request_seconds", "From the first byte to the answer.", ["route"], buckets=_SECONDS
)
DECODE_SECONDS = Histogram("xception_decode_seconds", "Decoding the images of a request.", buckets=_SECONDS)
QUEUE_SECONDS = Histogram("xception_queue_seconds", "A request's wait in the runner.", buckets=_SECONDS)
INSTANCES = Histogram("xception_request_images", "Images in a request.", buckets=_SIZES)

_QUEUE_IMAGES = Gauge("xception_queue_images", "Images that wait.", multiprocess_mode="mostrecent")
_QUEUE_BYTES = Gauge("xception_queue_bytes", "Bytes of pixels that wait.", multiprocess_mode="mostrecent")
_DROPPED = Counter("xception_dropped_images", "Images that left the queue without being run.", ["reason"])
_BATCH_SIZE = Histogram("xception_batch_size", "Images in a batch.", buckets=_SIZES)
_BATCH_SECONDS = Histogram("xception_batch_seconds", "A batch in the engine.", buckets=_SECONDS)
_STATE = Gauge(
    "xception_model_state",
    "1 for the state that a version is in.",
    ["model", "version", "state"],
    multiprocess_mode="mostrecent",
)
_LOAD_SECONDS = Gauge(
    "xception_model_load_seconds",
    "From the pull to the first answer.",
    ["model", "version"],
    multiprocess_mode="mostrecent",
)
_FAILURES = Counter("xception_model_failures", "Versions that could not be brought to life.", ["model", "error_code"])
_LABEL = Gauge(
    "xception_model_label_version",
    "The version that a label leads to, 0 where it leads nowhere any more; an empty label is the default.",
    ["model", "label"],
    multiprocess_mode="mostrecent",
)
_SWAPS = Counter("xception_model_swaps", "Times that a label came to lead to another version.", ["model", "label"])
_STORE_ASKED = Counter("xception_store_requests", "Times the store was asked about labels.", ["model", "result"])
_LIMIT = Gauge(
    "xception_batch_limit", "Largest batch that pays, as learned.", ["model", "version"], multiprocess_mode="mostrecent"
)
_COST_IMAGE = Gauge(
    "xception_batch_cost_image_seconds",
    "Learned latency of one more image in a batch.",
    ["model", "version"],
    multiprocess_mode="mostrecent",
)
_COST_FIXED = Gauge(
    "xception_batch_cost_fixed_seconds",
    "Learned latency of a batch without its images.",
    ["model", "version"],
    multiprocess_mode="mostrecent",
)


class RunnerMetrics:
    """Keeps the metrics of batcher and life cycle."""

    def __init__(self) -> None:
        self._served: dict[ServedVersion, str] = {}

    def queued(self, images: int, size: int) -> None:
        """Record how full the queue is."""
        _QUEUE_IMAGES.set(images)
        _QUEUE_BYTES.set(size)

    def ran(self, images: int, seconds: float) -> None:
        """Record a batch, and what has been learned from it."""
        _BATCH_SIZE.observe(images)
        _BATCH_SECONDS.observe(seconds)
        for served, model in self._served.items():
            version = str(served.model.version)
            _COST_IMAGE.labels(model, version).set(served.cost.per_image_s)
            _COST_FIXED.labels(model, version).set(served.cost.fixed_s)

    def dropped(self, reason: str, images: int) -> None:
        """Record images that nobody waited for any more."""
        _DROPPED.labels(reason).inc(images)

    def version_changed(self, model: str, status: VersionStatus) -> None:
        """Record the state of a version."""
        for state in State:
            _STATE.labels(model, str(status.version), state).set(state == status.state)

    def version_available(self, model: str, served: ServedVersion, seconds: float) -> None:
        """Record that a version went live."""
        version = str(served.model.version)
        _LOAD_SECONDS.labels(model, version).set(seconds)
        _LIMIT.labels(model, version).set(served.batch_size)
        self._served[served] = model

    def version_failed(self, model: str, status: VersionStatus) -> None:
        """Record that a version did not go live."""
        _FAILURES.labels(model, status.error_code).inc()

    def version_gone(self, model: str, served: ServedVersion) -> None:  # noqa: ARG002 -- the protocol's names
        """Learn no more of a version that was unloaded."""
        self._served.pop(served, None)

    def routed(self, model: str, label: str, version: int) -> None:
        """Record where a label leads."""
        _LABEL.labels(model, label).set(version)
        if version:
            _SWAPS.labels(model, label).inc()

    def store_asked(self, model: str, answered: bool) -> None:
        """Record whether the store answered."""
        _STORE_ASKED.labels(model, "answered" if answered else "failed").inc()


def exposition() -> bytes:
    """Return the metrics of all processes of this service in Prometheus' text format."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
