from __future__ import annotations

import pytest

from service.http.request_headers import parse_decimal


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("007", 7), ("9" * 18, 10**18 - 1)])
def test_digits_are_a_number(text: str, number: int) -> None:
    assert parse_decimal(text) == number


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", " 1", "1_0", "٣", "²", "9" * 19, "9" * 5000])
def test_everything_else_is_not(text: str) -> None:
    assert parse_decimal(text) is None
