"""Whose turn it is on the cores: one batch on all of them, or several side by side, each in a lane of its own.

A lone image is answered soonest by all cores together; many images are answered fastest one batch a core, where no
core waits for another. No fixed setting wins both, so the load decides, batch by batch.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from service.batching.tuning import BatchProfile

_QUIET_S = 0.05
"""For so long after there was more than one image a lone one takes a lane only: others are likely to follow it."""


@dataclass(frozen=True)
class Slot:
    """Leave to run a batch now."""

    stream: int | None
    """Where it runs: alone on all cores, or in this lane."""
    images: int
    """How many images it takes at most, so that the lanes that are free get equal shares."""


class Streams:
    """Which batches run."""

    def __init__(self) -> None:
        self._alone = False
        self._taken: set[int] = set()
        self._crowded_at = -math.inf

    @property
    def running(self) -> int:
        """Return the number of batches that run."""
        return len(self._taken) + self._alone

    def next(self, profile: BatchProfile, waiting: int) -> Slot | None:
        """Return where the next batch may run now, or None while the cores are taken.

        Args:
            profile: What is known of the engine that would run it.
            waiting: Images that wait for that engine, at least 1.
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
        """Take the place of a turn."""
        if slot.stream is None:
            self._alone = True
        else:
            self._taken.add(slot.stream)

    def leave(self, slot: Slot) -> None:
        """Give it back."""
        if slot.stream is None:
            self._alone = False
        else:
            self._taken.discard(slot.stream)
