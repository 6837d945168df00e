"""Clients that send requests while something is broken, and counts of what became of each request."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Self

import httpx

PREDICT = "/v1/models/xception:predict"


@dataclass
class Tally:
    """Counts of requests, each in exactly one of the last four."""

    sent: int = 0
    answered: int = 0
    """With the right scores."""
    refused: int = 0
    """With 429 or 503 and a time after which to come back, or with 504."""
    failed: int = 0
    """With any other error."""
    wrong: int = 0
    """With scores of something else."""
    lost: int = 0
    """Without an answer: the connection was cut, or nothing came in time."""
    statuses: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    """The first few of what failed, was wrong or was lost."""


class Traffic:
    """Some clients that each ask again as soon as they have an answer, with a short pause after a refusal."""

    def __init__(
        self,
        url: str,
        body: bytes,
        right: Callable[[httpx.Response], bool],
        *,
        clients: int = 8,
        timeout_ms: int = 8000,
    ) -> None:
        """Keep what is asked.

        Args:
            url: Of the service.
            body: Of a `:predict` request.
            right: Tells whether an answer of 200 is the right one.
            clients: How many ask at once.
            timeout_ms: The deadline that each request names; answers are waited for 5 s longer.
        """
        self.tally = Tally()
        self.answered_at: list[float] = []
        """When each answer came, on the monotonic clock."""
        self.lost_began: list[float] = []
        """When each request was sent that was lost."""
        self.slowest_s = 0.0
        self._url, self._body, self._right, self._timeout_ms = url, body, right, timeout_ms
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def longest_gap_s(self, moment: float) -> float:
        """Return the longest time without any answer since a moment, in seconds."""
        times = [moment, *(at for at in self.answered_at if at > moment)]
        return max(later - earlier for earlier, later in pairwise(times))

    def stop_asking(self) -> None:
        """Send no more; what has been sent is still waited for."""
        self._over.set()

    def wait_for_answers(self, number: int, seconds: float = 60) -> None:
        """Wait until so many more requests have been answered."""
        wanted, until = self.tally.answered + number, time.monotonic() + seconds
        while self.tally.answered < wanted:
            assert time.monotonic() < until, self.tally
            time.sleep(0.02)

    def _ask_on(self) -> None:
        headers = {"X-Request-Timeout-Ms": str(self._timeout_ms), "Content-Type": "application/json"}
        with httpx.Client(base_url=self._url, headers=headers, timeout=self._timeout_ms / 1000 + 5) as client:
            while not self._over.is_set():
                began = time.monotonic()
                try:
                    answer = client.post(PREDICT, content=self._body)
                except httpx.TransportError as error:
                    self._count(began, None, repr(error))
                    self._over.wait(0.1)
                    continue
                self._count(began, answer, answer.text[:200])
                if answer.status_code != 200:
                    self._over.wait(0.1)

    def _count(self, began: float, answer: httpx.Response | None, text: str) -> None:
        with self._lock:
            tally, now = self.tally, time.monotonic()
            tally.sent += 1
            self.slowest_s = max(self.slowest_s, now - began)
            if answer is None:
                tally.lost += 1
                self.lost_began.append(began)
            else:
                tally.statuses[answer.status_code] += 1
                if answer.status_code == 504 or (
                    answer.status_code in (429, 503) and int(answer.headers.get("retry-after", 0)) >= 1
                ):
                    tally.refused += 1
                    return
                if answer.status_code == 200 and self._right(answer):
                    tally.answered += 1
                    self.answered_at.append(now)
                    return
                if answer.status_code == 200:
                    tally.wrong += 1
                else:
                    tally.failed += 1
            if len(tally.problems) < 5:
                tally.problems.append(text)
