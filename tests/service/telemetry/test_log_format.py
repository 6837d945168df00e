"""Lines of the log: one each, whatever is in them."""

from __future__ import annotations

import logging
from datetime import datetime

import orjson
import pytest

from service.telemetry.log_format import Event, JsonFormatter, TextFormatter


def test_fields_stand_behind_the_text() -> None:
    event = Event("request rejected", status=429, path="/v1/models/x:predict", client=None)
    assert str(event) == "request rejected status=429 path=/v1/models/x:predict"


@pytest.mark.parametrize("value", ["a b", 'a" status="200', "a\nb", "a\r\x1b[2J", "ü", "", "a=b"])
def test_no_value_ends_its_line_or_forges_a_field(value: str) -> None:
    line = str(Event("x", error=value))
    assert line.startswith('x error="')
    assert line.endswith('"')
    assert line.isprintable()
    assert line.isascii()
    assert '"' not in line[9:-1].replace('\\"', "")


def record(message: object, *arguments: object, error: Exception | None = None) -> logging.LogRecord:
    info = (type(error), error, None) if error else None
    return logging.LogRecord("bentoml.edge", logging.WARNING, "", 0, message, arguments, info)


def test_json_has_the_same_fields() -> None:
    formatter = JsonFormatter("edge")
    line = orjson.loads(formatter.format(record(Event("refused", status=429, error="a\nb"))))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "service": "edge",
        "logger": "bentoml.edge",
        "message": "refused",
        "status": 429,
        "error": "a\nb",
    }
    assert orjson.loads(formatter.format(record("%d of %s", 1, "x")))["message"] == "1 of x"
    assert "ValueError: bad" in orjson.loads(formatter.format(record("x", error=ValueError("bad"))))["exception"]
    assert b"\n" not in formatter.format(record("x", error=ValueError("bad"))).encode()


def test_text_has_the_form_of_bentoml() -> None:
    formatter = TextFormatter("service:xception:1")
    for created in (0.999, 1.0, 86_400 * 200):  # The next second, and where there is one the other half of the year.
        one = record(Event("refused", status=429))
        one.created = created
        time = datetime.fromtimestamp(int(created)).astimezone().strftime("%Y-%m-%dT%H:%M:%S%z")
        assert formatter.format(one) == f"{time} [WARNING] [service:xception:1] refused status=429"
    assert formatter.format(record("%d of %s", 1, "x")).endswith("] 1 of x")
    first, *rest = formatter.format(record("bad", error=ValueError("very"))).splitlines()
    assert first.endswith("] bad")
    assert rest == ["ValueError: very"]
