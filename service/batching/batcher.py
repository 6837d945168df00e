"""The micro-batcher: one bounded queue before the engine, emptied in batches of the learned size.

It is work-conserving: an idle engine never waits for a batch to fill (unless `max_wait_s` is set), and requests collect
while the engine is busy. docs/adr/0001-own-micro-batcher.md explains why BentoML's own batching is not used.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.batching.queued_request import BatchableModel, BatchSlice, QueuedRequest
from service.batching.streams import Slot, Streams
from service.core.deadline import BULK_INTERVAL, Deadline, Priority
from service.core.errors import DeadlineExceededError, InferenceError, NotReadyError, OverloadedError
from service.core.result import Result
from service.host.thread_pool import ThreadPool


class BatchObserver(Protocol):
    """Receives the events of the batcher; the metrics implement it."""

    def batch_finished(self, images: int, seconds: float) -> None:
        """Record that a batch of so many images took so many seconds."""

    def images_dropped(self, reason: str, images: int) -> None:
        """Record images that left the queue without being run, because they `expired` or were `cancelled`."""


_STUCK_FACTOR = 20
"""Multiple of the expected duration that a batch may take, in addition to the timeout of the settings."""

WARMUP_TIMEOUT_S = 120.0
"""Seconds that a warm-up batch may wait for the engine and run."""


class Batcher:
    """Queue and worker threads in front of the engines."""

    def __init__(
        self,
        observer: BatchObserver,
        *,
        max_images: int,
        max_bytes: int,
        threads: int = 1,
        max_wait_s: float = 0.0,
        timeout_s: float = 10.0,
    ) -> None:
        """Keep the limits.

        Args:
            observer: Receives the events.
            max_images: Maximum images in the queue.
            max_bytes: Maximum bytes of pixels in the queue.
            threads: Maximum streams of an engine.
            max_wait_s: How long an idle engine waits for a batch to fill.
            timeout_s: How much longer than expected a batch may take before it counts as stuck.
        """
        self.max_images = max_images
        self.max_bytes = max_bytes
        self.max_wait_s = max_wait_s
        self.images = 0
        """Images in the queue."""
        self.bytes = 0
        """Bytes of their pixels."""
        self._timeout_s = timeout_s
        self._observer = observer
        self._queues: dict[Priority, deque[QueuedRequest]] = {priority: deque() for priority in Priority}
        self._queued: dict[Priority, Counter[BatchableModel]] = {priority: Counter() for priority in Priority}
        self._streams = Streams()
        self._running: dict[asyncio.Task[None], BatchableModel] = {}
        self._due: dict[object, float] = {}
        """When each running batch must be done, by `time.monotonic`."""
        self._batches = 0
        self._pool = ThreadPool(threads, "engine")
        self._open = False
        self._fill_timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> int:
        """Return the number of running batches."""
        return self._streams.running

    def stuck(self) -> str | None:
        """Return a description of a stuck batch, or None."""
        overdue_s = time.monotonic() - min(self._due.values(), default=math.inf)
        return f"a batch should have been done {overdue_s:.1f} s ago" if overdue_s > 0 else None

    def start(self) -> None:
        """Start the threads that run batches, one per stream."""
        self._pool.start()
        self._open = True

    async def stop(self) -> None:
        """Fail queued requests with `NotReadyError`, wait for running batches, then stop the threads.

        In this order no request waits forever, and no engine is closed while a batch runs.
        """
        self._open = False
        for request in self._all_requests():
            request.fail(NotReadyError("the runner is shutting down"))
        for queue in self._queues.values():
            queue.clear()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._pool.stop()

    def enqueue(
        self,
        model: BatchableModel,
        pixels: NDArray[np.uint8],
        deadline: Deadline,
        priority: Priority = Priority.INTERACTIVE,
    ) -> QueuedRequest:
        """Queue the images of a request; the future of the returned object has its result.

        Cancelling it removes its images from the queue; those in the engine are run to the end.

        Args:
            model: The version to run; images of different versions never share a batch.
            pixels: `uint8 [n, height, width, 3]`.
            deadline: When the client stops waiting.
            priority: Interactive requests leave the queue before bulk ones.

        Raises:
            OverloadedError: The queue is full, or its images take longer than the deadline.
            DeadlineExceededError: The deadline is too short even for an idle engine. If it passes later, or the
                engine fails, or the batcher stops, the future fails.
            NotReadyError: The batcher is not running.
        """
        if not self._open:
            raise NotReadyError("the runner is shutting down")
        self._check_limits(model, pixels, deadline, priority)
        return self._append(
            QueuedRequest(model, pixels, deadline, priority, asyncio.get_running_loop().create_future())
        )

    async def submit(
        self,
        model: BatchableModel,
        pixels: NDArray[np.uint8],
        deadline: Deadline,
        priority: Priority = Priority.INTERACTIVE,
    ) -> Result:
        """Queue the images of a request and wait for their scores; cancelling the call cancels them.

        Raises:
            ServiceError: As `enqueue`, or what its future fails with.
        """
        return await _await_result(self.enqueue(model, pixels, deadline, priority))

    async def run_warmup(self, model: BatchableModel, pixels: NDArray[np.uint8]) -> Result:
        """Run images of a version that is not available yet, queued among the requests, without limits.

        So warm-up never competes with a running batch for its cores.

        Raises:
            ServiceError: The engine failed, or the images did not run within `WARMUP_TIMEOUT_S`.
        """
        if not self._open:
            raise NotReadyError("the runner is shutting down")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        request = QueuedRequest(model, pixels, Deadline(WARMUP_TIMEOUT_S), Priority.INTERACTIVE, future, warmup=True)
        return await _await_result(self._append(request))

    async def wait_drained(self, model: BatchableModel) -> None:
        """Wait until no image of this version is queued or running; then its engine may be closed."""
        while pending := self._pending(model):
            await asyncio.wait(pending)

    def backlog_s(self, priority: Priority) -> float:
        """Return the seconds that the images ahead of a new request of `priority` take."""
        queue_ahead: Counter[BatchableModel] = Counter()
        for level in Priority:
            if level <= priority:
                queue_ahead.update(self._queued[level])
        return sum(model.profile.work_s(images) for model, images in queue_ahead.items())

    def _wait_s(self, priority: Priority) -> float:
        """Return the seconds that a new request waits; bulk requests start every `BULK_INTERVAL`-th batch."""
        backlog_s = self.backlog_s(priority)
        if priority is Priority.INTERACTIVE:
            return backlog_s
        own = sum(model.profile.work_s(images) for model, images in self._queued[priority].items())
        return min(backlog_s, own * BULK_INTERVAL)

    def _append(self, request: QueuedRequest) -> QueuedRequest:
        request.start_deadline_timer()
        self._queues[request.priority].append(request)
        self._count(request, len(request.pixels))
        self._dispatch()
        return request

    def _pending(self, model: BatchableModel) -> set[asyncio.Future[Any]]:
        queued = {
            request.future for request in self._all_requests() if request.model is model and not request.future.done()
        }
        return queued | {task for task, runs in self._running.items() if runs is model}

    def _check_limits(
        self, model: BatchableModel, pixels: NDArray[np.uint8], deadline: Deadline, priority: Priority
    ) -> None:
        # An empty queue accepts any request within the limits of the settings.
        max_images = max(priority.share_of(self.max_images), min(len(pixels), self.max_images))
        max_bytes = max(priority.share_of(self.max_bytes), min(pixels.nbytes, self.max_bytes))
        if self.images + len(pixels) > max_images or self.bytes + pixels.nbytes > max_bytes:
            self._drop_expired()
        for unit, queued, more, limit in (
            ("images", self.images, len(pixels), max_images),
            ("bytes", self.bytes, pixels.nbytes, max_bytes),
        ):
            if queued + more > limit:
                raise OverloadedError(
                    f"the queue holds {queued} {unit}; {more} more are over its limit of {limit}",
                    retry_after_s=math.ceil(self.backlog_s(Priority.BULK)),
                    reason=f"queue_{unit}",
                )
        remaining_s = deadline.remaining_s()
        needed_s = model.profile.latency_s(len(pixels))
        if needed_s > remaining_s:
            raise DeadlineExceededError(
                f"{len(pixels)} images take about {needed_s * 1000:.0f} ms; "
                f"{max(0.0, remaining_s) * 1000:.0f} ms are left"
            )
        needed_s += self._wait_s(priority)
        if needed_s > remaining_s:
            raise OverloadedError(
                f"a response takes about {needed_s * 1000:.0f} ms now; {remaining_s * 1000:.0f} ms are left",
                retry_after_s=math.ceil(needed_s - remaining_s),
                reason="late",
            )

    def _dispatch(self) -> None:
        """Start batches while a stream is free and images are queued."""
        while request := self._next_request():
            model = request.model
            queued = sum(counts[model] for counts in self._queued.values())
            slot = self._streams.next(model.profile, queued)
            if slot is None:
                return
            if self.max_wait_s and (wait_s := self._time_to_fill(request, queued)) > 0:
                if self._fill_timer is None:
                    self._fill_timer = asyncio.get_running_loop().call_later(wait_s, self._on_timeout)
                return
            if not (batch := self._take(model, slot.images)):
                continue
            self._streams.occupy(slot)
            task = asyncio.create_task(self._run(model, batch, slot))
            self._running[task] = model
            task.add_done_callback(self._running.pop)

    def _on_timeout(self) -> None:
        self._fill_timer = None
        self._dispatch()

    def _time_to_fill(self, request: QueuedRequest, queued: int) -> float:
        if queued >= request.model.profile.batch_size * request.model.profile.streams:
            return 0.0
        return request.enqueued_at + self.max_wait_s - time.monotonic()

    def _all_requests(self) -> Iterator[QueuedRequest]:
        for queue in self._queues.values():
            yield from queue

    def _next_request(self) -> QueuedRequest | None:
        """Return the next request; expired and cancelled ones are dropped on the way."""
        for queue in self._by_priority():
            while queue:
                request = queue[0]
                if not self._drop_if_done(request):
                    return request
                queue.popleft()
        return None

    def _drop_expired(self) -> None:
        """Drop all expired and cancelled requests, not only those at the head of the queue."""
        for priority, queue in self._queues.items():
            self._queues[priority] = deque(request for request in queue if not self._drop_if_done(request))

    def _drop_if_done(self, request: QueuedRequest) -> bool:
        expired = request.deadline.remaining_s() <= 0
        if not expired and not request.future.done():
            return False
        self._observer.images_dropped("expired" if expired else "cancelled", request.remaining)
        self._count(request, -request.remaining)
        request.dequeued = len(request.pixels)
        return True

    def _take(self, model: BatchableModel, size: int) -> list[BatchSlice]:
        """Dequeue the next batch of a model, of at most `size` images; other models keep their places."""
        batch: list[BatchSlice] = []
        for queue in self._by_priority():
            kept: list[QueuedRequest] = []
            while queue and size:
                request = queue.popleft()
                if request.model is not model:
                    kept.append(request)
                elif not self._drop_if_done(request):
                    piece = BatchSlice(request, request.dequeued, min(request.dequeued + size, len(request.pixels)))
                    request.dequeued = piece.stop
                    request.dequeued_at = request.dequeued_at or time.monotonic()
                    size -= len(piece)
                    self._count(request, -len(piece))
                    batch.append(piece)
                    if request.remaining:
                        kept.append(request)
            queue.extendleft(reversed(kept))
        self._batches += bool(batch)
        return batch

    def _by_priority(self) -> Iterator[deque[QueuedRequest]]:
        """Return the queues in the order in which the next batch takes from them."""
        queues = self._queues.values()
        return reversed(queues) if self._batches % BULK_INTERVAL == BULK_INTERVAL - 1 else iter(queues)

    async def _run(self, model: BatchableModel, batch: list[BatchSlice], slot: Slot) -> None:
        """Run one batch; if a batch of several images fails, run each alone, so that only the bad ones fail.

        Images of requests that are cancelled or expired by then are not run again.
        """
        try:
            error = await self._run_batch(model, batch, slot)
            if error and sum(map(len, batch)) > 1:
                for piece in batch:
                    for index in range(piece.start, piece.stop):
                        if piece.request.future.done():
                            break
                        single = BatchSlice(piece.request, index, index + 1)
                        if failure := await self._run_batch(model, [single], slot):
                            piece.request.fail(InferenceError(f"the engine failed on image {index}: {failure}"))
                            break
            elif error:
                batch[0].request.fail(InferenceError(f"the engine failed: {error}"))
        finally:
            self._streams.release(slot)
            self._dispatch()

    async def _run_batch(self, model: BatchableModel, batch: list[BatchSlice], slot: Slot) -> Exception | None:
        """Run the slices as one batch and distribute the scores; return the exception of the engine, if any."""
        images = sum(map(len, batch))

        def run() -> tuple[NDArray[np.float32], float]:
            pixels = batch[0].pixels if len(batch) == 1 else np.concatenate([piece.pixels for piece in batch])
            started = time.perf_counter()
            scores = model.run(pixels, slot.stream)
            if scores.ndim != 2 or len(scores) != images:
                raise RuntimeError(f"scores of shape {list(scores.shape)} for {images} images")
            if not np.isfinite(scores).all():
                raise RuntimeError("scores that are not finite")
            return scores, time.perf_counter() - started

        token = object()
        self._due[token] = time.monotonic() + self._batch_timeout_s(model, batch)
        try:
            scores, seconds = await self._pool.run(run)
        except Exception as error:  # An exception of the engine must not end the worker.
            return error
        finally:
            del self._due[token]
        model.profile.observe(images, seconds, exclusive=slot.stream is None)
        self._observer.batch_finished(images, seconds)
        at = 0
        for piece in batch:
            piece.request.infer_s += seconds
            piece.request.batch_size = max(piece.request.batch_size, images)
            piece.request.add_scores(piece.start, scores[at : at + len(piece)])
            at += len(piece)
        return None

    def _batch_timeout_s(self, model: BatchableModel, batch: list[BatchSlice]) -> float:
        if any(piece.request.warmup for piece in batch):
            return WARMUP_TIMEOUT_S  # The first batches of a version create its kernels; their duration is unknown.
        return self._timeout_s + _STUCK_FACTOR * model.profile.work_s(sum(map(len, batch)))

    def _count(self, request: QueuedRequest, images: int) -> None:
        """Count images that entered the queue, or with a negative number left it."""
        if not request.warmup:
            self.images += images
            self.bytes += images * request.pixels[:1].nbytes
        queued = self._queued[request.priority]
        queued[request.model] += images
        if not queued[request.model]:
            del queued[request.model]


async def _await_result(request: QueuedRequest) -> Result:
    """Wait for the result of a request; cancel the request if the call is cancelled."""
    try:
        return await request.future
    finally:
        request.cancel()
