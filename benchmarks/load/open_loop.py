"""An open loop that runs in a process of its own while something else is looked at."""

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
"""What the questions of `pictures` are called, by their priority."""

BAD = "bad: "
"""What the names of questions that must be refused begin with."""


@dataclass(frozen=True)
class Plan:
    """What is asked."""

    url: str
    """Of the service."""
    model: str
    phases: tuple[tuple[float, float], ...]
    """One after the other without a pause: seconds, and requests a second."""
    content: Literal["pictures", "mixed"]
    """Pictures of 500 × 375, or the scenario of that name."""
    arrivals: Arrivals = "poisson"
    images: int = 1
    """In a request of `pictures`."""
    timeout_ms: int | None = None
    """The deadline that requests of `pictures` name."""
    bulk: float = 0.0
    """Share of `pictures` that are asked as bulk."""
    bad: float = 0.0
    """Share of requests beside all others that must be refused."""
    max_in_flight: int = 1000
    patience_s: float = 35.0
    """How long an answer is waited for."""
    seed: str = ""
    api_key: str = ""
    """Sent with every request, unless it is empty; stands in the list of processes."""

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read what `json.dumps(asdict(plan))` wrote."""
        document: dict[str, Any] = json.loads(text)
        document["phases"] = tuple((seconds, rate) for seconds, rate in document["phases"])
        return cls(**document)


@dataclass(frozen=True)
class Seen:
    """A request, and what became of it; times are those of `time.perf_counter`, which all processes share."""

    phase: int
    name: str
    images: int
    outcome: Outcome
    status: int
    """Of HTTP; 0 where no answer came."""
    retry_after_s: int
    """0 where nothing was said."""
    due: float
    sent: float | None
    """None where it was not sent."""
    ended: float

    @property
    def seconds(self) -> float:
        """Return how long it took from the time when it was due."""
        return self.ended - self.due


@dataclass(frozen=True)
class Span:
    """When a phase was, and what the load took meanwhile."""

    start: float
    end: float
    cpu_s: float

    @property
    def seconds(self) -> float:
        """Return how long it lasted."""
        return self.end - self.start

    def holds(self, moment: float) -> bool:
        """Tell whether a moment lies in it."""
        return self.start <= moment < self.end


class OpenLoop:
    """Runs a plan from entering the block to its end, or to leaving the block."""

    def __init__(self, plan: Plan) -> None:
        self.seen: list[Seen] = []
        """What has ended so far; grows by the second."""
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
        """Wait until the plan is done, but no longer than that; return whether it is.

        Raises:
            SystemExit: The process ended before.
        """
        self._reader.join(seconds)
        if self._reader.is_alive():
            return False
        if self._process.wait():
            raise SystemExit("the load ended early; what it wrote above says why")
        return True

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "began" in said:
                self.began = said["began"]
                self._ready.set()
            self.seen += [Seen(*row) for row in said.get("seen", ())]
            if "span" in said:
                self.spans.append(Span(*said["span"]))
        self._ready.set()
