"""Numbers, deadline, priority and size in the headers of a request."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from service.core.deadline import Priority
from service.core.errors import BadRequestError, PayloadTooLargeError
from service.http.request_headers import announced_size, parse_decimal, read_deadline, read_priority


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("007", 7), ("9" * 18, 10**18 - 1)])
def test_digits_are_a_number(text: str, number: int) -> None:
    assert parse_decimal(text) == number


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", " 1", "1_0", "٣", "²", "9" * 19, "9" * 5000])
def test_everything_else_is_not(text: str) -> None:
    assert parse_decimal(text) is None


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw})


def test_a_deadline_is_the_header_or_the_longest() -> None:
    assert 0.2 < read_deadline(request(x_request_timeout_ms="250"), 30_000).remaining_s() <= 0.25
    assert 29 < read_deadline(request(), 30_000).remaining_s() <= 30
    for value in ("0", "30001", "-1", "1.5", ""):
        with pytest.raises(BadRequestError, match=r"X-Request-Timeout-Ms: '.*' is not a whole number from 1 to 30000"):
            read_deadline(request(x_request_timeout_ms=value), 30_000)


def test_a_priority_is_interactive_or_bulk() -> None:
    assert read_priority(request()) is read_priority(request(x_request_priority="Interactive")) is Priority.INTERACTIVE
    assert read_priority(request(x_request_priority="bulk")) is Priority.BULK
    with pytest.raises(BadRequestError, match="X-Request-Priority: 'urgent'"):
        read_priority(request(x_request_priority="urgent"))


def test_a_size_is_checked_before_the_body_is_read() -> None:
    assert announced_size(request(), 10) == 0
    assert announced_size(request(content_length="10"), 10) == 10
    with pytest.raises(PayloadTooLargeError, match="the body has 11 bytes; the limit is 10"):
        announced_size(request(content_length="11"), 10)
    with pytest.raises(BadRequestError, match="Content-Length: 'x' is not a number"):
        announced_size(request(content_length="x"), 10)
