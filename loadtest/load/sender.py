"""Send requests from one process: in an open loop by a schedule, or in a closed loop. Independent of Locust.

The open loop counts latency from the time when a request was due. When the service stalls, requests are still sent, and
those that are sent late, or not at all, count: none is omitted because its client was waiting.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import gevent  # type: ignore[import-untyped]
from gevent.event import Event  # type: ignore[import-untyped]

from .arrivals import Arrivals, schedule
from .client import Client, NoResponseError, Reply
from .requests import LoadRequest, Mix, Outcome
from .stats import LoadStats


@dataclass(frozen=True)
class SentRequest:
    """A request and its outcome; times by `time.perf_counter`."""

    phase: int
    """The number of the phase in which it was due."""
    request: LoadRequest
    outcome: Outcome
    error: str
    """Empty for a good response."""
    due: float
    sent: float | None
    """None of a request that was not sent."""
    ended: float
    reply: Reply | None
    """None without a response."""

    @property
    def ms(self) -> float | None:
        """Return the latency from when it was due, in ms; None of a request that was not sent."""
        return None if self.sent is None else 1000 * (self.ended - self.due)


Observe = Callable[[SentRequest], None]
"""Called with each request."""


@dataclass(frozen=True)
class Phase:
    """A span of constant load, as seen by one of the load generators."""

    number: int
    seconds: float
    rate: float
    """Requests a second of all processes together; 0 in a closed loop."""
    part: int
    """The number of this process."""
    parts: int
    """How many processes there are."""
    counted: bool = True
    """Whether its errors are reported; those of a warm-up are not."""


@dataclass
class _Running:
    phase: Phase
    started: float = field(default_factory=time.perf_counter)
    over: Event = field(default_factory=Event)


class Sender:
    """Send the requests of a mix and count their outcomes."""

    def __init__(
        self, client: Client, mix: Mix, arrivals: Arrivals, *, max_in_flight: int, seed: str, observe: Observe
    ) -> None:
        """Prepare; nothing is sent before `begin`.

        Args:
            client: Sends the requests.
            mix: Yields the requests.
            arrivals: Distribution of the requests of an open loop.
            max_in_flight: Limit of requests in flight in an open loop, of all processes together.
            seed: Of the times and of the mix.
            observe: Called with each request.
        """
        self.in_flight = 0
        self._sending = False
        self._client = client
        self._arrivals = arrivals
        self._max_in_flight = max_in_flight
        self._seed = seed
        self._observe = observe
        self._requests: Iterator[LoadRequest] = mix.draw(random.Random(seed))
        self._stats = LoadStats()
        self._cpu_s = time.process_time()
        self._running: _Running | None = None
        self._begun = Event()

    def begin(self, phase: Phase) -> None:
        """Start a phase at once."""
        self.rest()
        self._running = _Running(phase)
        self._begun.set()

    def rest(self) -> None:
        """Send nothing more; requests in flight go on."""
        self._begun.clear()
        if self._running is not None:
            self._running.over.set()
            self._running = None

    def drain(self, timeout_s: float) -> None:
        """Wait until no request is in flight or overdue."""
        until = time.perf_counter() + timeout_s
        while (self.in_flight or self._sending) and time.perf_counter() < until:
            gevent.sleep(0.01)

    def take_stats(self) -> LoadStats:
        """Return the statistics since the last call."""
        taken, self._stats = self._stats, LoadStats()
        cpu_s = time.process_time()
        taken.cpu_s, self._cpu_s = cpu_s - self._cpu_s, cpu_s
        return taken

    def send_by_schedule(self) -> None:
        """Send the requests of the current phase when they are due; return when the next phase begins.

        Requests that are overdue at the end of the phase are sent all the same: else a slow generator would hide them.
        """
        running = self._current()
        self._sending = True
        try:
            self._send_all(running)
        finally:
            self._sending = False
        running.over.wait()

    def _send_all(self, running: _Running) -> None:
        phase = running.phase
        limit = max(1, self._max_in_flight // phase.parts)
        seed = f"{self._seed}/{phase.number}"
        for offset in schedule(
            self._arrivals, phase.rate, phase.seconds, part=phase.part, parts=phase.parts, seed=seed
        ):
            due = running.started + offset
            if (early := due - time.perf_counter()) <= 0:
                gevent.sleep(0)  # Requests in flight go on, too.
            elif running.over.wait(early) and time.perf_counter() < due:
                return
            request = next(self._requests)
            if self.in_flight < limit:
                self.in_flight += 1
                gevent.spawn(self._send, running, request, due)
            else:
                error, now = f"not sent: {self._max_in_flight} in flight", time.perf_counter()
                self._count(running, SentRequest(phase.number, request, "not_sent", error, due, None, now, None))

    def send_in_turn(self) -> None:
        """Send one request and wait for its response; pause after a refusal as it says, without a response 1 s."""
        running = self._current()
        self.in_flight += 1
        pause_s = self._send(running, next(self._requests), time.perf_counter())
        if pause_s:
            running.over.wait(pause_s)

    def _current(self) -> _Running:
        while self._running is None:
            self._begun.wait()
        return self._running

    def _send(self, running: _Running, request: LoadRequest, due: float) -> float:
        """Send, count, and return how long a polite client waits before the next request, in seconds."""
        sent = time.perf_counter()
        reply: Reply | None = None
        outcome: Outcome
        try:
            reply = self._client.send(request)
            outcome, error = request.check(reply.status, reply.version, reply.body)
        except NoResponseError as failure:
            outcome, error = "failed", str(failure)
        finally:
            self.in_flight -= 1
        done = SentRequest(running.phase.number, request, outcome, error, due, sent, time.perf_counter(), reply)
        self._stats.of(done.phase, request.name).lag.add(1000 * (sent - due))
        self._count(running, done)
        if reply is None:
            return 1.0
        return reply.retry_after_s if outcome == "refused" else 0.0

    def _count(self, running: _Running, done: SentRequest) -> None:
        request, outcome, ms = done.request, done.outcome, done.ms
        entry = self._stats.of(done.phase, request.name)
        second = self._stats.at(time.time())
        entry.count(outcome)
        second.count(outcome)
        if outcome == "good" and ms is not None:
            for counted in (entry, second):
                counted.images += request.images
                counted.latency.add(ms)
            if done.reply and done.reply.version:
                self._stats.versions[done.reply.version.decode()] += 1
            if self._running is not None:
                self._stats.of(self._running.phase.number, request.name).images_meanwhile += request.images
        elif running.phase.counted:
            self._stats.error(done.error)
        self._observe(done)
