"""The deadline and the priority of a request."""

from __future__ import annotations

import math
import time
from enum import IntEnum

from service.core.errors import DeadlineExceededError

_BULK_SHARE = 0.75
"""Share of every limit that bulk requests may use, so that interactive ones always find some room."""

BULK_INTERVAL = 8
"""One in so many batches starts with bulk requests, so that they are served under any load of interactive ones."""


class Priority(IntEnum):
    """The priority of a request; the lower number is served first."""

    INTERACTIVE = 0
    BULK = 1

    def share_of(self, limit: int) -> int:
        """Return how much of a limit requests of this priority may use."""
        return limit if self is Priority.INTERACTIVE else math.ceil(limit * _BULK_SHARE)


class Deadline:
    """The time, by the monotonic clock, after which the client no longer waits for a response."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.expires_at = time.monotonic() + timeout_s

    def remaining_s(self) -> float:
        """Return the remaining seconds; negative after the deadline."""
        return self.expires_at - time.monotonic()

    def check(self) -> None:
        """Raise an error after the deadline.

        Raises:
            DeadlineExceededError: The deadline has passed.
        """
        if self.remaining_s() <= 0:
            raise self.exceeded()

    def exceeded(self) -> DeadlineExceededError:
        """Return the error of a request whose deadline has passed."""
        return DeadlineExceededError(f"the deadline of {self.timeout_s * 1000:.0f} ms has passed")
