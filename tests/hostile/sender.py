"""Sends requests over a few connections at once, one after the other on each, and keeps what came back."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psutil

from .corpus import Item

ANSWER_WITHIN_S = 60.0
"""More than the deadline of a request; what takes longer hangs."""

_SAMPLE_EVERY_S = 0.01


@dataclass(frozen=True)
class Outcome:
    """What became of a request."""

    item: Item
    status: int
    """0 where no answer came."""
    media_type: str
    body: bytes
    """Of the answer; where none came, why."""
    seconds: float


def send(port: int, items: Sequence[Item], connections: int) -> list[Outcome]:
    """Send all items and return what became of each, in no order."""
    waiting, lock = iter(items), threading.Lock()
    outcomes: list[Outcome] = []

    def take() -> Item | None:
        with lock:
            return next(waiting, None)

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_WITHIN_S)
        while item := take():
            outcomes.append(_ask(connection, item))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def _ask(connection: http.client.HTTPConnection, item: Item) -> Outcome:
    """Ask, and once more on a new connection where the service had closed this one."""
    began = time.monotonic()
    try:
        try:
            status, media_type, body = _exchange(connection, item)
        except (OSError, http.client.HTTPException):
            connection.close()
            status, media_type, body = _exchange(connection, item)
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        status, media_type, body = 0, "", repr(error).encode()
    return Outcome(item, status, media_type, body, time.monotonic() - began)


def _exchange(connection: http.client.HTTPConnection, item: Item) -> tuple[int, str, bytes]:
    # What is refused by its headers is answered before all of its body is sent.
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.putrequest("POST", item.path, skip_accept_encoding=True)
        for name, value in {**item.headers, "Content-Length": str(len(item.body))}.items():
            connection.putheader(name, value.encode("latin-1"))
        connection.endheaders(item.body)
    answer = connection.getresponse()
    return answer.status, answer.getheader("Content-Type", ""), answer.read()


class MemoryWatch:
    """Looks at the memory of processes, often, and keeps the most that each had."""

    def __init__(self, **processes: psutil.Process) -> None:
        self._processes = processes
        self.before = {name: process.memory_info().rss for name, process in processes.items()}
        """Bytes that are resident, by the names that were given."""
        self.peak = dict(self.before)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def growth(self) -> dict[str, int]:
        """Return how many bytes more than at the start each had at most."""
        return {name: self.peak[name] - self.before[name] for name in self.peak}

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_EVERY_S):
            for name, resident in self._resident():
                self.peak[name] = max(self.peak[name], resident)

    def _resident(self) -> Iterator[tuple[str, int]]:
        for name, process in self._processes.items():
            with suppress(psutil.NoSuchProcess):
                yield name, process.memory_info().rss
