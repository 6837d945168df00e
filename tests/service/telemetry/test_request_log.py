"""What is left of a request once it is finished."""

from __future__ import annotations

import logging

import pytest

from service.telemetry.request_log import finish
from service.telemetry.request_record import RequestRecord


@pytest.mark.parametrize(
    ("status", "level", "text"),
    [(400, "INFO", "request rejected"), (429, "WARNING", "request rejected"), (500, "ERROR", "request failed")],
)
def test_a_failed_request_leaves_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, status: int, level: str, text: str
) -> None:
    request = RequestRecord(method="POST", path="/classify", request_id="abc")
    request.fail("late", "too late")
    monkeypatch.setattr(logging.getLogger("bentoml"), "propagate", True)
    with caplog.at_level(logging.INFO, "bentoml.edge"):
        finish(request, status)
    (line,) = caplog.records
    assert line.levelname == level
    assert line.getMessage() == (
        f'{text} status={status} reason=late method=POST path=/classify request_id=abc error="too late"'
    )
