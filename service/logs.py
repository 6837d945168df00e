"""Log lines that a machine can read: fields behind the text, or JSON."""

from __future__ import annotations

import logging
import re
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


def configure(kind: Literal["text", "json"], service: str) -> None:
    """Have all that this process logs through BentoML's loggers written in one of the two ways.

    What no line shows is not looked up either (thread, process, task, place in the source): a third of what a line
    costs.
    """
    for unused in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks", "_srcfile"):
        setattr(logging, unused, None)
    # What is wrong with a form, or with what is no HTTP, stands in our own line.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    logging.getLogger("uvicorn.error").addFilter(lambda record: record.msg != "Invalid HTTP request received.")
    if kind == "text":
        return
    formatter = JsonFormatter(service)
    for name in ("bentoml", "circus", "uvicorn", ""):
        for handler in logging.getLogger(name).handlers:
            handler.setFormatter(formatter)


def _quoted(value: str) -> str:
    """Return a value so that it can neither end its line nor be taken for two."""
    if _BARE.fullmatch(value):
        return value
    return '"' + value.encode("unicode_escape").decode().replace('"', '\\"') + '"'


def shorten(path: str) -> str:
    """Return a path, or its beginning."""
    return path if len(path) <= _LONGEST_PATH else f"{path[:_LONGEST_PATH]}…"
