"""Run a load test through its steps: direct the load generators and collect their statistics.

The scheduler runs beside Locust's runner, in the master or in the only process. Its messages are Locust's, which are
also delivered inside a single process, so that one process and many work alike.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import gevent  # type: ignore[import-untyped]
from locust.rpc import Message
from locust.runners import MasterRunner, Runner

from .objectives import Measured, Objectives, judge
from .options import LoadOptions
from .ramp import RampSearch
from .scenarios import Step, steps
from .sender import Phase
from .stats import LoadStats, RequestStats

READY = "load_ready"
"""From a load generator: it is ready."""
PHASE = "load_phase"
"""To it: start a phase."""
REST = "load_rest"
"""To it: send nothing more, and report when no request is in flight."""
STATS = "load_stats"
"""From it: its statistics, and whether it is at rest."""

_READY_TIMEOUT_S = 60.0
_PROGRESS_S = 10.0

KEPT_UP = 0.95
"""A step of a ramp is met only if at least this share of what was sent is answered while it lasts."""


@dataclass
class Done:
    """A step that has run, or is running."""

    step: Step
    number: int
    begun: float
    """In Unix time."""
    seconds: float = 0.0
    """Its length; 0 while it runs."""
    met: bool | None = None
    """Of a ramp: whether it met the objectives."""


class Scheduler:
    """One load test, from the first request to the last."""

    def __init__(self, runner: Runner, options: LoadOptions, objectives: Objectives | None) -> None:
        """Prepare; `start` acts.

        Args:
            runner: Locust's.
            options: Of the load test.
            objectives: Of the scenario.
        """
        self.options = options
        self.objectives = objectives
        self.stats = LoadStats()
        self.done: list[Done] = []
        self.found: float | None = None
        """Of a ramp: the highest rate so far that met the objectives."""
        self.over = False
        """Whether all steps have run."""
        self._runner = runner
        self._ready: set[str] = set()
        self._resting: set[str] = set()
        self._greenlet: Any = None

    def start(self) -> None:
        """Run the steps in a greenlet."""
        self._greenlet = gevent.spawn(self._perform)

    def stop(self) -> None:
        """End the test; a running step ends early."""
        if self._greenlet is not None:
            self._greenlet.kill()
        if self.done and not self.done[-1].seconds:
            self.done[-1].seconds = time.time() - self.done[-1].begun

    def on_ready(self, message: Message) -> None:
        """Record that a load generator is ready."""
        self._ready.add(message.node_id)

    def on_stats(self, message: Message) -> None:
        """Add the statistics of a load generator."""
        self.stats.merge(LoadStats.from_wire(message.data["stats"]))
        if message.data["resting"]:
            self._resting.add(message.node_id)

    @property
    def workers(self) -> list[str]:
        """Return the ids of the load generators."""
        if not isinstance(self._runner, MasterRunner):
            return ["local"]
        clients = self._runner.clients
        return sorted(client.id for client in (*clients.ready, *clients.spawning, *clients.running))

    def measure(self, done: Iterable[Done]) -> Measured:
        """Return the results of some steps together."""
        taken = list(done)
        entries = (entry for one in taken for entry in self.stats.phases.get(one.number, {}).values())
        return Measured.of(RequestStats.total(entries), sum(one.seconds for one in taken))

    def counted(self) -> list[Done]:
        """Return the steps of the verdict: all that count; of a ramp the highest one met, or the last."""
        counted = [one for one in self.done if one.step.counted and one.seconds]
        if self.options.scenario != "ramp":
            return counted
        held = [one for one in counted if one.met]
        return [max(held, key=lambda one: one.step.rate)] if held else counted[-1:]

    def _perform(self) -> None:
        self._wait_for(self._ready, _READY_TIMEOUT_S)
        options = self.options
        if options.scenario == "ramp":
            self._ramp()
        else:
            for step in steps(options.scenario, options.requests_a_second, options.seconds, options.warm_up):
                self._take(step)
            self._settle()
        self.over = True

    def _ramp(self) -> None:
        options, search = self.options, RampSearch(self.options.requests_a_second)
        self.found = 0.0
        while (rate := search.rate) is not None:
            self._take(Step("warm-up", options.warm_up, rate, counted=False))
            done = self._take(Step(f"{rate:.1f} a second", options.seconds, rate))
            self._settle()
            done.met = self._holds(done)
            search.record(done.met)
            self.found = search.found
            say(f"{done.step.name}: {describe(self.measure([done]))}: {'met' if done.met else 'missed'}")

    def _holds(self, done: Done) -> bool:
        """Return whether a step of a ramp met the objectives of latency and errors, and kept up with the rate."""
        measured = self.measure([done])
        entries = self.stats.phases.get(done.number, {}).values()
        meanwhile = sum(entry.images_meanwhile for entry in entries)
        asked = sum(entry.images * entry.asked / entry.good for entry in entries if entry.good)
        objectives = (self.objectives or Objectives()).model_copy(update={"min_images_per_second": None})
        met = all(verdict.met for verdict in judge(objectives, measured))
        return met and measured.good > 0 and meanwhile >= KEPT_UP * asked

    def _take(self, step: Step) -> Done:
        """Run a step to its end."""
        done = Done(step, len(self.done) + 1, time.time())
        if self.done and not self.done[-1].seconds:
            self.done[-1].seconds = done.begun - self.done[-1].begun
        self.done.append(done)
        workers = self.workers
        for part, worker in enumerate(workers):
            phase = Phase(done.number, step.seconds, step.rate, part, len(workers), step.counted)
            self._runner.send_message(PHASE, asdict(phase), client_id=worker)
        until = done.begun + step.seconds
        while (left := until - time.time()) > 0:
            gevent.sleep(min(left, _PROGRESS_S))
            if until - time.time() > 1:
                say(f"{step.name}, {time.time() - done.begun:.0f} of {step.seconds:.0f} s: {self._lately()}")
        done.seconds = time.time() - done.begun
        return done

    def _lately(self) -> str:
        """Describe the results of the last seconds."""
        now = int(time.time())
        recent = [entry for second, entry in self.stats.seconds.items() if now - _PROGRESS_S <= second + 1 <= now]
        total = RequestStats.total(recent)
        total.images_meanwhile = total.images
        return describe(Measured.of(total, max(len(recent), 1)))

    def _settle(self) -> None:
        """Bring all load generators to rest and collect their last statistics."""
        self._resting.clear()
        for worker in self.workers:
            self._runner.send_message(REST, {}, client_id=worker)
        self._wait_for(self._resting, self.options.answer_timeout + 5)

    def _wait_for(self, reported: set[str], timeout_s: float) -> None:
        until = time.monotonic() + timeout_s
        while not (workers := self.workers) or not reported.issuperset(workers):
            if time.monotonic() > until:
                missing = ", ".join(set(workers) - reported) or "any worker"
                say(f"no message from {missing} in {timeout_s:.0f} s; going on")
                return
            gevent.sleep(0.02)


def describe(measured: Measured) -> str:
    """Return the results in a line."""
    errors = measured.asked - measured.good
    return (
        f"{measured.images_per_second:.1f} images/s, p50 {measured.p50_ms:.0f} ms, p99 {measured.p99_ms:.0f} ms, "
        f"{errors} of {measured.asked} requests without a good response"
    )


def say(text: str) -> None:
    """Print progress to stderr."""
    print(text, file=sys.stderr, flush=True)
