"""The errors of a request, each with its HTTP status.

    ServiceError
    ├── BadRequestError            400  the request is not valid
    │   └── InvalidImageError      400  the bytes are not an image that can be decoded
    ├── ModelNotFoundError         404  no such model, version or label is served
    ├── AccessDeniedError          401  no valid key or token for this route
    ├── SlowRequestError           408  the body was not received in time
    ├── ReloadFailedError          409  a version that a label points to cannot be served
    ├── PayloadTooLargeError       413  the body is larger than the limit
    ├── UnsupportedMediaTypeError  415  the content type of the body is not supported
    ├── OverloadedError            429  a queue is full, or the response would be too late
    ├── InferenceError             500  the engine failed on this input
    ├── NotReadyError              503  no model yet, no memory, no runner, or draining
    │   └── RunnerLostError        503  the runner was lost with the request
    └── DeadlineExceededError      504  the deadline passed before the response

Unknown paths and methods are rejected by Starlette; `service.http.middleware` gives those responses the same format.
The runner sends its errors to the edge as `(kind, message, retry_after_s, reason)`; the edge raises the same class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import ClassVar


class ServiceError(Exception):
    """A request was rejected or failed; the message says why, and names the field or limit."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    reason: str = "internal"
    """One word for logs and metrics, from a small set."""

    def __init__(self, message: str, *, retry_after_s: int | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        if reason is not None:
            self.reason = reason

    @property
    def kind(self) -> str:
        """Return the name of the class, which identifies it on the wire to the edge."""
        return type(self).__name__

    @classmethod
    def from_wire(
        cls, kind: str, message: str, retry_after_s: int | None = None, reason: str | None = None
    ) -> ServiceError:
        """Return the error of a kind; one that this release does not know is an `InferenceError`."""
        for known in error_classes():
            if known.__name__ == kind:
                return known(message, retry_after_s=retry_after_s, reason=reason)
        return InferenceError(message)


class ClientDisconnectedError(Exception):
    """The client disconnected before its response was sent."""


class BadRequestError(ServiceError):
    """The request is not valid."""

    status = HTTPStatus.BAD_REQUEST
    reason = "bad_request"


class InvalidImageError(BadRequestError):
    """The bytes are not an image that can be decoded, or over a limit."""

    reason = "invalid_image"
    index: int = 0
    """The index of the image in the request."""

    def within(self, fields: Sequence[str]) -> InvalidImageError:
        """Return the error with the field of the image in its message.

        Args:
            fields: Of all images of the request, as in `instances[1].image_bytes`.
        """
        return InvalidImageError(f"{fields[self.index]}: {self}")


class ModelNotFoundError(ServiceError):
    """No such model, version or label is served."""

    status = HTTPStatus.NOT_FOUND
    reason = "model_not_found"


class AccessDeniedError(ServiceError):
    """The request has no valid key or token for its route."""

    status = HTTPStatus.UNAUTHORIZED
    reason = "access_denied"


class SlowRequestError(ServiceError):
    """The body of the request was not received in time."""

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
    """The content type of the body is not supported by the route."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    reason = "media_type"


class OverloadedError(ServiceError):
    """A queue is full, or the response would be too late; no work was done."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    reason = "overloaded"

    def __init__(self, message: str, *, retry_after_s: int | None = None, reason: str | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s or 1, reason=reason)


class InferenceError(ServiceError):
    """The engine failed on this input, or the runner failed."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    reason = "inference"


class NotReadyError(ServiceError):
    """No model is available yet, there is no memory for an image, the runner is lost, or the process is draining."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    reason = "not_ready"

    def __init__(self, message: str, *, retry_after_s: int | None = None, reason: str | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s or 1, reason=reason)


class RunnerLostError(NotReadyError):
    """The runner was lost with the request, or before it was sent; a retry is safe."""

    reason = "runner_lost"


class DeadlineExceededError(ServiceError):
    """The deadline passed before the response."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    reason = "deadline"


def error_classes() -> Iterator[type[ServiceError]]:
    """Yield every class of the tree, the most general first."""
    pending: list[type[ServiceError]] = [ServiceError]
    while pending:
        current = pending.pop(0)
        yield current
        pending.extend(current.__subclasses__())
