"""An overload («storm»), and the figures of its results."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.load.closed_loop import Report
from benchmarks.load.open_loop import RequestResult, Span
from benchmarks.measuring.interference import Interference
from benchmarks.measuring.summary import percentile
from benchmarks.servers.sampler import Sample, cores, during
from engines.cpus import available_cpus
from loadtest.load.arrivals import Arrivals

BEFORE, STORM, AFTER = 0, 1, 2
"""The phases of the load: calm, storm, calm again."""

_SETTLE_S = 1.0
"""The first seconds of the calm before do not count."""

_LATE_SHARE = 0.1
"""Share of the deadline by which a request may be late and still count as sent in time."""

_WINDOW_S, _STEP_S = 0.5, 0.1
"""Length and distance of the windows in which the latency after a storm is measured."""

_CALM_AGAIN = 1.5
"""Multiple of the 99th percentile before the storm, at which the service counts as recovered."""


@dataclass(frozen=True)
class Options:
    """The options of the command."""

    model: str
    precision: str
    rounds: int
    seconds: float
    factor: float
    deadline_ms: int
    images: int
    clients: int
    peak_seconds: float
    arrivals: Arrivals
    bulk: float
    apart: bool


@dataclass(frozen=True)
class Storm:
    """A peak, and the results of the overload after it."""

    options: Options
    peak: Report
    peak_cpu_s: float
    """CPU time that edge and runner took for all responses of the peak."""
    results: Sequence[RequestResult]
    spans: Sequence[Span]
    samples: Sequence[Sample]
    reasons: Counter[str]
    """Rejections and failures by reason, as the service counts them."""
    interference: Interference

    @property
    def span(self) -> Span:
        """Return the span of the storm."""
        return self.spans[STORM]

    @property
    def deadline_s(self) -> float:
        """Return the deadline of its requests."""
        return float(self.options.deadline_ms) / 1000

    @property
    def peak_images(self) -> float:
        """Return the images a second of the closed loop."""
        return self.peak.rate * float(self.options.images)

    def due(self, phase: int = STORM, name: str | None = None) -> list[RequestResult]:
        """Return the requests that were due in a phase, of one priority or of both."""
        return [one for one in self.results if one.phase == phase and name in (None, one.name)]

    def sent(self, name: str | None = None) -> list[RequestResult]:
        """Return the requests of the storm that were sent in time."""
        latest = _LATE_SHARE * self.deadline_s
        return [one for one in self.due(name=name) if one.sent is not None and one.sent - one.due <= latest]

    def in_time(self, one: RequestResult) -> bool:
        """Return whether a response is good and came within the deadline."""
        return one.outcome == "good" and one.seconds <= self.deadline_s

    def late(self, one: RequestResult) -> bool:
        """Return whether the deadline passed before the response, or the response says so."""
        return one.status == 504 or (one.outcome == "good" and not self.in_time(one))

    def goodput(self, name: str | None = None) -> float:
        """Return the images a second in good responses within the deadline while the storm lasted."""
        answered = [one for one in self.results if self.in_time(one) and self.span.holds(one.ended)]
        return sum(one.images for one in answered if name in (None, one.name)) / self.span.seconds

    def left_by_load(self) -> float:
        """Return the goodput over what the peak would be with as many cores as the load of the storm left."""
        if self.options.apart:
            return self.goodput() / self.peak_images
        count = available_cpus()
        left = (count - self.load_cores()) / (count - self.peak.cpu_s / self.peak.seconds)
        return self.goodput() / (self.peak_images * left)

    def cpu_ms_at_peak(self) -> float:
        """Return the CPU time that edge and runner took for an image at the peak, in ms."""
        return 1000 * self.peak_cpu_s / (self.peak.requests * float(self.options.images))

    def cpu_ms(self) -> float:
        """Return what they took in the storm for an image answered in time, all rejections included, in ms."""
        return 1000 * sum(cores(self.samples, role, self.span) for role in ("edge", "runner")) / self.goodput()

    def load_cores(self) -> float:
        """Return how many cores the load generator took in the storm."""
        return self.span.cpu_s / self.span.seconds

    def share(self, which: Callable[[RequestResult], bool], name: str | None = None) -> float:
        """Return the share of the requests sent in time for which `which` is true."""
        sent = self.sent(name)
        return sum(map(which, sent)) / len(sent) if sent else math.nan

    def count(self, which: Callable[[RequestResult], bool]) -> int:
        """Return the number of requests due in the storm for which `which` is true."""
        return sum(map(which, self.due()))

    def refusals(self) -> list[RequestResult]:
        """Return the rejected requests among those sent in time."""
        return [one for one in self.sent() if one.outcome == "refused"]

    def memory_mib(self, role: str) -> float:
        """Return the maximum memory of a role in the storm."""
        return max((sample.pss_mib for sample in during(self.samples, role, self.span)), default=math.nan)

    def calm_p99_s(self) -> float:
        """Return the 99th percentile before the storm."""
        begun = self.spans[BEFORE].start + _SETTLE_S
        return percentile([one.seconds for one in self.due(BEFORE) if one.due > begun and one.outcome == "good"], 0.99)

    def recovery_s(self) -> float:
        """Return how long after the storm the latency was back to that before it, in seconds.

        This is the first window of half a second whose 99th percentile is at most one and a half times that before the
        storm; requests without a good response count as infinite. Infinity where there is no such window.
        """
        limit_s, after = _CALM_AGAIN * self.calm_p99_s(), self.spans[AFTER]
        taken = [(one.due, one.seconds if one.outcome == "good" else math.inf) for one in self.due(AFTER)]
        for step in range(int((after.seconds - _WINDOW_S) / _STEP_S) + 1):
            start = after.start + step * _STEP_S
            window = [seconds for due, seconds in taken if start <= due < start + _WINDOW_S]
            if window and percentile(window, 0.99) <= limit_s:
                return step * _STEP_S
        return math.inf


def failed(one: RequestResult) -> bool:
    """Return whether a response is neither good nor a rejection."""
    return one.outcome == "failed" and one.status not in (0, 504)


def lost(one: RequestResult) -> bool:
    """Return whether there is no response."""
    return one.outcome == "failed" and one.status == 0


def since_sent_ms(results: Iterable[RequestResult], share: float) -> float:
    """Return a percentile of the latency from when requests were sent, in ms."""
    return 1000 * percentile([one.ended - one.sent for one in results if one.sent is not None], share)


def since_due_ms(results: Iterable[RequestResult], share: float) -> float:
    """Return a percentile of the latency from when requests were due, in ms."""
    return 1000 * percentile([one.seconds for one in results], share)


def answered_p99_ms(storm: Storm, name: str | None = None) -> float:
    """Return the 99th percentile of good responses, in time or not."""
    return since_due_ms((one for one in storm.sent(name) if one.outcome == "good"), 0.99)
