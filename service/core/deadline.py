"""How long a client waits for a response, and which requests go first."""

from __future__ import annotations

import math
import time
from enum import IntEnum

from service.core.errors import DeadlineExceededError

_BULK_SHARE = 0.75
"""Share of every bound that bulk requests may fill, so that interactive ones always find some room."""


BULK_TURN = 8
"""Each so many batches one begins with bulk requests, so that these are served however many others there are."""


class Priority(IntEnum):
    """Which queue a request waits in; the lower number is served first."""

    INTERACTIVE = 0
    BULK = 1

    def share_of(self, bound: int) -> int:
        """Return how much of a limit requests of this priority may use."""
        return bound if self is Priority.INTERACTIVE else math.ceil(bound * _BULK_SHARE)


class Deadline:
    """The time, by the monotonic clock, after which the client no longer waits for a response."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.at = time.monotonic() + timeout_s

    def remaining_s(self) -> float:
        """Return the remaining seconds; negative after the deadline."""
        return self.at - time.monotonic()

    def check(self) -> None:
        """Stop work after the deadline.

        Raises:
            DeadlineExceededError: The deadline has passed.
        """
        if self.remaining_s() <= 0:
            raise DeadlineExceededError(f"the deadline of {self.timeout_s * 1000:.0f} ms has passed")
