"""Admission control: the limits of an edge process, and the permit that proves a request is within them."""

from __future__ import annotations

import math
import time
from typing import Protocol, Self

from service.core.deadline import BULK_INTERVAL, Deadline, Priority
from service.core.errors import NotReadyError, OverloadedError

_SMOOTHING = 0.1
"""Weight of the newest response in the estimate."""

_HEADROOM = 0.8
"""Share of the remaining time that a response may be expected to take: estimates err, and late work is lost."""

_BULK_MARGIN = 2
"""Factor on the expected wait of a bulk request, compared with its share of batches alone."""


class ClientQuota(Protocol):
    """The client of a request, as admission sees it."""

    priority: Priority
    """The highest priority of its requests."""

    def require_quota(self) -> None:
        """Reject a request over the client's rate."""

    def charge(self, images: int) -> None:
        """Count images against its rate."""


class Permit:
    """Proof of admission: a context manager that holds the slot of a request and releases what it reserved."""

    def __init__(
        self, admission: Admission, deadline: Deadline, priority: Priority, client: ClientQuota | None
    ) -> None:
        self.deadline = deadline
        self.priority = priority
        self._client = client
        self._charged = 0
        self._holds_slot = False
        self.bytes = 0
        self.images = 0
        self._admission = admission
        self._started_at = time.monotonic()
        self._queue_ahead = 0

    def __enter__(self) -> Self:
        self._take_slot()
        return self

    def __exit__(self, *_: object) -> None:
        self.release_slot()
        self._admission.bytes -= self.bytes

    def release_slot(self) -> None:
        """Release the slot while the body is read, so that slow clients do not block others."""
        self.count_images(0)
        self._admission.requests -= self._holds_slot
        self._holds_slot = False

    def reacquire_slot(self) -> None:
        """Acquire a slot again after the body was read, unless it was never released.

        Raises:
            OverloadedError: No slot is free, or the response would be too late by now.
        """
        if not self._holds_slot:
            self._admission.require_slot(self.deadline, self.priority)
            self._started_at = time.monotonic()  # Not the time of a slow body.
            self._take_slot()

    def _take_slot(self) -> None:
        self._admission.requests += 1
        self._holds_slot = True
        self.count_images(1)

    def reserve(self, size: int) -> None:
        """Reserve `size` more bytes for the body.

        Raises:
            OverloadedError: Over the limit of all bodies in flight.
        """
        self._admission.require_bytes(size, self.priority, self.bytes)
        self._admission.bytes += size
        self.bytes += size

    def override(self, timeout_s: float | None, priority: Priority | None) -> None:
        """Apply deadline and priority from the body of the request; of two deadlines the earlier one counts."""
        if timeout_s is not None:
            self.deadline = min(self.deadline, Deadline(timeout_s), key=lambda deadline: deadline.expires_at)
        if priority is not None and self._client:
            priority = max(priority, self._client.priority)
        if priority is not None and priority != self.priority:
            images = self.images
            self.count_images(0)  # Counted for the other priority until now.
            self.priority = priority
            self.count_images(images)

    def count_images(self, images: int) -> None:
        """Set the number of images of the request once it is known; one until then."""
        if self._client and images > self._charged:
            self._client.charge(images - self._charged)
            self._charged = images
        self._admission.images[self.priority] += images - self.images
        self.images = images
        self._queue_ahead = self._admission.queue_ahead(self.priority)

    def record_response(self) -> None:
        """Record the response; its duration updates the estimate for new requests."""
        self._admission.update_estimate(self.priority, (time.monotonic() - self._started_at) / self._queue_ahead)


class Admission:
    """The limits of one edge process: requests, bytes of their bodies, and time.

    A request that waits for its body holds no slot (`Permit.release_slot`); the bytes received so far are counted.

    Requests are served in order. If one arrives while n images are in flight and takes t seconds, an image takes t / n
    seconds. So the latency of a new request is estimated before its body is read.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0
        self.images = dict.fromkeys(Priority, 0)
        self.seconds_per_image = dict.fromkeys(Priority, 0.0)
        """Estimated seconds per image; 0 until the first response."""
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
            priority: Of the request; a client may have a lower one.
            size: Bytes of the body by its Content-Length, or 0. They must be free but are not reserved yet: otherwise a
                few clients that announce much and send nothing would block all others.
            client: The client, if API keys are used.

        Raises:
            OverloadedError: No slot is free, or too few bytes, or the response would be too late, or the client has
                had what they may have.
            NotReadyError: The process is draining.
        """
        if not self._open:
            raise NotReadyError("the service is shutting down")
        if client:
            client.require_quota()
            priority = max(priority, client.priority)
        self.require_slot(deadline, priority)
        self.require_bytes(size, priority)
        return Permit(self, deadline, priority, client)

    def queue_ahead(self, priority: Priority) -> int:
        """Return the images in flight ahead of a new request of this priority."""
        return sum(images for level, images in self.images.items() if level <= priority)

    def update_estimate(self, priority: Priority, seconds: float) -> None:
        """Update the estimate of the seconds per image."""
        known = self.seconds_per_image[priority]
        self.seconds_per_image[priority] = known + _SMOOTHING * (seconds - known) if known else seconds

    def require_slot(self, deadline: Deadline, priority: Priority) -> None:
        """Reject a request for which there is no slot or no time.

        Raises:
            OverloadedError: No slot is free, or the response would be too late.
        """
        if self.requests >= priority.share_of(self.max_requests):
            raise OverloadedError(
                f"{self.requests} requests are in flight, which is the limit"
                + (" for bulk requests" if priority else ""),
                retry_after_s=self._backlog_s(),
                reason="requests",
            )
        self._check_time(deadline, priority)

    def require_bytes(self, size: int, priority: Priority, own: int = 0) -> None:
        """Reject `size` more bytes of a body over the limit.

        Args:
            size: Bytes to reserve.
            priority: Its share is the limit; a body larger than the share may use all bytes if no other does.
            own: Bytes that the request holds already.

        Raises:
            OverloadedError: Over the limit.
        """
        total, limit = self.bytes + size, priority.share_of(self.max_bytes)
        if total > limit and (self.bytes > own or total > self.max_bytes):
            raise OverloadedError(
                f"request bodies in flight hold {self.bytes} bytes; "
                f"{size} more are over the limit of {limit}" + (" for bulk requests" if priority else ""),
                retry_after_s=self._backlog_s(),
                reason="body_bytes",
            )

    def _check_time(self, deadline: Deadline, priority: Priority) -> None:
        queue_ahead = self.queue_ahead(priority)
        expected_s, remaining_s = (queue_ahead + 1) * self.seconds_per_image[priority], deadline.remaining_s()
        if priority is Priority.BULK and (seconds_per_image := self.seconds_per_image[Priority.INTERACTIVE]):
            # An estimate made behind interactive requests could otherwise never be corrected.
            expected_s = min(expected_s, (self.images[priority] + 1) * _BULK_MARGIN * BULK_INTERVAL * seconds_per_image)
        if queue_ahead and expected_s > _HEADROOM * remaining_s:
            raise OverloadedError(
                f"a response takes about {expected_s * 1000:.0f} ms now; {remaining_s * 1000:.0f} ms are left, "
                f"of which {_HEADROOM:.0%} may be planned for",
                retry_after_s=math.ceil(expected_s - _HEADROOM * remaining_s),
                reason="late",
            )

    def _backlog_s(self) -> int:
        """Return the whole seconds that the images in flight will take, by the estimate."""
        return math.ceil(
            max(
                self.queue_ahead(priority) * seconds_per_image
                for priority, seconds_per_image in self.seconds_per_image.items()
            )
        )
