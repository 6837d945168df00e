"""What Prometheus sees; BentoML points all processes of one service to one folder, and `/metrics` adds them up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from service.core.inference import Inference
from service.core.serving_state import BatchingState, VersionBatching, VersionState, VersionStatus

CONTENT_TYPE = CONTENT_TYPE_LATEST

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder in which the processes of a service keep their metrics; BentoML sets it."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

_NEWEST: Literal["livemostrecent"] = "livemostrecent"
"""Of several processes the one that spoke last; what a dead one said goes with `forget_dead`."""

_READY = Gauge(
    "xception_ready", "1 while a checked version answers requests that name none.", multiprocess_mode=_NEWEST
)

_REQUESTS = Counter("xception_requests", "Requests answered, by route and status.", ["route", "status"])
_REQUEST_SECONDS = Histogram(
    "xception_request_seconds", "From the first byte to the answer.", ["route"], buckets=_SECONDS
)
_DECODE_SECONDS = Histogram("xception_decode_seconds", "Decoding the images of a request.", buckets=_SECONDS)
_QUEUE_SECONDS = Histogram("xception_queue_seconds", "A request's wait in the runner.", buckets=_SECONDS)
_INSTANCES = Histogram("xception_request_images", "Images in a request.", buckets=_SIZES)

_FAILED_REQUESTS = Counter("xception_failed_requests", "Requests refused or failed, by the reason.", ["reason"])
CLIENT_IMAGES = Counter("xception_client_images", "Images of requests, by the name of their API key.", ["client"])
RUNNER_RESTARTS = Counter("xception_runner_restarts", "Times that an edge found another runner in its place.")

_QUEUE_IMAGES = Gauge("xception_queue_images", "Images that wait.", multiprocess_mode=_NEWEST)
_QUEUE_BYTES = Gauge("xception_queue_bytes", "Bytes of pixels that wait.", multiprocess_mode=_NEWEST)
_QUEUE_BACKLOG = Gauge("xception_queue_backlog_seconds", "How long what waits will take.", multiprocess_mode=_NEWEST)
_RUNNING = Gauge("xception_engine_batches", "Batches that run.", multiprocess_mode=_NEWEST)
_DROPPED = Counter("xception_dropped_images", "Images that left the queue without being run.", ["reason"])
_BATCH_SIZE = Histogram("xception_batch_size", "Images in a batch.", buckets=_SIZES)
_BATCH_SECONDS = Histogram("xception_batch_seconds", "A batch in the engine.", buckets=_SECONDS)
_STATE = Gauge(
    "xception_model_state",
    "1 for the state that a version is in.",
    ["model", "version", "state"],
    multiprocess_mode=_NEWEST,
)
_LOAD_SECONDS = Gauge(
    "xception_model_load_seconds",
    "From the pull to the first answer.",
    ["model", "version"],
    multiprocess_mode=_NEWEST,
)
_FAILURES = Counter("xception_model_failures", "Versions that could not be brought to life.", ["model", "error_code"])
_LABEL = Gauge(
    "xception_model_label_version",
    "The version that a label leads to, 0 where it leads nowhere any more; an empty label is the default.",
    ["model", "label"],
    multiprocess_mode=_NEWEST,
)
_WANTED = Gauge(
    "xception_model_label_wanted_version",
    "The version that the store says a label leads to, 0 where it knows no such label; an empty one is the default.",
    ["model", "label"],
    multiprocess_mode=_NEWEST,
)
_SWAPS = Counter("xception_model_swaps", "Times that a label came to lead to another version.", ["model", "label"])
_STORE_ASKED = Counter("xception_store_requests", "Times the store was asked about labels.", ["model", "result"])
_LIMIT = Gauge(
    "xception_batch_limit", "Largest batch that pays, as learned.", ["model", "version"], multiprocess_mode=_NEWEST
)
_COST_IMAGE = Gauge(
    "xception_batch_cost_image_seconds",
    "Learned latency of one more image in a batch.",
    ["model", "version"],
    multiprocess_mode=_NEWEST,
)
_COST_FIXED = Gauge(
    "xception_batch_cost_fixed_seconds",
    "Learned latency of a batch without its images.",
    ["model", "version"],
    multiprocess_mode=_NEWEST,
)
_COST_ALONE = Gauge(
    "xception_lone_image_cost_seconds",
    "Learned latency of an image that has all cores.",
    ["model", "version"],
    multiprocess_mode=_NEWEST,
)
_LANES = Gauge(
    "xception_engine_streams",
    "Batches that run side by side under load.",
    ["model", "version"],
    multiprocess_mode=_NEWEST,
)


@cache
def _of_route(route: str, status: int) -> tuple[Counter, Histogram]:
    return _REQUESTS.labels(route, str(status)), _REQUEST_SECONDS.labels(route)


@cache
def _of_reason(reason: str) -> Counter:
    return _FAILED_REQUESTS.labels(reason)


def record_response(route: str, status: int, seconds: float, inference: Inference | None) -> None:
    """Record a response, whatever its status, and the steps of the inference behind it."""
    requests, request_seconds = _of_route(route, status)
    requests.inc()
    request_seconds.observe(seconds)
    if inference is not None:
        _DECODE_SECONDS.observe(inference.decode_s)
        _QUEUE_SECONDS.observe(inference.result.queue_s)
        _INSTANCES.observe(len(inference.result.scores))


def record_failure(reason: str) -> None:
    """Record that a request was rejected or failed."""
    _of_reason(reason).inc()


class RunnerMetrics:
    """Keeps the metrics of batcher and life cycle."""

    def __init__(self) -> None:
        self._wanted: set[str] = set()

    def ran(self, images: int, seconds: float) -> None:
        """Record a batch."""
        _BATCH_SIZE.observe(images)
        _BATCH_SECONDS.observe(seconds)

    def batching(self, model: str, state: BatchingState) -> None:
        """Record how full the queue is, and what has been learned."""
        _QUEUE_IMAGES.set(state.queue_images)
        _QUEUE_BYTES.set(state.queue_bytes)
        _QUEUE_BACKLOG.set(state.queue_seconds)
        _RUNNING.set(state.running_batches)
        for version in state.versions:
            _record_learned(model, version)

    def dropped(self, reason: str, images: int) -> None:
        """Record images that nobody waited for any more."""
        _DROPPED.labels(reason).inc(images)

    def version_changed(self, model: str, status: VersionStatus) -> None:
        """Record the state of a version."""
        for state in VersionState:
            _STATE.labels(model, str(status.version), state).set(state == status.state)

    def version_available(self, model: str, batching: VersionBatching, seconds: float) -> None:
        """Record that a version became available, so many seconds after its pull began."""
        _LOAD_SECONDS.labels(model, str(batching.version)).set(seconds)
        _record_learned(model, batching)

    def version_failed(self, model: str, status: VersionStatus) -> None:
        """Record that a version did not go live."""
        _FAILURES.labels(model, status.error_code).inc()

    def routed(self, model: str, label: str, version: int) -> None:
        """Record where a label leads."""
        _LABEL.labels(model, label).set(version)
        if version:
            _SWAPS.labels(model, label).inc()

    def store_asked(self, model: str, answered: bool) -> None:
        """Record whether the store answered."""
        _STORE_ASKED.labels(model, "answered" if answered else "failed").inc()

    def wanted(self, model: str, versions: Mapping[str, int]) -> None:
        """Record where the store wants the labels to lead."""
        for label in self._wanted - versions.keys():
            _WANTED.labels(model, label).set(0)
        for label, version in versions.items():
            _WANTED.labels(model, label).set(version)
        self._wanted |= versions.keys()


def _record_learned(model: str, known: VersionBatching) -> None:
    version = str(known.version)
    _LANES.labels(model, version).set(known.streams)
    _LIMIT.labels(model, version).set(known.batch_size)
    _COST_IMAGE.labels(model, version).set(known.image_seconds)
    _COST_FIXED.labels(model, version).set(known.fixed_seconds)
    _COST_ALONE.labels(model, version).set(known.lone_image_seconds)


def exposition(*, ready: bool) -> bytes:
    """Return the metrics of all processes of this service in Prometheus' text format.

    Args:
        ready: Whether a version answers, as the process that is asked knows it at this moment. A runner that has died
            cannot say so any more; the edge can.
    """
    _READY.set(ready)
    if FOLDER not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget_dead() -> None:
    """Drop the gauges of processes that are gone; their counters and histograms stay part of the sums.

    A runner that was killed would otherwise tell for ever of versions and labels that its successor has never met.
    """
    if FOLDER not in os.environ:
        return
    for file in Path(os.environ[FOLDER]).glob(f"gauge_{_NEWEST}_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]
        except PermissionError:
            pass  # It lives, as somebody else's.
