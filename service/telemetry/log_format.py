"""Log lines that a machine can read: fields behind the text, or JSON."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

_BARE = re.compile(r"[\w./:+@%-]+", re.ASCII)
"""Values that need no quotes."""


_LONGEST_PATH = 500
"""Characters of a path; callers may send a hundred times as many."""


class Event:
    """What happened, and the fields that tell the particulars; given to a logger in the place of a text."""

    def __init__(self, text: str, **fields: Any) -> None:
        """Keep them; fields that are None are left out."""
        self.text = text
        self.fields = {name: value for name, value in fields.items() if value is not None}

    def __str__(self) -> str:
        return " ".join((self.text, *(f"{name}={_quoted(str(value))}" for name, value in self.fields.items())))


class TextFormatter(logging.Formatter):
    """BentoML's form of a line. What is the same in all lines of a process, or of a second, is made once."""

    def __init__(self, component: str) -> None:
        """Keep how BentoML calls this process."""
        super().__init__()
        self._component = component
        self._second = -1
        self._time = ""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and behind it a traceback if there is one."""
        second = int(record.created)
        if second != self._second:
            self._second, self._time = second, time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(second))
        line = f"{self._time} [{record.levelname}] [{self._component}] {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the fields of an `Event` beside its text."""

    def __init__(self, service: str) -> None:
        """Keep the name of the service, which stands in each line."""
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
    """Write all that this process logs through BentoML's loggers as text or as JSON.

    What no line shows is not looked up either: thread, process, task, place in the source. Together with the span that
    BentoML looks up for each line that was more than half of what a line cost.

    Args:
        kind: The form of the lines.
        service: `edge` or `runner`, for JSON.
        component: BentoML's name of this process, for text.
        strip: Removes what BentoML adds to a handler and no line needs.
    """
    for unused in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks", "_srcfile"):
        setattr(logging, unused, None)
    # What is wrong with a form, or with what is no HTTP, stands in our own line.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    logging.getLogger("uvicorn.error").addFilter(lambda record: record.msg != "Invalid HTTP request received.")
    formatter = JsonFormatter(service) if kind == "json" else TextFormatter(component)
    for name in ("bentoml", "circus", "uvicorn", "uvicorn.error", ""):
        for handler in logging.getLogger(name).handlers:
            handler.setFormatter(formatter)
            strip(handler)


def _quoted(value: str) -> str:
    """Return a value so that it can neither end its line nor be taken for two."""
    if _BARE.fullmatch(value):
        return value
    return '"' + value.encode("unicode_escape").decode().replace('"', '\\"') + '"'


def shorten(path: str) -> str:
    """Return a path, or its beginning."""
    return path if len(path) <= _LONGEST_PATH else f"{path[:_LONGEST_PATH]}…"
