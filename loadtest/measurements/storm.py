"""A storm of requests, and the figures that come of it."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from engines.cpus import available_cpus
from loadtest.comparison.lean_client import Report
from loadtest.figures import percentile
from loadtest.intruders import Intrusion

from .open_loop import Seen, Span
from .sampler import Sample, cores, during

BEFORE, STORM, AFTER = 0, 1, 2
"""The phases of the load: calm, storm, calm again."""

_SETTLE_S = 1.0
"""So much of the calm before does not count."""

_LATE_SHARE = 0.1
"""Share of the deadline by which a request may leave late and still counts as sent in time."""

_WINDOW_S, _STEP_S = 0.5, 0.1
"""After a storm the latency is looked at in windows so long, one every so often."""

_CALM_AGAIN = 1.5
"""Multiple of the 99th percentile before the storm, at which the service counts as recovered."""


@dataclass(frozen=True)
class Storm:
    """A peak, and what was seen in the storm after it."""

    options: argparse.Namespace
    peak: Report
    peak_cpu_s: float
    """CPU time that edge and runner took for all answers of the peak."""
    seen: Sequence[Seen]
    spans: Sequence[Span]
    samples: Sequence[Sample]
    reasons: Counter[str]
    """Why the service says that it refused or failed."""
    others: Intrusion

    @property
    def span(self) -> Span:
        """Return when the storm was."""
        return self.spans[STORM]

    @property
    def deadline_s(self) -> float:
        """Return the deadline of its requests."""
        return float(self.options.deadline_ms) / 1000

    @property
    def peak_images(self) -> float:
        """Return the images a second of the closed loop."""
        return self.peak.rate * float(self.options.images)

    def due(self, phase: int = STORM, name: str | None = None) -> list[Seen]:
        """Return the requests that were due in a phase, of one priority or of both."""
        return [one for one in self.seen if one.phase == phase and name in (None, one.name)]

    def sent(self, name: str | None = None) -> list[Seen]:
        """Return those of the storm that left in time."""
        latest = _LATE_SHARE * self.deadline_s
        return [one for one in self.due(name=name) if one.sent is not None and one.sent - one.due <= latest]

    def in_time(self, one: Seen) -> bool:
        """Tell whether an answer is right, and came within the deadline."""
        return one.outcome == "good" and one.seconds <= self.deadline_s

    def late(self, one: Seen) -> bool:
        """Tell whether the deadline passed before the answer came, or was said to have."""
        return one.status == 504 or (one.outcome == "good" and not self.in_time(one))

    def goodput(self, name: str | None = None) -> float:
        """Return the images a second that were answered rightly and in time while the storm lasted."""
        answered = [one for one in self.seen if self.in_time(one) and self.span.holds(one.ended)]
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
        return 1000 * self.peak_cpu_s / (self.peak.answers * float(self.options.images))

    def cpu_ms(self) -> float:
        """Return what they took in the storm for an image that was answered in time, all refusals included, in ms."""
        return 1000 * sum(cores(self.samples, role, self.span) for role in ("edge", "runner")) / self.goodput()

    def load_cores(self) -> float:
        """Return how many cores making the storm took."""
        return self.span.cpu_s / self.span.seconds

    def share(self, which: Callable[[Seen], bool], name: str | None = None) -> float:
        """Return the share of what was sent in time that is such."""
        sent = self.sent(name)
        return sum(map(which, sent)) / len(sent) if sent else math.nan

    def count(self, which: Callable[[Seen], bool]) -> int:
        """Return how many of the requests due in the storm are such."""
        return sum(map(which, self.due()))

    def refusals(self) -> list[Seen]:
        """Return what was refused of what was sent in time."""
        return [one for one in self.sent() if one.outcome == "refused"]

    def memory_mib(self, role: str) -> float:
        """Return the most that the processes of a role had in the storm."""
        return max((sample.pss_mib for sample in during(self.samples, role, self.span)), default=math.nan)

    def calm_p99_s(self) -> float:
        """Return the 99th percentile before the storm."""
        begun = self.spans[BEFORE].start + _SETTLE_S
        return percentile([one.seconds for one in self.due(BEFORE) if one.due > begun and one.outcome == "good"], 0.99)

    def recovery_s(self) -> float:
        """Return how long after the storm the first requests were due that were answered as fast as before it.

        Half a second's worth of them, of which 99 % took no longer than one and a half times the 99th percentile
        before the storm; what was not answered counts as endless. Infinite where there were none.
        """
        limit_s, after = _CALM_AGAIN * self.calm_p99_s(), self.spans[AFTER]
        taken = [(one.due, one.seconds if one.outcome == "good" else math.inf) for one in self.due(AFTER)]
        for step in range(int((after.seconds - _WINDOW_S) / _STEP_S) + 1):
            start = after.start + step * _STEP_S
            window = [seconds for due, seconds in taken if start <= due < start + _WINDOW_S]
            if window and percentile(window, 0.99) <= limit_s:
                return step * _STEP_S
        return math.inf


def failed(one: Seen) -> bool:
    """Tell whether an answer is neither right nor a refusal."""
    return one.outcome == "failed" and one.status not in (0, 504)


def lost(one: Seen) -> bool:
    """Tell whether no answer came."""
    return one.outcome == "failed" and one.status == 0


def since_sent_ms(seen: Iterable[Seen], share: float) -> float:
    """Return what this share of requests took no longer than from when it was sent, in ms."""
    return 1000 * percentile([one.ended - one.sent for one in seen if one.sent is not None], share)


def since_due_ms(seen: Iterable[Seen], share: float) -> float:
    """Return what this share of requests took no longer than from when it was due, in ms."""
    return 1000 * percentile([one.seconds for one in seen], share)


def answered_p99_ms(storm: Storm, name: str | None = None) -> float:
    """Return the 99th percentile of what was answered, whether in time or not."""
    return since_due_ms((one for one in storm.sent(name) if one.outcome == "good"), 0.99)
