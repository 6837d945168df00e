"""Who may come in: the bounds of an edge process, and the permit that proves a request is within them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from .errors import DeadlineExceededError, NotReadyError, OverloadedError


class Priority(IntEnum):
    """Which queue a request waits in; the lower number is served first."""

    INTERACTIVE = 0
    BULK = 1


class Deadline:
    """The moment, on the monotonic clock, after which nobody waits for the answer any more."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.at = time.monotonic() + timeout_s

    def remaining_s(self) -> float:
        """Return the seconds that are left; negative once the deadline has passed."""
        return self.at - time.monotonic()

    def check(self) -> None:
        """Stop work that nobody waits for.

        Raises:
            DeadlineExceededError: The deadline has passed.
        """
        if self.remaining_s() <= 0:
            raise DeadlineExceededError(f"the deadline of {self.timeout_s * 1000:.0f} ms has passed")


class Permit:
    """Proof that a request was admitted; what it takes of the bounds is given back when it ends."""

    def __init__(self, admission: Admission, deadline: Deadline, priority: Priority) -> None:
        self.deadline = deadline
        self.priority = priority
        self.bytes = 0
        self._admission = admission

    def reserve(self, size: int) -> None:
        """Take `size` more bytes of the memory for request bodies.

        Raises:
            OverloadedError: The process already holds too many bytes.
        """
        self._admission.take_bytes(size)
        self.bytes += size


class Admission:
    """The bounds of one edge process, in requests and in bytes of their bodies."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0
        self._open = True

    def close(self) -> None:
        """Admit nobody any more; those inside go on."""
        self._open = False

    @contextmanager
    def admit(self, deadline: Deadline, priority: Priority = Priority.INTERACTIVE, size: int = 0) -> Iterator[Permit]:
        """Hold a place, and `size` bytes, for as long as the block runs.

        Args:
            deadline: When the caller stops waiting.
            priority: Which queue to wait in.
            size: Bytes of the body as its sender announced them; 0 where it did not.

        Raises:
            OverloadedError: No place is left, or too few bytes.
            NotReadyError: The process is draining.
        """
        if not self._open:
            raise NotReadyError("the service is shutting down")
        if self.requests >= self.max_requests:
            raise OverloadedError(f"{self.requests} requests are in flight, the most that are taken at once")
        permit = Permit(self, deadline, priority)
        self.requests += 1
        try:
            permit.reserve(size)
            yield permit
        finally:
            self.requests -= 1
            self.bytes -= permit.bytes

    def take_bytes(self, size: int) -> None:
        """Count `size` more bytes.

        Raises:
            OverloadedError: That would be more than `max_bytes`.
        """
        if self.bytes + size > self.max_bytes:
            raise OverloadedError(
                f"request bodies in flight hold {self.bytes} bytes; "
                f"{size} more are over the {self.max_bytes} that are taken at once"
            )
        self.bytes += size
