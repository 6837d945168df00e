"""Admission control: the limits of an edge process, and the permit that proves a request is within them."""

from __future__ import annotations

import math
import time
from typing import Protocol, Self

from service.core.deadline import BULK_TURN, Deadline, Priority
from service.core.errors import NotReadyError, OverloadedError

_LEARN = 0.1
"""Weight of the newest answer."""

_HEADROOM = 0.8
"""Share of the time left that an answer may be expected to take; estimates err, and late work is work lost."""


_BULK_MARGIN = 2
"""Factor on the expected wait of a bulk request, compared with its share of batches alone."""


class ClientQuota(Protocol):
    """The client of a request, as admission sees it."""

    priority: Priority
    """The best that their requests may have."""

    def require_quota(self) -> None:
        """Reject a request over the client's rate."""

    def charge(self, images: int) -> None:
        """Count images."""


class Permit:
    """Proof of admission: a context manager that holds the slot of a request and releases what it reserved."""

    def __init__(
        self, admission: Admission, deadline: Deadline, priority: Priority, client: ClientQuota | None
    ) -> None:
        self.deadline = deadline
        self.priority = priority
        self._client = client
        self._spent = 0
        self._placed = False
        self.bytes = 0
        self.images = 0
        self._admission = admission
        self._began = time.monotonic()
        self._queue_ahead = 0

    def __enter__(self) -> Self:
        self._take_place()
        return self

    def __exit__(self, *_: object) -> None:
        self.release_slot()
        self._admission.bytes -= self.bytes

    def release_slot(self) -> None:
        """Release the slot while the body is read, so that slow clients do not block others."""
        self.count_images(0)
        self._admission.requests -= self._placed
        self._placed = False

    def reacquire_slot(self) -> None:
        """Acquire a slot again after the body was read, unless it was never released.

        Raises:
            OverloadedError: No slot is free, or the response would be too late by now.
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

    def override(self, timeout_s: float | None, priority: Priority | None) -> None:
        """Apply deadline and priority from the body of the request; of two deadlines the earlier one counts."""
        if timeout_s is not None:
            self.deadline = min(self.deadline, Deadline(timeout_s), key=lambda deadline: deadline.at)
        if priority is not None and self._client:
            priority = max(priority, self._client.priority)
        if priority is not None and priority != self.priority:
            images = self.images
            self.count_images(0)  # Counted for the other priority until now.
            self.priority = priority
            self.count_images(images)

    def count_images(self, images: int) -> None:
        """Set the number of images of the request once it is known; one until then."""
        if self._client and images > self._spent:
            self._client.charge(images - self._spent)
            self._spent = images
        self._admission.images[self.priority] += images - self.images
        self.images = images
        self._queue_ahead = self._admission.queue_ahead(self.priority)

    def record_response(self) -> None:
        """Record the response; its duration updates the estimate for new requests."""
        self._admission.learn(self.priority, (time.monotonic() - self._began) / self._queue_ahead)


class Admission:
    """The bounds of one edge process, in requests, in bytes of their bodies, and in time.

    A request whose body keeps it waiting is none of those counted (`Permit.release_slot`); what has come of it is.

    Requests are answered in their order, so one that came while n images were under way and took t seconds says
    that an image takes t / n. From that, what a newcomer has to wait is known before its body is read.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0
        self.images = dict.fromkeys(Priority, 0)
        self.seconds_per_image = dict.fromkeys(Priority, 0.0)
        """Estimated seconds per image; 0 until the first response."""
        self.refused_at = -math.inf
        """When a request was last rejected, by the monotonic clock."""
        self._open = True

    def close(self) -> None:
        """Stop admitting requests; those in flight continue."""
        self._open = False

    def admit(
        self,
        deadline: Deadline,
        priority: Priority = Priority.INTERACTIVE,
        size: int = 0,
        client: ClientQuota | None = None,
    ) -> Permit:
        """Return the context manager that holds a slot, and the bytes that it reserves.

        Args:
            deadline: When the client stops waiting.
            priority: Which queue to wait in.
            size: Bytes of the body as its sender announced them; 0 where it did not. They must be free, and are not
                taken yet: else a few who announce much and send nothing would shut out all others.
            client: The client, if API keys are used.

        Raises:
            OverloadedError: No slot is free, or too few bytes, or the response would be too late, or the client has
                had what they may have.
            NotReadyError: The process is draining.
        """
        if not self._open:
            raise NotReadyError("the service is shutting down")
        try:
            if client:
                client.require_quota()
                priority = max(priority, client.priority)
            self.require_place(deadline, priority)
            self.require_bytes(size, priority)
        except OverloadedError:
            self.refused_at = time.monotonic()
            raise
        return Permit(self, deadline, priority, client)

    def queue_ahead(self, priority: Priority) -> int:
        """Return the images in flight ahead of a new request of this priority."""
        return sum(images for level, images in self.images.items() if level <= priority)

    def learn(self, priority: Priority, seconds: float) -> None:
        """Update the estimate of the seconds per image."""
        known = self.seconds_per_image[priority]
        self.seconds_per_image[priority] = known + _LEARN * (seconds - known) if known else seconds

    def require_place(self, deadline: Deadline, priority: Priority) -> None:
        """Reject a request for which there is no slot or no time.

        Raises:
            OverloadedError: No slot is free, or the response would be too late.
        """
        if self.requests >= priority.share_of(self.max_requests):
            raise OverloadedError(
                f"{self.requests} requests are in flight, which is the limit"
                + (" for bulk requests" if priority else ""),
                retry_after_s=self._wait_s(),
                reason="requests",
            )
        self._check_time(deadline, priority)

    def require_bytes(self, size: int, priority: Priority, own: int = 0) -> None:
        """Reject `size` more bytes of a body over the limit.

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
                f"{size} more are over the limit of {bound}" + (" for bulk requests" if priority else ""),
                retry_after_s=self._wait_s(),
                reason="body_bytes",
            )

    def _check_time(self, deadline: Deadline, priority: Priority) -> None:
        queue_ahead = self.queue_ahead(priority)
        expected_s, remaining_s = (queue_ahead + 1) * self.seconds_per_image[priority], deadline.remaining_s()
        if priority is Priority.BULK and (seconds_per_image := self.seconds_per_image[Priority.INTERACTIVE]):
            # An estimate made behind interactive requests could otherwise never be corrected.
            expected_s = min(expected_s, (self.images[priority] + 1) * _BULK_MARGIN * BULK_TURN * seconds_per_image)
        if queue_ahead and expected_s > _HEADROOM * remaining_s:
            raise OverloadedError(
                f"a response takes about {expected_s * 1000:.0f} ms now; {remaining_s * 1000:.0f} ms are left, "
                f"of which {_HEADROOM:.0%} may be planned for",
                retry_after_s=math.ceil(expected_s - _HEADROOM * remaining_s),
                reason="late",
            )

    def _wait_s(self) -> int:
        """Return the whole seconds that the images in flight will take, by the estimate."""
        return math.ceil(
            max(
                self.queue_ahead(priority) * seconds_per_image
                for priority, seconds_per_image in self.seconds_per_image.items()
            )
        )
