from __future__ import annotations

import time

import pytest

from service.core.deadline import Deadline, Priority
from service.core.errors import DeadlineExceededError


def test_a_deadline_passes_once() -> None:
    deadline = Deadline(0.02)
    assert 0 < deadline.remaining_s() <= 0.02
    deadline.check()
    time.sleep(0.03)
    assert deadline.remaining_s() < 0
    with pytest.raises(DeadlineExceededError, match="the deadline of 20 ms has passed"):
        deadline.check()


@pytest.mark.parametrize(("limit", "bulk"), [(100, 75), (2, 2), (1, 1), (5, 4)])
def test_bulk_requests_use_three_quarters_of_a_limit_rounded_up(limit: int, bulk: int) -> None:
    assert Priority.INTERACTIVE.share_of(limit) == limit
    assert Priority.BULK.share_of(limit) == bulk


def test_interactive_comes_first() -> None:
    assert min(Priority) is Priority.INTERACTIVE
