"""Format log lines for machines: `key=value` fields after the text, or JSON."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

_UNQUOTED = re.compile(r"[\w./:+@%-]+", re.ASCII)
"""Values that need no quotes."""

_MAX_PATH_CHARS = 500
"""Characters of a path in a line; clients may send a hundred times as many."""


class Event:
    """A log message with fields; passed to a logger instead of a string."""

    def __init__(self, text: str, **fields: Any) -> None:
        """Keep text and fields; fields that are None are left out."""
        self.text = text
        self.fields = {name: value for name, value in fields.items() if value is not None}

    def __str__(self) -> str:
        return " ".join((self.text, *(f"{name}={_quoted(str(value))}" for name, value in self.fields.items())))


class TextFormatter(logging.Formatter):
    """Formats lines as BentoML does; the time is formatted once a second."""

    def __init__(self, component: str) -> None:
        """Keep BentoML's name of this process."""
        super().__init__()
        self._component = component
        self._second = -1
        self._time = ""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, followed by a traceback if there is one."""
        second = int(record.created)
        if second != self._second:
            self._second, self._time = second, time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(second))
        line = f"{self._time} [{record.levelname}] [{self._component}] {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """Formats lines as JSON objects, with the fields of an `Event` beside its text."""

    def __init__(self, service: str) -> None:
        """Keep the name of the service, a field of each line."""
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        event = record.msg if isinstance(record.msg, Event) else None
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": event.text if event else record.getMessage(),
            **(event.fields if event else {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure(
    kind: Literal["text", "json"], service: str, component: str, strip: Callable[[logging.Handler], None]
) -> None:
    """Format all log lines of this process as text or as JSON.

    Thread, process, task and source location, which no line contains, are not looked up: with the span that BentoML
    looks up for each line that was more than half of the cost of a line.

    Args:
        kind: Format of the lines.
        service: `edge` or `runner`, for JSON.
        component: BentoML's name of this process, for text.
        strip: Removes what BentoML adds to a handler and no line contains.
    """
    for unused in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks", "_srcfile"):
        setattr(logging, unused, None)
    # Invalid forms and invalid HTTP are logged by `service.telemetry.request_log`.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    logging.getLogger("uvicorn.error").addFilter(lambda record: record.msg != "Invalid HTTP request received.")
    formatter = JsonFormatter(service) if kind == "json" else TextFormatter(component)
    for name in ("bentoml", "circus", "uvicorn", "uvicorn.error", ""):
        for handler in logging.getLogger(name).handlers:
            handler.setFormatter(formatter)
            strip(handler)


def _quoted(value: str) -> str:
    """Return a value quoted where needed, so that it can neither end its line nor add a field."""
    if _UNQUOTED.fullmatch(value):
        return value
    return '"' + value.encode("unicode_escape").decode().replace('"', '\\"') + '"'


def shorten(path: str) -> str:
    """Return a path, or the beginning of a long one."""
    return path if len(path) <= _MAX_PATH_CHARS else f"{path[:_MAX_PATH_CHARS]}…"
