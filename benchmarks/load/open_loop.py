"""An open loop, run in a process of its own, and its results."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Literal, Self

from loadtest.load.arrivals import Arrivals
from loadtest.load.requests import Outcome

BULK = "bulk"
INTERACTIVE = "interactive"
"""Names of the requests of `images`, by their priority."""

BAD = "bad: "
"""Prefix of the names of invalid requests."""


@dataclass(frozen=True)
class Plan:
    """The load to generate."""

    url: str
    """Of the service."""
    model: str
    phases: tuple[tuple[float, float], ...]
    """One after the other without a pause: seconds, and requests a second."""
    content: Literal["images", "mixed"]
    """Images of 500 × 375, or the scenario of that name."""
    arrivals: Arrivals = "poisson"
    images: int = 1
    """In a request of `images`."""
    timeout_ms: int | None = None
    """Deadline in the requests of `images`."""
    bulk: float = 0.0
    """Share of `images` with bulk priority."""
    bad: float = 0.0
    """Share of invalid requests among all."""
    max_in_flight: int = 1000
    timeout_s: float = 35.0
    """How long a response may take."""
    seed: str = ""
    api_key: str = ""
    """Sent with every request, unless it is empty; visible in the list of processes."""

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read what `json.dumps(asdict(plan))` wrote."""
        document: dict[str, Any] = json.loads(text)
        document["phases"] = tuple((seconds, rate) for seconds, rate in document["phases"])
        return cls(**document)


@dataclass(frozen=True)
class RequestResult:
    """A request and its outcome; times by `time.perf_counter`, which all processes share."""

    phase: int
    name: str
    images: int
    outcome: Outcome
    status: int
    """Of HTTP; 0 without a response."""
    retry_after_s: int
    """0 without that header."""
    due: float
    sent: float | None
    """None where it was not sent."""
    ended: float

    @property
    def seconds(self) -> float:
        """Return the latency from when the request was due."""
        return self.ended - self.due


@dataclass(frozen=True)
class Span:
    """A span of time, and the CPU time that the load took in it."""

    start: float
    end: float
    cpu_s: float

    @property
    def seconds(self) -> float:
        """Return its length."""
        return self.end - self.start

    def holds(self, moment: float) -> bool:
        """Return whether a moment lies in it."""
        return self.start <= moment < self.end


class OpenLoop:
    """Run a plan from entering the block to its end, or to leaving the block."""

    def __init__(self, plan: Plan) -> None:
        self.results: list[RequestResult] = []
        """Requests that have ended; extended every second."""
        self.spans: list[Span] = []
        """The phases that are over."""
        self.began = 0.0
        self._plan = plan

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.load.open_loop_process", json.dumps(asdict(self._plan))]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._ready = threading.Event()
        self._reader.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the plan is done, or for a number of seconds; return whether it is done.

        Raises:
            SystemExit: The process failed.
        """
        self._reader.join(seconds)
        if self._reader.is_alive():
            return False
        if self._process.wait():
            raise SystemExit("the load generator failed; its output above says why")
        return True

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            if "began" in event:
                self.began = event["began"]
                self._ready.set()
            self.results += [RequestResult(*row) for row in event.get("results", ())]
            if "span" in event:
                self.spans.append(Span(*event["span"]))
        self._ready.set()
