"""Assign cores to batches: one batch on all cores, or several in parallel, each in a stream of its own.

A single image has the lowest latency on all cores together. Many images have the highest throughput with one batch per
core, where no core waits for another. No fixed setting is best for both, so the load decides, batch by batch.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from service.batching.tuning import BatchProfile

_QUIET_S = 0.05
"""Seconds after several images were queued in which a single image takes one stream: others may follow."""


@dataclass(frozen=True)
class Slot:
    """Permission to run a batch now."""

    stream: int | None
    """The number of the stream; None is all cores, exclusively."""
    images: int
    """Maximum images in the batch, so that free streams get equal shares."""


class Streams:
    """Tracks the running batches."""

    def __init__(self) -> None:
        self._exclusive = False
        self._busy: set[int] = set()
        self._concurrent_at = -math.inf

    @property
    def running(self) -> int:
        """Return the number of running batches."""
        return len(self._busy) + self._exclusive

    def next(self, profile: BatchProfile, queued: int) -> Slot | None:
        """Return the slot of the next batch, or None while the cores are busy.

        Args:
            profile: Of the engine that would run it.
            queued: Images queued for that engine, at least 1.
        """
        now = time.monotonic()
        if queued > 1 or self.running:
            self._concurrent_at = now
        if self._exclusive:
            return None
        if profile.streams == 1:
            return None if self._busy else Slot(None, profile.next_batch_size(queued))
        if not self._busy and now - self._concurrent_at > _QUIET_S:
            return Slot(None, 1)
        free = profile.streams - len(self._busy)
        if free <= 0:
            return None
        stream = next(stream for stream in range(profile.streams) if stream not in self._busy)
        return Slot(stream, min(profile.next_batch_size(queued), math.ceil(queued / free)))

    def occupy(self, slot: Slot) -> None:
        """Occupy a slot."""
        if slot.stream is None:
            self._exclusive = True
        else:
            self._busy.add(slot.stream)

    def release(self, slot: Slot) -> None:
        """Free a slot."""
        if slot.stream is None:
            self._exclusive = False
        else:
            self._busy.discard(slot.stream)
