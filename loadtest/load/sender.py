"""Asks the service, in one process: in an open loop by a schedule, or in a closed one by turns. Knows no Locust.

The open loop counts latency from the time when a request was due. When the service stalls requests go on leaving, and
those that leave late, or not at all, show it: nothing is left out because its asker was busy waiting.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import gevent  # type: ignore[import-untyped]
from gevent.event import Event  # type: ignore[import-untyped]

from .arrivals import Arrivals, schedule
from .client import Client, NoAnswerError, Reply
from .requests import Mix, Outcome, Question
from .stats import Ledger


@dataclass(frozen=True)
class Asked:
    """A request, and what became of it; times are those of `time.perf_counter`."""

    phase: int
    """The number of the phase in which it was due."""
    question: Question
    outcome: Outcome
    error: str
    """What was wrong; empty where nothing was."""
    due: float
    sent: float | None
    """None where it was not sent."""
    ended: float
    reply: Reply | None
    """None where there is none."""

    @property
    def ms(self) -> float | None:
        """Return the latency from the time when it was due, in ms; None where it was not sent."""
        return None if self.sent is None else 1000 * (self.ended - self.due)


Observe = Callable[[Asked], None]
"""Is told of each request."""


@dataclass(frozen=True)
class Phase:
    """A time in which the load stays the same, as one of the processes that make it sees it."""

    number: int
    seconds: float
    rate: float
    """Requests a second of all processes together; 0 in a closed loop."""
    part: int
    """The number of this process."""
    parts: int
    """How many processes there are."""
    counted: bool = True
    """Whether its errors are told; those of a warm-up are not."""


@dataclass
class _Running:
    phase: Phase
    started: float = field(default_factory=time.perf_counter)
    over: Event = field(default_factory=Event)


class Sender:
    """Sends the questions of a mix and counts what comes of them."""

    def __init__(
        self, client: Client, mix: Mix, arrivals: Arrivals, *, max_in_flight: int, seed: str, observe: Observe
    ) -> None:
        """Begin, at rest.

        Args:
            client: Sends them.
            mix: Is drawn from.
            arrivals: How requests of an open loop are spread.
            max_in_flight: How many may be under way at once in an open loop, of all processes together.
            seed: Of the times and of the draw.
            observe: Is told of each request.
        """
        self.in_flight = 0
        self._sending = False
        self._client = client
        self._arrivals = arrivals
        self._max_in_flight = max_in_flight
        self._seed = seed
        self._observe = observe
        self._questions: Iterator[Question] = mix.draw(random.Random(seed))
        self._ledger = Ledger()
        self._cpu_s = time.process_time()
        self._running: _Running | None = None
        self._begun = Event()

    def begin(self, phase: Phase) -> None:
        """Go over to a phase at once."""
        self.rest()
        self._running = _Running(phase)
        self._begun.set()

    def rest(self) -> None:
        """Send nothing more; what is under way goes on."""
        self._begun.clear()
        if self._running is not None:
            self._running.over.set()
            self._running = None

    def drain(self, timeout_s: float) -> None:
        """Wait until nothing is under way any more, nor overdue."""
        until = time.perf_counter() + timeout_s
        while (self.in_flight or self._sending) and time.perf_counter() < until:
            gevent.sleep(0.01)

    def take(self) -> Ledger:
        """Return what was counted since the last time."""
        taken, self._ledger = self._ledger, Ledger()
        cpu_s = time.process_time()
        taken.cpu_s, self._cpu_s = cpu_s - self._cpu_s, cpu_s
        return taken

    def send_by_schedule(self) -> None:
        """Send what the present phase asks for, each request when it is due; return when another phase begins.

        What is overdue when the phase ends is sent all the same: else a generator that falls behind would hide it.
        """
        running = self._present()
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
                gevent.sleep(0)  # What is under way goes on, too.
            elif running.over.wait(early) and time.perf_counter() < due:
                return
            question = next(self._questions)
            if self.in_flight < limit:
                self.in_flight += 1
                gevent.spawn(self._ask, running, question, due)
            else:
                error, now = f"not sent: {self._max_in_flight} under way", time.perf_counter()
                self._count(running, Asked(phase.number, question, "not_sent", error, due, None, now, None))

    def send_in_turn(self) -> None:
        """Send one request and wait for its answer; one that was refused, or got none, waits as long as it was told."""
        running = self._present()
        self.in_flight += 1
        pause_s = self._ask(running, next(self._questions), time.perf_counter())
        if pause_s:
            running.over.wait(pause_s)

    def _present(self) -> _Running:
        while self._running is None:
            self._begun.wait()
        return self._running

    def _ask(self, running: _Running, question: Question, due: float) -> float:
        """Ask, count, and return how long a polite client waits before it asks again, in seconds."""
        sent = time.perf_counter()
        reply: Reply | None = None
        outcome: Outcome
        try:
            reply = self._client.ask(question)
            outcome, error = question.check(reply.status, reply.version, reply.body)
        except NoAnswerError as failure:
            outcome, error = "failed", str(failure)
        finally:
            self.in_flight -= 1
        asked = Asked(running.phase.number, question, outcome, error, due, sent, time.perf_counter(), reply)
        self._ledger.of(asked.phase, question.name).lag.add(1000 * (sent - due))
        self._count(running, asked)
        if reply is None:
            return 1.0
        return reply.retry_after_s if outcome == "refused" else 0.0

    def _count(self, running: _Running, asked: Asked) -> None:
        question, outcome, ms = asked.question, asked.outcome, asked.ms
        tally = self._ledger.of(asked.phase, question.name)
        second = self._ledger.at(time.time())
        tally.count(outcome)
        second.count(outcome)
        if outcome == "good" and ms is not None:
            for counted in (tally, second):
                counted.images += question.images
                counted.latency.add(ms)
            if asked.reply and asked.reply.version:
                self._ledger.versions[asked.reply.version.decode()] += 1
            if self._running is not None:
                self._ledger.of(self._running.phase.number, question.name).images_meanwhile += question.images
        elif running.phase.counted:
            self._ledger.error(asked.error)
        self._observe(asked)
