"""Statistics by phase and kind of request, and by second; those of several processes add up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .histogram import Histogram
from .requests import Outcome

_MAX_ERRORS = 50
"""Different error texts that are kept; further ones count as «other»."""


@dataclass
class RequestStats:
    """Statistics of requests."""

    good: int = 0
    refused: int = 0
    failed: int = 0
    not_sent: int = 0
    images: int = 0
    """In good responses, at whatever time."""
    images_meanwhile: int = 0
    """In good responses while the phase lasted, whenever they were sent: the throughput."""
    latency: Histogram = field(default_factory=Histogram)
    """Of the good responses; in an open loop from when the request was due."""
    lag: Histogram = field(default_factory=Histogram)
    """How much later than due each request was sent: the delay of the load generator."""

    @property
    def asked(self) -> int:
        """Return the number of requests."""
        return self.good + self.refused + self.failed + self.not_sent

    def count(self, outcome: Outcome) -> None:
        """Count a request."""
        setattr(self, outcome, getattr(self, outcome) + 1)

    def merge(self, other: RequestStats) -> None:
        """Add other statistics."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latency.merge(other.latency)
        self.lag.merge(other.lag)

    def to_wire(self) -> dict[str, Any]:
        """Return plain values for a message."""
        numbers: dict[str, Any] = {name: getattr(self, name) for name in _NUMBERS}
        return {**numbers, "latency": self.latency.counts, "lag": self.lag.counts}

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> RequestStats:
        """Convert what `to_wire` returned."""
        return cls(**{**wire, "latency": Histogram(wire["latency"]), "lag": Histogram(wire["lag"])})

    @classmethod
    def total(cls, entries: Iterable[RequestStats]) -> RequestStats:
        """Return the sum."""
        total = cls()
        for entry in entries:
            total.merge(entry)
        return total


_NUMBERS = ("good", "refused", "failed", "not_sent", "images", "images_meanwhile")


class LoadStats:
    """All statistics of a run, or an increment of them."""

    def __init__(self) -> None:
        self.phases: dict[int, dict[str, RequestStats]] = {}
        """By the number of the phase in which a request was due, then by the name of the request."""
        self.seconds: dict[int, RequestStats] = {}
        """By the second, of Unix time, in which a request ended; includes the warm-up."""
        self.errors: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        """Good responses by the version of the model."""
        self.cpu_s = 0.0
        """CPU time of the load generators, in seconds."""

    def of(self, phase: int, name: str) -> RequestStats:
        """Return the statistics of a phase and a kind of request."""
        names = self.phases.setdefault(phase, {})
        return names.setdefault(name, RequestStats())

    def at(self, second: float) -> RequestStats:
        """Return the statistics of a second."""
        return self.seconds.setdefault(math.floor(second), RequestStats())

    def error(self, text: str) -> None:
        """Count an error."""
        self.errors[text if text in self.errors or len(self.errors) < _MAX_ERRORS else "other"] += 1

    def merge(self, other: LoadStats) -> None:
        """Add other statistics."""
        for phase, names in other.phases.items():
            for name, entry in names.items():
                self.of(phase, name).merge(entry)
        for second, entry in other.seconds.items():
            self.at(second).merge(entry)
        self.errors += other.errors
        self.versions += other.versions
        self.cpu_s += other.cpu_s

    def to_wire(self) -> dict[str, Any]:
        """Return plain values for a message."""
        return {
            "phases": {
                phase: {name: entry.to_wire() for name, entry in names.items()} for phase, names in self.phases.items()
            },
            "seconds": {second: entry.to_wire() for second, entry in self.seconds.items()},
            "errors": dict(self.errors),
            "versions": dict(self.versions),
            "cpu_s": self.cpu_s,
        }

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> LoadStats:
        """Convert what `to_wire` returned."""
        stats = cls()
        for phase, names in wire["phases"].items():
            stats.phases[phase] = {name: RequestStats.from_wire(entry) for name, entry in names.items()}
        stats.seconds = {second: RequestStats.from_wire(entry) for second, entry in wire["seconds"].items()}
        stats.errors = Counter(wire["errors"])
        stats.versions = Counter(wire["versions"])
        stats.cpu_s = wire["cpu_s"]
        return stats
