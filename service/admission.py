"""Who may come in: the bounds of an edge process, and the permit that proves a request is within them."""

from __future__ import annotations

import math
import time
from enum import IntEnum
from typing import Protocol, Self

from .errors import DeadlineExceededError, NotReadyError, OverloadedError

_LEARN = 0.1
"""Weight of the newest answer."""

_HEADROOM = 0.8
"""Share of the time left that an answer may be expected to take; estimates err, and late work is work lost."""


_BULK_SHARE = 0.75
"""Share of every bound that bulk requests may fill, so that interactive ones always find some room."""


BULK_TURN = 8
"""Each so many batches one begins with bulk requests, so that these are served however many others there are."""


_BULK_MARGIN = 2
"""How many times longer than its turns alone would make it a bulk request is expected to wait."""


class Priority(IntEnum):
    """Which queue a request waits in; the lower number is served first."""

    INTERACTIVE = 0
    BULK = 1

    def share_of(self, bound: int) -> int:
        """Return how much of a bound requests of this priority may fill."""
        return bound if self is Priority.INTERACTIVE else math.ceil(bound * _BULK_SHARE)


class Caller(Protocol):
    """Who sent a request, as far as bounds go."""

    priority: Priority
    """The best that their requests may have."""

    def require_room(self) -> None:
        """Refuse a request of one who has had what they may have."""

    def spend(self, images: int) -> None:
        """Count images."""


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
    """Proof that a request was admitted: a block that holds its place, and gives back what it takes of the bounds."""

    def __init__(self, admission: Admission, deadline: Deadline, priority: Priority, caller: Caller | None) -> None:
        self.deadline = deadline
        self.priority = priority
        self._caller = caller
        self._spent = 0
        self._placed = False
        self.bytes = 0
        self.images = 0
        self._admission = admission
        self._began = time.monotonic()
        self._ahead = 0

    def __enter__(self) -> Self:
        self._take_place()
        return self

    def __exit__(self, *_: object) -> None:
        self.step_aside()
        self._admission.bytes -= self.bytes

    def step_aside(self) -> None:
        """Give the place back while the body is waited for: who sends none must not keep others out for long."""
        self.count_images(0)
        self._admission.requests -= self._placed
        self._placed = False

    def step_back(self) -> None:
        """Take a place again, now that the body is there; who never stepped aside has theirs.

        Raises:
            OverloadedError: There is none, or the answer would come too late by now.
        """
        if not self._placed:
            self._admission.require_place(self.deadline, self.priority)
            self._began = time.monotonic()  # How long a slow body took says nothing about answers.
            self._take_place()

    def _take_place(self) -> None:
        self._admission.requests += 1
        self._placed = True
        self.count_images(1)

    def reserve(self, size: int) -> None:
        """Take `size` more bytes of the memory for request bodies.

        Raises:
            OverloadedError: The process already holds too many bytes.
        """
        self._admission.require_bytes(size, self.priority, self.bytes)
        self._admission.bytes += size
        self.bytes += size

    def follow(self, timeout_s: float | None, priority: Priority | None) -> None:
        """Take over what the body of the request asks for, if it does; of two deadlines the earlier one counts."""
        if timeout_s is not None:
            self.deadline = min(self.deadline, Deadline(timeout_s), key=lambda deadline: deadline.at)
        if priority is not None and self._caller:
            priority = max(priority, self._caller.priority)
        if priority is not None and priority != self.priority:
            images = self.images
            self.count_images(0)  # What it was counted for until now was of the other priority.
            self.priority = priority
            self.count_images(images)

    def count_images(self, images: int) -> None:
        """Say how many images the request has, once that is known; one until then."""
        if self._caller and images > self._spent:
            self._caller.spend(images - self._spent)
            self._spent = images
        self._admission.images[self.priority] += images - self.images
        self.images = images
        self._ahead = self._admission.ahead(self.priority)

    def answered(self) -> None:
        """Say that the request has its answer; how long that took teaches what newcomers have to expect."""
        self._admission.learn(self.priority, (time.monotonic() - self._began) / self._ahead)


class Admission:
    """The bounds of one edge process, in requests, in bytes of their bodies, and in time.

    A request whose body keeps it waiting is none of those counted (`Permit.step_aside`); what has come of it is.

    Requests are answered in their order, so one that came while n images were under way and took t seconds says
    that an image takes t / n. From that, what a newcomer has to wait is known before its body is read.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0
        self.images = dict.fromkeys(Priority, 0)
        self.pace_s = dict.fromkeys(Priority, 0.0)
        """Seconds an image, as seen lately; 0 until the first answer."""
        self.refused_at = -math.inf
        """When a request was last refused for want of room or time, on the monotonic clock."""
        self._open = True

    def close(self) -> None:
        """Admit nobody any more; those inside go on."""
        self._open = False

    def admit(
        self,
        deadline: Deadline,
        priority: Priority = Priority.INTERACTIVE,
        size: int = 0,
        caller: Caller | None = None,
    ) -> Permit:
        """Return the block that holds a place for as long as it runs, and what it reserves of the bytes.

        Args:
            deadline: When the caller stops waiting.
            priority: Which queue to wait in.
            size: Bytes of the body as its sender announced them; 0 where it did not. They must be free, and are not
                taken yet: else a few who announce much and send nothing would shut out all others.
            caller: Who asks, where that is known.

        Raises:
            OverloadedError: No place is left, or too few bytes, or the answer would come too late, or the caller has
                had what they may have.
            NotReadyError: The process is draining.
        """
        if not self._open:
            raise NotReadyError("the service is shutting down")
        try:
            if caller:
                caller.require_room()
                priority = max(priority, caller.priority)
            self.require_place(deadline, priority)
            self.require_bytes(size, priority)
        except OverloadedError:
            self.refused_at = time.monotonic()
            raise
        return Permit(self, deadline, priority, caller)

    def ahead(self, priority: Priority) -> int:
        """Return the images under way that are answered before a newcomer of this priority."""
        return sum(images for level, images in self.images.items() if level <= priority)

    def learn(self, priority: Priority, seconds: float) -> None:
        """Take in how long an image took of late."""
        known = self.pace_s[priority]
        self.pace_s[priority] = known + _LEARN * (seconds - known) if known else seconds

    def require_place(self, deadline: Deadline, priority: Priority) -> None:
        """Refuse a request for which there is no place, or no time.

        Raises:
            OverloadedError: No place is left, or the answer would come too late.
        """
        if self.requests >= priority.share_of(self.max_requests):
            raise OverloadedError(
                f"{self.requests} requests are in flight, the most that are taken at once"
                + (" of low priority" if priority else ""),
                retry_after_s=self._wait_s(),
                reason="requests",
            )
        self._check_time(deadline, priority)

    def require_bytes(self, size: int, priority: Priority, own: int = 0) -> None:
        """Refuse `size` more bytes of a body for which there is no room.

        Args:
            size: How many.
            priority: Whose share they are to come from; a body that is larger than the share may have all, alone.
            own: Bytes that the request holds already.

        Raises:
            OverloadedError: There would be more than are taken at once.
        """
        held, bound = self.bytes + size, priority.share_of(self.max_bytes)
        if held > bound and (self.bytes > own or held > self.max_bytes):
            raise OverloadedError(
                f"request bodies in flight hold {self.bytes} bytes; "
                f"{size} more are over the {bound} that are taken at once" + (" of low priority" if priority else ""),
                retry_after_s=self._wait_s(),
                reason="body_bytes",
            )

    def _check_time(self, deadline: Deadline, priority: Priority) -> None:
        ahead = self.ahead(priority)
        expected_s, remaining_s = (ahead + 1) * self.pace_s[priority], deadline.remaining_s()
        if priority is Priority.BULK and (pace_s := self.pace_s[Priority.INTERACTIVE]):
            # What it learns of itself while others come first, it could not unlearn while it is refused for it.
            expected_s = min(expected_s, (self.images[priority] + 1) * _BULK_MARGIN * BULK_TURN * pace_s)
        if ahead and expected_s > _HEADROOM * remaining_s:
            raise OverloadedError(
                f"an answer takes about {expected_s * 1000:.0f} ms now; {remaining_s * 1000:.0f} ms are left, "
                f"of which {_HEADROOM:.0%} may be planned for",
                retry_after_s=math.ceil(expected_s - _HEADROOM * remaining_s),
                reason="late",
            )

    def _wait_s(self) -> int:
        """Return how long what is under way will take at the pace seen lately, in whole seconds."""
        return math.ceil(max(self.ahead(priority) * pace_s for priority, pace_s in self.pace_s.items()))
