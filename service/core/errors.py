"""The errors of a request, each with its HTTP status.

    ServiceError
    ├── BadRequestError            400  the request is not what the API takes
    │   └── InvalidImageError      400  the bytes are not an image that can be decoded
    ├── ModelNotFoundError         404  no such model, version or label is served
    ├── AccessDeniedError          401  a route without the key or the token that opens it
    ├── SlowRequestError           408  the body did not arrive in time
    ├── ReloadFailedError          409  a version that a label points to cannot be served
    ├── PayloadTooLargeError       413  the body is larger than the limit
    ├── UnsupportedMediaTypeError  415  the body's content type is not taken here
    ├── OverloadedError            429  a queue is full, or the answer would come too late
    ├── InferenceError             500  the engine failed on this input
    ├── NotReadyError              503  no checked model yet, no memory, runner away, or draining
    │   └── RunnerLostError        503  the runner was lost with the request
    └── DeadlineExceededError      504  the deadline passed before the answer was there

Paths and methods that do not exist are Starlette's to refuse; `service.http.middleware` puts that into the same form.
The runner's errors travel to the edge as `(kind, message, retry_after_s, reason)` and come out as the same class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import ClassVar


class ServiceError(Exception):
    """A request was rejected or failed; the message says why, and names the field or limit."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    reason: str = "internal"
    """One word for logs and metrics: a few values, each of which means one thing to mend."""

    def __init__(self, message: str, *, retry_after_s: int | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        if reason is not None:
            self.reason = reason

    @property
    def kind(self) -> str:
        """Return the name of the class, which is also its name on the wire to the edge."""
        return type(self).__name__

    @classmethod
    def from_wire(
        cls, kind: str, message: str, retry_after_s: int | None = None, reason: str | None = None
    ) -> ServiceError:
        """Return the error that the runner named `kind`; one that this release does not know is internal."""
        for known in error_classes():
            if known.__name__ == kind:
                return known(message, retry_after_s=retry_after_s, reason=reason)
        return InferenceError(message)


class ClientDisconnectedError(Exception):
    """The client disconnected before its response was sent."""


class BadRequestError(ServiceError):
    """The request is not what the API takes."""

    status = HTTPStatus.BAD_REQUEST
    reason = "bad_request"


class InvalidImageError(BadRequestError):
    """The bytes are not an image that can be decoded, or one beyond the limits."""

    reason = "invalid_image"
    index: int = 0
    """Which of the request's images it is."""

    def within(self, fields: Sequence[str]) -> InvalidImageError:
        """Return the error with the field of the request that holds the image.

        Args:
            fields: Where each of the images stands, as in `instances[1].image_bytes`.
        """
        return InvalidImageError(f"{fields[self.index]}: {self}")


class ModelNotFoundError(ServiceError):
    """No such model, version or label is served."""

    status = HTTPStatus.NOT_FOUND
    reason = "model_not_found"


class AccessDeniedError(ServiceError):
    """A route was called without the key or the token that opens it."""

    status = HTTPStatus.UNAUTHORIZED
    reason = "access_denied"


class SlowRequestError(ServiceError):
    """The body of the request did not arrive in time."""

    status = HTTPStatus.REQUEST_TIMEOUT
    reason = "slow_request"


class ReloadFailedError(ServiceError):
    """A version that a label points to cannot be served; the previous version still serves."""

    status = HTTPStatus.CONFLICT
    reason = "reload_failed"


class PayloadTooLargeError(ServiceError):
    """The body is larger than the limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    reason = "too_large"


class UnsupportedMediaTypeError(ServiceError):
    """The body's content type is not taken here."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    reason = "media_type"


class OverloadedError(ServiceError):
    """A queue is full, or the answer would come after the deadline; nothing was started."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    reason = "overloaded"

    def __init__(self, message: str, *, retry_after_s: int | None = None, reason: str | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s or 1, reason=reason)


class InferenceError(ServiceError):
    """The engine failed on this input, or something broke that should not."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    reason = "inference"


class NotReadyError(ServiceError):
    """There is no checked model yet, no memory for an image, the runner is away, or the process is draining."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    reason = "not_ready"

    def __init__(self, message: str, *, retry_after_s: int | None = None, reason: str | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s or 1, reason=reason)


class RunnerLostError(NotReadyError):
    """The runner was lost with the request, or before it was sent; a retry is safe."""

    reason = "runner_lost"


class DeadlineExceededError(ServiceError):
    """The deadline passed before the answer was there."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    reason = "deadline"


def error_classes() -> Iterator[type[ServiceError]]:
    """Yield every class of the tree, the most general first."""
    waiting: list[type[ServiceError]] = [ServiceError]
    while waiting:
        current = waiting.pop(0)
        yield current
        waiting.extend(current.__subclasses__())
