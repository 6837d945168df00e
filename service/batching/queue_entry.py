"""A request in the runner's queue: its images, its answer in the making, and how it leaves in slices."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.batching.tuning import BatchProfile
from service.core.deadline import Deadline, Priority
from service.core.errors import DeadlineExceededError
from service.core.result import Result


class BatchableModel(Protocol):
    """A loaded version of a model, as far as the batcher looks at it."""

    profile: BatchProfile
    """What is known of its costs; the batcher teaches it."""

    def run(self, pixels: NDArray[np.uint8], stream: int | None) -> NDArray[np.float32]:
        """Return the scores of a batch that runs alone, or in a lane; called in a thread."""
        ...


@dataclass(eq=False)
class QueuedRequest:
    """One request in the queue; its images may leave in several batches."""

    model: BatchableModel
    pixels: NDArray[np.uint8]
    deadline: Deadline
    priority: Priority
    future: asyncio.Future[Result]
    """Its answer; fails with a `ServiceError`, or is cancelled when nobody waits for it any more."""
    warmup: bool = False
    """Whether it comes from no caller, but from a version that is being warmed and checked."""
    arrived: float = field(default_factory=time.monotonic)
    taken: int = 0
    left_queue: float | None = None
    infer_s: float = 0.0
    batch_size: int = 0
    parts: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """Scores so far, by the number of their first image."""
    answered: int = 0
    deadline_timer: asyncio.TimerHandle | None = None

    def watch_deadline(self) -> None:
        """Fail when the deadline passes, wherever the images are then."""
        self.deadline_timer = self.future.get_loop().call_later(max(0.0, self.deadline.remaining_s()), self._expire)

    @property
    def waiting(self) -> int:
        """Return the number of images that have not left the queue."""
        return len(self.pixels) - self.taken

    def cancel(self) -> None:
        """Say that nobody waits for the answer any more."""
        self._stop_timer()
        self.future.cancel()

    def fail(self, error: Exception) -> None:
        """Answer the request with an error, unless it is answered or given up already."""
        self._stop_timer()
        if not self.future.done():
            self.future.set_exception(error)

    def accept(self, start: int, scores: NDArray[np.float32]) -> None:
        """Take the scores of some of its images, from number `start` on; the last ones answer the request."""
        self.parts[start] = scores
        self.answered += len(scores)
        if self.answered == len(self.pixels) and not self.future.done():
            self._stop_timer()
            ordered = [self.parts[key] for key in sorted(self.parts)]
            whole = ordered[0] if len(ordered) == 1 else np.concatenate(ordered)
            queue_s = (self.left_queue or self.arrived) - self.arrived
            self.future.set_result(Result(whole, queue_s, self.infer_s, self.batch_size))

    def _expire(self) -> None:
        timeout_ms = self.deadline.timeout_s * 1000
        self.fail(DeadlineExceededError(f"no answer within the deadline of {timeout_ms:.0f} ms"))

    def _stop_timer(self) -> None:
        if self.deadline_timer:
            self.deadline_timer.cancel()
            self.deadline_timer = None


@dataclass(frozen=True)
class BatchSlice:
    """The images of one request that go into one batch."""

    entry: QueuedRequest
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Return its images, `uint8 [n, height, width, 3]`."""
        return self.entry.pixels[self.start : self.stop]
