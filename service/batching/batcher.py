"""The micro-batcher: one bounded queue before the engine, emptied in batches as large as they pay.

It is work-conserving: an idle engine never waits for a batch to fill (unless `max_wait_s` says so), and while
the engine is busy arrivals collect. docs/adr/0001-own-micro-batcher.md tells why this is not BentoML's own.
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

from service.batching.queue_entry import BatchableModel, BatchSlice, QueuedRequest
from service.batching.streams import Slot, Streams
from service.core.deadline import BULK_TURN, Deadline, Priority
from service.core.errors import DeadlineExceededError, InferenceError, NotReadyError, OverloadedError
from service.core.result import Result
from service.host.thread_pool import ThreadPool


class BatchObserver(Protocol):
    """Who is told what the batcher does; the metrics are one."""

    def batch_finished(self, images: int, seconds: float) -> None:
        """Record that a batch of so many images took so many seconds."""

    def images_dropped(self, reason: str, images: int) -> None:
        """So many images left the queue without being run, because they `expired` or were `cancelled`."""


_STUCK_FACTOR = 20
"""How many times as long as expected a batch may take, on top of what the settings allow."""

WARMUP_TIMEOUT_S = 120.0
"""How long a version that is not live yet waits at most for a turn of the engine, in seconds."""


class Batcher:
    """Queue and workers before an engine."""

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
        """Keep the bounds.

        Args:
            observer: Is told what happens.
            max_images: Images that may wait.
            max_bytes: Bytes of pixels that may wait.
            threads: The most lanes that an engine may have.
            max_wait_s: How long an idle engine waits for a batch to fill.
            timeout_s: How much longer than expected a batch may take before it counts as stuck.
        """
        self.max_images = max_images
        self.max_bytes = max_bytes
        self.max_wait_s = max_wait_s
        self.images = 0
        """Images that wait now."""
        self.bytes = 0
        """Bytes of their pixels."""
        self._timeout_s = timeout_s
        self._observer = observer
        self._queues: dict[Priority, deque[QueuedRequest]] = {priority: deque() for priority in Priority}
        self._waiting: dict[Priority, Counter[BatchableModel]] = {priority: Counter() for priority in Priority}
        self._streams = Streams()
        self._running: dict[asyncio.Task[None], BatchableModel] = {}
        self._due: dict[object, float] = {}
        """When each of the batches in the engine must be done."""
        self._batches = 0
        self._workers = ThreadPool(threads, "engine")
        self._open = False
        self._fill_timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> int:
        """Return the number of batches in the engine."""
        return self._streams.running

    def stuck(self) -> str | None:
        """Return what hangs in the engine, or None where nothing does."""
        overdue_s = time.monotonic() - min(self._due.values(), default=math.inf)
        return f"a batch should have been done {overdue_s:.1f} s ago" if overdue_s > 0 else None

    def start(self) -> None:
        """Open the threads in which batches run, one for each lane."""
        self._workers.start()
        self._open = True

    async def stop(self) -> None:
        """Answer what waits with «not ready», let running batches end, then close the threads.

        In this order: nobody waits for ever, and no engine is closed under a batch.
        """
        self._open = False
        for entry in self._all_entries():
            entry.fail(NotReadyError("the runner is shutting down"))
        for queue in self._queues.values():
            queue.clear()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._workers.stop()

    def enqueue(
        self,
        model: BatchableModel,
        pixels: NDArray[np.uint8],
        deadline: Deadline,
        priority: Priority = Priority.INTERACTIVE,
    ) -> QueuedRequest:
        """Queue the images of a request; the entry's future is its answer.

        Giving the entry up takes its images out of the queue; those in the engine are run to their end.

        Args:
            model: The version that is to answer; its images never share a batch with another's.
            pixels: `uint8 [n, height, width, 3]`.
            deadline: When the caller stops waiting.
            priority: Interactive requests leave the queue before bulk ones.

        Raises:
            OverloadedError: The queue is full, or what waits already takes longer than the deadline.
            DeadlineExceededError: The deadline is too short even for an idle engine. If it passes later, or the
                engine fails, or the batcher stops, the future fails.
            NotReadyError: The batcher is not running.
        """
        if not self._open:
            raise NotReadyError("the runner is shutting down")
        self._check_room(model, pixels, deadline, priority)
        return self._add(QueuedRequest(model, pixels, deadline, priority, asyncio.get_running_loop().create_future()))

    async def submit(
        self,
        model: BatchableModel,
        pixels: NDArray[np.uint8],
        deadline: Deadline,
        priority: Priority = Priority.INTERACTIVE,
    ) -> Result:
        """Queue the images of a request and wait for their scores; cancelling the call gives them up.

        Raises:
            ServiceError: As `enqueue`, or what its future fails with.
        """
        return await _answer(self.enqueue(model, pixels, deadline, priority))

    async def run_warmup(self, model: BatchableModel, pixels: NDArray[np.uint8]) -> Result:
        """Run images of a version that is not live yet, in its turn among the requests and whatever the bounds.

        So a version that is warmed and checked never takes a core from a live batch that runs on it.

        Raises:
            ServiceError: The engine failed, or there was no turn within `WARMUP_TIMEOUT_S`.
        """
        if not self._open:
            raise NotReadyError("the runner is shutting down")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        entry = QueuedRequest(model, pixels, Deadline(WARMUP_TIMEOUT_S), Priority.INTERACTIVE, future, warmup=True)
        return await _answer(self._add(entry))

    async def drained(self, model: BatchableModel) -> None:
        """Wait until nothing of this version waits or runs any more; its engine may be closed then."""
        while pending := self._pending(model):
            await asyncio.wait(pending)

    def backlog_s(self, priority: Priority) -> float:
        """Return how long the images that leave before a newcomer of `priority` take, in seconds."""
        queue_ahead: Counter[BatchableModel] = Counter()
        for level in Priority:
            if level <= priority:
                queue_ahead.update(self._waiting[level])
        return sum(model.profile.work_s(images) for model, images in queue_ahead.items())

    def _wait_s(self, priority: Priority) -> float:
        """Return how long a newcomer waits, in seconds: bulk requests have their turns, whatever comes before them."""
        backlog_s = self.backlog_s(priority)
        if priority is Priority.INTERACTIVE:
            return backlog_s
        own = sum(model.profile.work_s(images) for model, images in self._waiting[priority].items())
        return min(backlog_s, own * BULK_TURN)

    def _add(self, entry: QueuedRequest) -> QueuedRequest:
        entry.watch_deadline()
        self._queues[entry.priority].append(entry)
        self._count(entry, len(entry.pixels))
        self._dispatch()
        return entry

    def _pending(self, model: BatchableModel) -> set[asyncio.Future[Any]]:
        waiting = {entry.future for entry in self._all_entries() if entry.model is model and not entry.future.done()}
        return waiting | {task for task, runs in self._running.items() if runs is model}

    def _check_room(
        self, model: BatchableModel, pixels: NDArray[np.uint8], deadline: Deadline, priority: Priority
    ) -> None:
        # An empty queue takes whatever the settings let a request hold.
        max_images = max(priority.share_of(self.max_images), min(len(pixels), self.max_images))
        max_bytes = max(priority.share_of(self.max_bytes), min(pixels.nbytes, self.max_bytes))
        if self.images + len(pixels) > max_images or self.bytes + pixels.nbytes > max_bytes:
            self._drop_expired()
        if self.images + len(pixels) > max_images:
            raise OverloadedError(
                f"{self.images} images wait; {len(pixels)} more are over the {max_images} that may",
                retry_after_s=math.ceil(self.backlog_s(Priority.BULK)),
                reason="queue_images",
            )
        if self.bytes + pixels.nbytes > max_bytes:
            raise OverloadedError(
                f"images that wait hold {self.bytes} bytes; {pixels.nbytes} more are over the {max_bytes} that may",
                retry_after_s=math.ceil(self.backlog_s(Priority.BULK)),
                reason="queue_bytes",
            )
        remaining_s = deadline.remaining_s()
        own_s = model.profile.own_s(len(pixels))
        if own_s > remaining_s:
            raise DeadlineExceededError(
                f"{len(pixels)} images take about {own_s * 1000:.0f} ms; {max(0.0, remaining_s) * 1000:.0f} ms are left"
            )
        backlog_s = self._wait_s(priority)
        if backlog_s + own_s > remaining_s:
            raise OverloadedError(
                f"an answer takes about {(backlog_s + own_s) * 1000:.0f} ms now; {remaining_s * 1000:.0f} ms are left",
                retry_after_s=math.ceil(backlog_s + own_s - remaining_s),
                reason="late",
            )

    def _dispatch(self) -> None:
        """Start batches while the cores are free and images wait."""
        while head := self._head():
            model = head.model
            waiting = sum(counts[model] for counts in self._waiting.values())
            slot = self._streams.next(model.profile, waiting)
            if slot is None:
                return
            if self.max_wait_s and (wait_s := self._time_to_fill(head, waiting)) > 0:
                if self._fill_timer is None:
                    self._fill_timer = asyncio.get_running_loop().call_later(wait_s, self._on_timeout)
                return
            if not (batch := self._take(model, slot.images)):
                continue
            self._streams.enter(slot)
            task = asyncio.create_task(self._run(model, batch, slot))
            self._running[task] = model
            task.add_done_callback(self._running.pop)

    def _on_timeout(self) -> None:
        self._fill_timer = None
        self._dispatch()

    def _time_to_fill(self, head: QueuedRequest, waiting: int) -> float:
        if waiting >= head.model.profile.batch_size * head.model.profile.streams:
            return 0.0
        return head.arrived + self.max_wait_s - time.monotonic()

    def _all_entries(self) -> Iterator[QueuedRequest]:
        for queue in self._queues.values():
            yield from queue

    def _head(self) -> QueuedRequest | None:
        """Return the request to serve next; those that nobody waits for are dropped on the way."""
        for queue in self._in_turn():
            while queue:
                entry = queue[0]
                if not self._drop_if_dead(entry):
                    return entry
                queue.popleft()
        return None

    def _drop_expired(self) -> None:
        """Take all that nobody waits for any more out of the queue, and not only what comes to its head."""
        for priority, queue in self._queues.items():
            self._queues[priority] = deque(entry for entry in queue if not self._drop_if_dead(entry))

    def _drop_if_dead(self, entry: QueuedRequest) -> bool:
        expired = entry.deadline.remaining_s() <= 0
        if not expired and not entry.future.done():
            return False
        self._observer.images_dropped("expired" if expired else "cancelled", entry.waiting)
        self._count(entry, -entry.waiting)
        entry.taken = len(entry.pixels)
        return True

    def _take(self, model: BatchableModel, room: int) -> list[BatchSlice]:
        """Take a model's next batch out of the queue, in its order; other models keep their places."""
        batch: list[BatchSlice] = []
        for queue in self._in_turn():
            kept: list[QueuedRequest] = []
            while queue and room:
                entry = queue.popleft()
                if entry.model is not model:
                    kept.append(entry)
                elif not self._drop_if_dead(entry):
                    piece = BatchSlice(entry, entry.taken, min(entry.taken + room, len(entry.pixels)))
                    entry.taken = piece.stop
                    entry.left_queue = entry.left_queue or time.monotonic()
                    room -= len(piece)
                    self._count(entry, -len(piece))
                    batch.append(piece)
                    if entry.waiting:
                        kept.append(entry)
            queue.extendleft(reversed(kept))
        self._batches += bool(batch)
        return batch

    def _in_turn(self) -> Iterator[deque[QueuedRequest]]:
        queues = self._queues.values()
        return reversed(queues) if self._batches % BULK_TURN == BULK_TURN - 1 else iter(queues)

    async def _run(self, model: BatchableModel, batch: list[BatchSlice], slot: Slot) -> None:
        """Run one batch; if it fails and held several images, run each alone, so that only the bad ones fail.

        Those that nobody waits for any more by then are left out.
        """
        try:
            error = await self._run_together(model, batch, slot)
            if error and sum(map(len, batch)) > 1:
                for piece in batch:
                    for index in range(piece.start, piece.stop):
                        if piece.entry.future.done():
                            break
                        single = BatchSlice(piece.entry, index, index + 1)
                        if failure := await self._run_together(model, [single], slot):
                            piece.entry.fail(InferenceError(f"the engine failed on image {index}: {failure}"))
                            break
            elif error:
                batch[0].entry.fail(InferenceError(f"the engine failed: {error}"))
        finally:
            self._streams.leave(slot)
            self._dispatch()

    async def _run_together(self, model: BatchableModel, batch: list[BatchSlice], slot: Slot) -> Exception | None:
        """Run the slices as one batch and hand out the scores; return what the engine raised, if it did."""
        images = sum(map(len, batch))

        def run() -> tuple[NDArray[np.float32], float]:
            pixels = batch[0].pixels if len(batch) == 1 else np.concatenate([piece.pixels for piece in batch])
            started = time.perf_counter()
            scores = model.run(pixels, slot.stream)
            if scores.ndim != 2 or len(scores) != images:
                raise RuntimeError(f"scores of shape {list(scores.shape)} for {images} images")
            if not np.isfinite(scores).all():
                raise RuntimeError("scores that are no finite numbers")
            return scores, time.perf_counter() - started

        token = object()
        self._due[token] = time.monotonic() + self._allowed_s(model, batch)
        try:
            scores, seconds = await self._workers.run(run)
        except Exception as error:  # Whatever an engine raises must not end the worker.
            return error
        finally:
            del self._due[token]
        model.profile.observe(images, seconds, alone=slot.stream is None)
        self._observer.batch_finished(images, seconds)
        at = 0
        for piece in batch:
            piece.entry.infer_s += seconds
            piece.entry.batch_size = max(piece.entry.batch_size, images)
            piece.entry.accept(piece.start, scores[at : at + len(piece)])
            at += len(piece)
        return None

    def _allowed_s(self, model: BatchableModel, batch: list[BatchSlice]) -> float:
        if any(piece.entry.warmup for piece in batch):
            return (
                WARMUP_TIMEOUT_S  # The first batches of a version make its kernels; how long that takes is not known.
            )
        return self._timeout_s + _STUCK_FACTOR * model.profile.work_s(sum(map(len, batch)))

    def _count(self, entry: QueuedRequest, images: int) -> None:
        """Count images of an entry that came to the queue, or with a minus left it."""
        if not entry.warmup:
            self.images += images
            self.bytes += images * entry.pixels[:1].nbytes
        waiting = self._waiting[entry.priority]
        waiting[entry.model] += images
        if not waiting[entry.model]:
            del waiting[entry.model]


async def _answer(entry: QueuedRequest) -> Result:
    try:
        return await entry.future
    finally:
        entry.cancel()
