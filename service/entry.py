"""A request in the runner's queue: its images, its answer in the making, and how it leaves in slices."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .admission import Deadline, Priority
from .errors import DeadlineExceededError
from .learned import Learned


class Batchable(Protocol):
    """A loaded version of a model, as far as the batcher looks at it."""

    learned: Learned
    """What is known of its costs; the batcher teaches it."""

    def run(self, pixels: NDArray[np.uint8], lane: int | None) -> NDArray[np.float32]:
        """Return the scores of a batch that runs alone, or in a lane; called in a thread."""
        ...


@dataclass(frozen=True)
class Result:
    """The scores of one request, and what it waited for."""

    scores: NDArray[np.float32]
    """`float32 [n, classes]`, in the order of the images."""
    queue_s: float
    """From its arrival until its first image left the queue."""
    infer_s: float
    """Time in the engine, of all batches that held its images."""
    batch_size: int
    """Images in the largest of those batches, of this request and others."""


@dataclass(eq=False)
class Entry:
    """One request in the queue; its images may leave in several batches."""

    model: Batchable
    pixels: NDArray[np.uint8]
    deadline: Deadline
    priority: Priority
    future: asyncio.Future[Result]
    """Its answer; fails with a `ServiceError`, or is cancelled when nobody waits for it any more."""
    rehearsal: bool = False
    """Whether it comes from no caller, but from a version that is being warmed and checked."""
    arrived: float = field(default_factory=time.monotonic)
    taken: int = 0
    left_queue: float | None = None
    infer_s: float = 0.0
    batch_size: int = 0
    parts: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """Scores so far, by the number of their first image."""
    answered: int = 0
    alarm: asyncio.TimerHandle | None = None

    def watch_deadline(self) -> None:
        """Fail when the deadline passes, wherever the images are then."""
        self.alarm = self.future.get_loop().call_later(max(0.0, self.deadline.remaining_s()), self._expire)

    @property
    def waiting(self) -> int:
        """Return the number of images that have not left the queue."""
        return len(self.pixels) - self.taken

    def give_up(self) -> None:
        """Say that nobody waits for the answer any more."""
        self._silence()
        self.future.cancel()

    def fail(self, error: Exception) -> None:
        """Answer the request with an error, unless it is answered or given up already."""
        self._silence()
        if not self.future.done():
            self.future.set_exception(error)

    def accept(self, start: int, scores: NDArray[np.float32]) -> None:
        """Take the scores of some of its images, from number `start` on; the last ones answer the request."""
        self.parts[start] = scores
        self.answered += len(scores)
        if self.answered == len(self.pixels) and not self.future.done():
            self._silence()
            ordered = [self.parts[key] for key in sorted(self.parts)]
            whole = ordered[0] if len(ordered) == 1 else np.concatenate(ordered)
            queue_s = (self.left_queue or self.arrived) - self.arrived
            self.future.set_result(Result(whole, queue_s, self.infer_s, self.batch_size))

    def _expire(self) -> None:
        timeout_ms = self.deadline.timeout_s * 1000
        self.fail(DeadlineExceededError(f"no answer within the deadline of {timeout_ms:.0f} ms"))

    def _silence(self) -> None:
        if self.alarm:
            self.alarm.cancel()
            self.alarm = None


@dataclass(frozen=True)
class Slice:
    """The images of one request that go into one batch."""

    entry: Entry
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Return its images, `uint8 [n, height, width, 3]`."""
        return self.entry.pixels[self.start : self.stop]
