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
    """None runs alone on all cores; a number is the stream."""
    images: int
    """Most images in the batch, so that free streams get equal shares."""


class Streams:
    """Tracks the running batches."""

    def __init__(self) -> None:
        self._alone = False
        self._taken: set[int] = set()
        self._crowded_at = -math.inf

    @property
    def running(self) -> int:
        """Return the number of running batches."""
        return len(self._taken) + self._alone

    def next(self, profile: BatchProfile, waiting: int) -> Slot | None:
        """Return the slot of the next batch, or None while the cores are busy.

        Args:
            profile: Of the engine that would run it.
            waiting: Images queued for that engine, at least 1.
        """
        now = time.monotonic()
        if waiting > 1 or self.running:
            self._crowded_at = now
        if self._alone:
            return None
        if profile.streams == 1:
            return None if self._taken else Slot(None, profile.room(waiting))
        if not self._taken and now - self._crowded_at > _QUIET_S:
            return Slot(None, 1)
        free = profile.streams - len(self._taken)
        if free <= 0:
            return None
        stream = next(stream for stream in range(profile.streams) if stream not in self._taken)
        return Slot(stream, min(profile.room(waiting), math.ceil(waiting / free)))

    def enter(self, slot: Slot) -> None:
        """Occupy a slot."""
        if slot.stream is None:
            self._alone = True
        else:
            self._taken.add(slot.stream)

    def leave(self, slot: Slot) -> None:
        """Free a slot."""
        if slot.stream is None:
            self._alone = False
        else:
            self._taken.discard(slot.stream)
