"""What is collected of a request."""

from __future__ import annotations

import time

from service.telemetry.request_record import RequestRecord


def test_a_record_starts_now_and_keeps_why_it_failed() -> None:
    record = RequestRecord(method="GET", path="/")
    assert 0 <= time.perf_counter() - record.started < 1
    assert (record.reason, record.error, record.route, record.inference) == (None, None, None, None)
    record.fail("late", "too late")
    assert (record.reason, record.error) == ("late", "too late")
