"""A request in the runner's queue: its images, its partial result, and the slices in which it leaves."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.batching.tuning import BatchProfile
from service.core.deadline import Deadline, Priority
from service.core.result import Result


class BatchableModel(Protocol):
    """A loaded version of a model, as the batcher uses it."""

    profile: BatchProfile
    """Its learned costs, which the batcher updates."""

    def run(self, pixels: NDArray[np.uint8], stream: int | None) -> NDArray[np.float32]:
        """Return the scores of a batch, run on all cores (None) or in a stream; called in a thread."""
        ...


@dataclass(eq=False)
class QueuedRequest:
    """One request in the queue; its images may leave in several batches."""

    model: BatchableModel
    pixels: NDArray[np.uint8]
    deadline: Deadline
    priority: Priority
    future: asyncio.Future[Result]
    """Its result; fails with a `ServiceError`, or is cancelled."""
    warmup: bool = False
    """Whether it is a warm-up batch and not a client's request."""
    enqueued_at: float = field(default_factory=time.monotonic)
    dequeued: int = 0
    """Images that have left the queue."""
    dequeued_at: float | None = None
    infer_s: float = 0.0
    batch_size: int = 0
    scores: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """Scores so far, by the number of their first image."""
    completed: int = 0
    """Images with scores."""
    deadline_timer: asyncio.TimerHandle | None = None

    def start_deadline_timer(self) -> None:
        """Start the timer that fails the request at its deadline."""
        self.deadline_timer = self.future.get_loop().call_later(
            max(0.0, self.deadline.remaining_s()), lambda: self.fail(self.deadline.exceeded())
        )

    @property
    def remaining(self) -> int:
        """Return the number of images that are still queued."""
        return len(self.pixels) - self.dequeued

    def cancel(self) -> None:
        """Cancel the request."""
        self._stop_timer()
        self.future.cancel()

    def fail(self, error: Exception) -> None:
        """Fail the request, unless it is done or cancelled already."""
        self._stop_timer()
        if not self.future.done():
            self.future.set_exception(error)

    def add_scores(self, start: int, scores: NDArray[np.float32]) -> None:
        """Add the scores of some of its images, from number `start` on; the last ones complete the request."""
        self.scores[start] = scores
        self.completed += len(scores)
        if self.completed == len(self.pixels) and not self.future.done():
            self._stop_timer()
            ordered = [self.scores[key] for key in sorted(self.scores)]
            whole = ordered[0] if len(ordered) == 1 else np.concatenate(ordered)
            queue_s = (self.dequeued_at or self.enqueued_at) - self.enqueued_at
            self.future.set_result(Result(whole, queue_s, self.infer_s, self.batch_size))

    def _stop_timer(self) -> None:
        if self.deadline_timer:
            self.deadline_timer.cancel()
            self.deadline_timer = None


@dataclass(frozen=True)
class BatchSlice:
    """The images of one request that are part of one batch."""

    request: QueuedRequest
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Return its images, `uint8 [n, height, width, 3]`."""
        return self.request.pixels[self.start : self.stop]
