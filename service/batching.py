"""The micro-batcher: one bounded queue before the engine, emptied in batches as large as they pay.

It is work-conserving: an idle engine never waits for a batch to fill (unless `max_wait_s` says so), and while
the engine is busy arrivals collect. docs/adr/0001-own-micro-batcher.md tells why this is not BentoML's own.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .admission import Deadline, Priority
from .entry import Batchable, Entry, Result, Slice
from .errors import DeadlineExceededError, InferenceError, NotReadyError, OverloadedError


class BatchObserver(Protocol):
    """Who is told what the batcher does; the metrics are one."""

    def queued(self, images: int, size: int) -> None:
        """The queue now holds so many images, and bytes of pixels."""

    def ran(self, images: int, seconds: float) -> None:
        """A batch of so many images took so long."""

    def dropped(self, reason: str, images: int) -> None:
        """So many images left the queue without being run, because they `expired` or were `cancelled`."""


REHEARSAL_S = 120.0
"""How long a version that is not live yet waits at most for a turn of the engine, in seconds."""


class Batcher:
    """Queue and workers before an engine."""

    def __init__(
        self,
        observer: BatchObserver,
        *,
        max_images: int,
        max_bytes: int,
        streams: int = 1,
        max_wait_s: float = 0.0,
    ) -> None:
        """Keep the bounds.

        Args:
            observer: Is told what happens.
            max_images: Images that may wait.
            max_bytes: Bytes of pixels that may wait.
            streams: Batches that run at once.
            max_wait_s: How long an idle engine waits for a batch to fill.
        """
        self.max_images = max_images
        self.max_bytes = max_bytes
        self.max_wait_s = max_wait_s
        self.images = 0
        self.bytes = 0
        self._observer = observer
        self._queues: dict[Priority, deque[Entry]] = {priority: deque() for priority in Priority}
        self._streams = streams
        self._idle = streams
        self._running: dict[asyncio.Task[None], Batchable] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._alarm: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Open the threads in which batches run, one for each stream."""
        self._pool = ThreadPoolExecutor(self._streams, thread_name_prefix="engine")

    async def stop(self) -> None:
        """Answer what waits with «not ready», let running batches end, then close the threads.

        In this order: nobody waits for ever, and no engine is closed under a batch.
        """
        for entry in self._all_entries():
            entry.fail(NotReadyError("the runner is shutting down"))
        for queue in self._queues.values():
            queue.clear()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._pool:
            self._pool.shutdown(wait=True)
            self._pool = None

    async def submit(
        self,
        model: Batchable,
        pixels: NDArray[np.uint8],
        deadline: Deadline,
        priority: Priority = Priority.INTERACTIVE,
    ) -> Result:
        """Wait for the scores of a request's images.

        Cancelling the call takes the images out of the queue; those in the engine are run to their end.

        Args:
            model: The version that is to answer; its images never share a batch with another's.
            pixels: `uint8 [n, height, width, 3]`.
            deadline: When the caller stops waiting.
            priority: Interactive requests leave the queue before bulk ones.

        Raises:
            OverloadedError: The queue is full, or what waits already takes longer than the deadline.
            DeadlineExceededError: The deadline passed, or is too short even for an idle engine.
            InferenceError: The engine failed on these images.
            NotReadyError: The batcher is not running, or stopped meanwhile.
        """
        if self._pool is None:
            raise NotReadyError("the runner is shutting down")
        self._check_room(model, pixels, deadline, priority)
        return await self._answer(Entry(model, pixels, deadline, asyncio.get_running_loop().create_future()), priority)

    async def rehearse(self, model: Batchable, pixels: NDArray[np.uint8]) -> Result:
        """Run images of a version that is not live yet, in its turn among the requests and whatever the bounds.

        So a version that is warmed and checked never runs beside live batches, only between them.

        Raises:
            ServiceError: The engine failed, or there was no turn within `REHEARSAL_S`.
        """
        if self._pool is None:
            raise NotReadyError("the runner is shutting down")
        entry = Entry(model, pixels, Deadline(REHEARSAL_S), asyncio.get_running_loop().create_future())
        return await self._answer(entry, Priority.INTERACTIVE)

    async def drained(self, model: Batchable) -> None:
        """Wait until nothing of this version waits or runs any more; its engine may be closed then."""
        while pending := self._pending(model):
            await asyncio.wait(pending)

    def _pending(self, model: Batchable) -> set[asyncio.Future[Any]]:
        waiting = {entry.future for entry in self._all_entries() if entry.model is model and not entry.future.done()}
        return waiting | {task for task, runs in self._running.items() if runs is model}

    async def _answer(self, entry: Entry, priority: Priority) -> Result:
        """Put a request into the queue and wait for its answer."""
        deadline = entry.deadline
        self._queues[priority].append(entry)
        self._count(len(entry.pixels), entry.pixels.nbytes)
        self._pump()
        try:
            async with asyncio.timeout(max(0.0, deadline.remaining_s())):
                return await entry.future
        except TimeoutError:
            raise DeadlineExceededError(
                f"no answer within the deadline of {deadline.timeout_s * 1000:.0f} ms"
            ) from None

    def backlog_s(self, priority: Priority) -> float:
        """Return how long the images that leave before a newcomer of `priority` take, in seconds."""
        ahead: dict[int, tuple[Batchable, int]] = {}
        for level in Priority:
            for entry in self._queues[level] if level <= priority else ():
                known = ahead.get(id(entry.model), (entry.model, 0))
                ahead[id(entry.model)] = (entry.model, known[1] + entry.waiting)
        return sum(model.cost.work_s(images, model.batch_size) for model, images in ahead.values()) / self._streams

    def _check_room(self, model: Batchable, pixels: NDArray[np.uint8], deadline: Deadline, priority: Priority) -> None:
        drained_s = math.ceil(self.backlog_s(Priority.BULK))
        if self.images + len(pixels) > self.max_images:
            raise OverloadedError(
                f"{self.images} images wait; {len(pixels)} more are over the {self.max_images} that may",
                retry_after_s=drained_s,
            )
        if self.bytes + pixels.nbytes > self.max_bytes:
            raise OverloadedError(
                f"images that wait hold {self.bytes} bytes; "
                f"{pixels.nbytes} more are over the {self.max_bytes} that may",
                retry_after_s=drained_s,
            )
        remaining_s = deadline.remaining_s()
        own_s = model.cost.work_s(len(pixels), model.batch_size)
        if own_s > remaining_s:
            raise DeadlineExceededError(
                f"{len(pixels)} images take about {own_s * 1000:.0f} ms; {max(0.0, remaining_s) * 1000:.0f} ms are left"
            )
        backlog_s = self.backlog_s(priority)
        if backlog_s + own_s > remaining_s:
            raise OverloadedError(
                f"an answer takes about {(backlog_s + own_s) * 1000:.0f} ms now; {remaining_s * 1000:.0f} ms are left",
                retry_after_s=math.ceil(backlog_s + own_s - remaining_s),
            )

    def _pump(self) -> None:
        """Start batches while a stream is idle and images wait."""
        while self._idle and (head := self._head()):
            if self.max_wait_s and (wait_s := self._time_to_fill(head)) > 0:
                if self._alarm is None:
                    self._alarm = asyncio.get_running_loop().call_later(wait_s, self._ring)
                return
            if not (batch := self._take(head)):
                continue
            self._idle -= 1
            task = asyncio.create_task(self._run(head.model, batch))
            self._running[task] = head.model
            task.add_done_callback(self._running.pop)

    def _ring(self) -> None:
        self._alarm = None
        self._pump()

    def _time_to_fill(self, head: Entry) -> float:
        same = sum(entry.waiting for entry in self._all_entries() if entry.model is head.model)
        if same >= head.model.batch_size:
            return 0.0
        return head.arrived + self.max_wait_s - time.monotonic()

    def _all_entries(self) -> Iterator[Entry]:
        for priority in Priority:
            yield from self._queues[priority]

    def _head(self) -> Entry | None:
        """Return the request to serve next; those that nobody waits for are dropped on the way."""
        for queue in self._queues.values():
            while queue:
                entry = queue[0]
                if not self._drop_if_dead(entry):
                    return entry
                queue.popleft()
        return None

    def _drop_if_dead(self, entry: Entry) -> bool:
        expired = entry.deadline.remaining_s() <= 0
        if not expired and not entry.future.done():
            return False
        self._observer.dropped("expired" if expired else "cancelled", entry.waiting)
        self._count(-entry.waiting, -entry.pixels[entry.taken :].nbytes)
        entry.taken = len(entry.pixels)
        return True

    def _take(self, head: Entry) -> list[Slice]:
        """Take the next batch of `head`'s model out of the queue, in its order; other models keep their places."""
        batch: list[Slice] = []
        room = head.model.batch_size
        for queue in self._queues.values():
            kept: list[Entry] = []
            while queue and room:
                entry = queue.popleft()
                if entry.model is not head.model:
                    kept.append(entry)
                elif not self._drop_if_dead(entry):
                    piece = Slice(entry, entry.taken, entry.taken + min(room, entry.waiting))
                    entry.taken = piece.stop
                    entry.left_queue = entry.left_queue or time.monotonic()
                    room -= piece.stop - piece.start
                    self._count(piece.start - piece.stop, -piece.pixels.nbytes)
                    batch.append(piece)
                    if entry.waiting:
                        kept.append(entry)
            queue.extendleft(reversed(kept))
        return batch

    async def _run(self, model: Batchable, batch: list[Slice]) -> None:
        """Run one batch; if it fails and held several images, run each alone, so that only the bad ones fail."""
        try:
            error = await self._run_together(model, batch)
            if error and sum(piece.stop - piece.start for piece in batch) > 1:
                for piece in batch:
                    for index in range(piece.start, piece.stop):
                        single = Slice(piece.entry, index, index + 1)
                        if failure := await self._run_together(model, [single]):
                            piece.entry.fail(InferenceError(f"the engine failed on image {index}: {failure}"))
                            break
            elif error:
                batch[0].entry.fail(InferenceError(f"the engine failed: {error}"))
        finally:
            self._idle += 1
            self._pump()

    async def _run_together(self, model: Batchable, batch: list[Slice]) -> Exception | None:
        """Run the slices as one batch and hand out the scores; return what the engine raised, if it did."""
        images = sum(piece.stop - piece.start for piece in batch)

        def run() -> tuple[NDArray[np.float32], float]:
            pixels = batch[0].pixels if len(batch) == 1 else np.concatenate([piece.pixels for piece in batch])
            started = time.perf_counter()
            scores = model.run(pixels)
            if len(scores) != images:
                raise RuntimeError(f"{len(scores)} rows of scores for {images} images")
            return scores, time.perf_counter() - started

        try:
            scores, seconds = await asyncio.get_running_loop().run_in_executor(self._pool, run)
        except Exception as error:  # Whatever an engine raises must not end the worker.
            return error
        model.cost.observe(images, seconds)
        self._observer.ran(images, seconds)
        at = 0
        for piece in batch:
            length = piece.stop - piece.start
            piece.entry.infer_s += seconds
            piece.entry.batch_size = max(piece.entry.batch_size, images)
            piece.entry.accept(piece.start, scores[at : at + length])
            at += length
        return None

    def _count(self, images: int, size: int) -> None:
        self.images += images
        self.bytes += size
        with suppress(Exception):  # A metric must not cost a request.
            self._observer.queued(self.images, self.bytes)
