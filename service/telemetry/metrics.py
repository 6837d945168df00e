"""Prometheus metrics of edge and runner.

BentoML has all processes of a service write to one folder, whose values `/metrics` aggregates. This is the only place
that uses the multiprocess mode of `prometheus_client`; `tests/service/telemetry/test_metrics.py` fails when it changes.
"""

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
"""The environment variable with the folder of the metrics; BentoML sets it."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

_NEWEST: Literal["livemostrecent"] = "livemostrecent"
"""Of several processes the newest value; `forget_dead` drops those of processes that have ended."""

_READY = Gauge("xception_ready", "1 while the default version is available.", multiprocess_mode=_NEWEST)

_REQUESTS = Counter("xception_requests", "Responses, by route and status.", ["route", "status"])
_REQUEST_SECONDS = Histogram(
    "xception_request_seconds", "Time from the first byte of a request to its response.", ["route"], buckets=_SECONDS
)
_DECODE_SECONDS = Histogram("xception_decode_seconds", "Time to decode the images of a request.", buckets=_SECONDS)
_QUEUE_SECONDS = Histogram("xception_queue_seconds", "Time of a request in the queue.", buckets=_SECONDS)
_REQUEST_IMAGES = Histogram("xception_request_images", "Images per request.", buckets=_SIZES)

_FAILED_REQUESTS = Counter("xception_failed_requests", "Requests rejected or failed, by reason.", ["reason"])
CLIENT_IMAGES = Counter("xception_client_images", "Images of requests, by name of the API key.", ["client"])
RUNNER_RESTARTS = Counter("xception_runner_restarts", "Restarts of the runner, as seen by an edge.")

_QUEUE_IMAGES = Gauge("xception_queue_images", "Images waiting in the queue.", multiprocess_mode=_NEWEST)
_QUEUE_BYTES = Gauge("xception_queue_bytes", "Bytes of pixels waiting in the queue.", multiprocess_mode=_NEWEST)
_QUEUE_BACKLOG = Gauge(
    "xception_queue_backlog_seconds", "Estimated time to drain the queue.", multiprocess_mode=_NEWEST
)
_RUNNING = Gauge("xception_engine_batches", "Batches running in the engine.", multiprocess_mode=_NEWEST)
_DROPPED = Counter("xception_dropped_images", "Images dropped from the queue, by reason.", ["reason"])
_BATCH_SIZE = Histogram("xception_batch_size", "Images per batch.", buckets=_SIZES)
_BATCH_SECONDS = Histogram("xception_batch_seconds", "Time of a batch in the engine.", buckets=_SECONDS)
_STATE = Gauge(
    "xception_model_state",
    "1 for the current state of a version, 0 for the others.",
    ["model", "version", "state"],
    multiprocess_mode=_NEWEST,
)
_LOAD_SECONDS = Gauge(
    "xception_model_load_seconds",
    "Time from the pull of a version until it was available.",
    ["model", "version"],
    multiprocess_mode=_NEWEST,
)
_FAILURES = Counter("xception_model_failures", "Failures to load a version, by error code.", ["model", "error_code"])
_LABEL = Gauge(
    "xception_model_label_version",
    "Version that a label routes to, 0 for none; the empty label is the default version.",
    ["model", "label"],
    multiprocess_mode=_NEWEST,
)
_LABEL_WANTED = Gauge(
    "xception_model_label_wanted_version",
    "Version of a label in the store, 0 for none; the empty label is the default version.",
    ["model", "label"],
    multiprocess_mode=_NEWEST,
)
_SWAPS = Counter("xception_model_swaps", "Changes of the version that a label routes to.", ["model", "label"])
_STORE_REQUESTS = Counter("xception_store_requests", "Requests to the store for labels.", ["model", "result"])
_LIMIT = Gauge(
    "xception_batch_limit", "Learned limit of the batch size.", ["model", "version"], multiprocess_mode=_NEWEST
)
_COST_IMAGE = Gauge(
    "xception_batch_cost_image_seconds",
    "Learned time of each image in a batch.",
    ["model", "version"],
    multiprocess_mode=_NEWEST,
)
_COST_FIXED = Gauge(
    "xception_batch_cost_fixed_seconds",
    "Learned fixed time of a batch.",
    ["model", "version"],
    multiprocess_mode=_NEWEST,
)
_COST_ALONE = Gauge(
    "xception_lone_image_cost_seconds",
    "Learned time of a single image on all cores.",
    ["model", "version"],
    multiprocess_mode=_NEWEST,
)
_STREAMS = Gauge(
    "xception_engine_streams",
    "Batches run in parallel under load.",
    ["model", "version"],
    multiprocess_mode=_NEWEST,
)


@cache
def _route_metrics(route: str, status: int) -> tuple[Counter, Histogram]:
    return _REQUESTS.labels(route, str(status)), _REQUEST_SECONDS.labels(route)


@cache
def _reason_counter(reason: str) -> Counter:
    return _FAILED_REQUESTS.labels(reason)


def record_response(route: str, status: int, seconds: float, inference: Inference | None) -> None:
    """Record a response, whatever its status, and the steps of the inference behind it."""
    requests, request_seconds = _route_metrics(route, status)
    requests.inc()
    request_seconds.observe(seconds)
    if inference is not None:
        _DECODE_SECONDS.observe(inference.decode_s)
        _QUEUE_SECONDS.observe(inference.result.queue_s)
        _REQUEST_IMAGES.observe(len(inference.result.scores))


def record_failure(reason: str) -> None:
    """Record that a request was rejected or failed."""
    _reason_counter(reason).inc()


class RunnerMetrics:
    """Records the events of batcher and life cycle."""

    def __init__(self) -> None:
        self._labels: set[str] = set()

    def batch_finished(self, images: int, seconds: float) -> None:
        """Record a batch."""
        _BATCH_SIZE.observe(images)
        _BATCH_SECONDS.observe(seconds)

    def batching_changed(self, model: str, state: BatchingState) -> None:
        """Record the state of the queue, and the learned profiles."""
        _QUEUE_IMAGES.set(state.queue_images)
        _QUEUE_BYTES.set(state.queue_bytes)
        _QUEUE_BACKLOG.set(state.queue_seconds)
        _RUNNING.set(state.running_batches)
        for version in state.versions:
            _record_learned(model, version)

    def images_dropped(self, reason: str, images: int) -> None:
        """Record images whose request was cancelled or expired."""
        _DROPPED.labels(reason).inc(images)

    def version_changed(self, model: str, status: VersionStatus) -> None:
        """Record the state of a version."""
        for state in VersionState:
            _STATE.labels(model, str(status.version), state).set(state == status.state)

    def version_available(self, model: str, batching: VersionBatching, seconds: float) -> None:
        """Record that a version became available, and the seconds since its pull began."""
        _LOAD_SECONDS.labels(model, str(batching.version)).set(seconds)
        _record_learned(model, batching)

    def version_failed(self, model: str, status: VersionStatus) -> None:
        """Record that a version could not be loaded."""
        _FAILURES.labels(model, status.error_code).inc()

    def label_routed(self, model: str, label: str, version: int) -> None:
        """Record the version that a label routes to; 0 is none."""
        _LABEL.labels(model, label).set(version)
        if version:
            _SWAPS.labels(model, label).inc()

    def store_polled(self, model: str, answered: bool) -> None:
        """Record whether the store responded."""
        _STORE_REQUESTS.labels(model, "answered" if answered else "failed").inc()

    def desired_changed(self, model: str, versions: Mapping[str, int]) -> None:
        """Record the versions of the labels in the store."""
        for label in self._labels - versions.keys():
            _LABEL_WANTED.labels(model, label).set(0)
        for label, version in versions.items():
            _LABEL_WANTED.labels(model, label).set(version)
        self._labels |= versions.keys()


def _record_learned(model: str, known: VersionBatching) -> None:
    version = str(known.version)
    _STREAMS.labels(model, version).set(known.streams)
    _LIMIT.labels(model, version).set(known.batch_size)
    _COST_IMAGE.labels(model, version).set(known.image_seconds)
    _COST_FIXED.labels(model, version).set(known.fixed_seconds)
    _COST_ALONE.labels(model, version).set(known.lone_image_seconds)


def exposition(*, ready: bool) -> bytes:
    """Return the metrics of all processes in Prometheus' text format.

    Args:
        ready: Whether the default version is available, as this process knows it. A runner that has died cannot report
            it any more; the edge can.
    """
    _READY.set(ready)
    if FOLDER not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget_dead() -> None:
    """Drop the gauges of processes that have ended; their counters and histograms stay part of the sums.

    The versions and labels of a runner that was killed would otherwise be exported for ever.
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
            pass  # The process runs as another user.
