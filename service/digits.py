"""Whole numbers that callers write in headers, queries and paths."""

from __future__ import annotations

_MOST = 18
"""Digits of the longest number; Python refuses thousands of them with an error of its own."""


def read_digits(text: str) -> int | None:
    """Return the number that ASCII digits spell, without a sign; None where `text` is anything else, or too long."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST else None
