"""Parse the headers of a request: deadline, priority and size of the body."""

from __future__ import annotations

from starlette.requests import Request

from service.core.deadline import Deadline, Priority
from service.core.errors import BadRequestError, PayloadTooLargeError

_MAX_DIGITS = 18
"""Python raises an error of its own for thousands of digits."""


def parse_decimal(text: str) -> int | None:
    """Return the number of ASCII digits without a sign; None if `text` is anything else, or too long."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS else None


def read_deadline(request: Request, max_ms: int) -> Deadline:
    """Return the deadline of the header `X-Request-Timeout-Ms`, or the longest one.

    Raises:
        BadRequestError: The header is not a whole number of ms from 1 to `max_ms`.
    """
    text = request.headers.get("x-request-timeout-ms", str(max_ms))
    number = parse_decimal(text)
    if number is None or not 1 <= number <= max_ms:
        raise BadRequestError(f"X-Request-Timeout-Ms: {text[:99]!r} is not a whole number from 1 to {max_ms}")
    return Deadline(number / 1000)


def read_priority(request: Request) -> Priority:
    """Return the priority of the header `X-Request-Priority`; interactive without it.

    Raises:
        BadRequestError: The header is something else.
    """
    text = request.headers.get("x-request-priority", "interactive")
    try:
        return Priority[text.upper()]
    except KeyError:
        raise BadRequestError(f"X-Request-Priority: {text!r} is neither 'interactive' nor 'bulk'") from None


def announced_size(request: Request, max_bytes: int) -> int:
    """Return the `Content-Length`, in bytes; 0 without it.

    Raises:
        BadRequestError: `Content-Length` is not a number.
        PayloadTooLargeError: It is over the limit.
    """
    text = request.headers.get("content-length", "0")
    size = parse_decimal(text)
    if size is None:
        raise BadRequestError(f"Content-Length: {text[:99]!r} is not a number")
    if size > max_bytes:
        raise PayloadTooLargeError(f"the body has {size} bytes; the limit is {max_bytes}")
    return size
