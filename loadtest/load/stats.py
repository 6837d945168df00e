"""What was counted: by phase and kind of request, and second by second. Ledgers of several processes add up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .histogram import Histogram
from .requests import Outcome

_MAX_ERRORS = 50
"""Different texts of errors that are kept; what comes after is counted as «other»."""


@dataclass
class Tally:
    """Counts of requests, by how they ended."""

    good: int = 0
    refused: int = 0
    failed: int = 0
    not_sent: int = 0
    images: int = 0
    """That were answered, at whatever time."""
    images_meanwhile: int = 0
    """That were answered while the phase lasted, whenever they were asked: what throughput is."""
    latency: Histogram = field(default_factory=Histogram)
    """Of the good answers; in an open loop from the time when the request was due."""
    lag: Histogram = field(default_factory=Histogram)
    """How much later than it was due each request left: the generator's own delay."""

    @property
    def asked(self) -> int:
        """Return how many requests there were."""
        return self.good + self.refused + self.failed + self.not_sent

    def count(self, outcome: Outcome) -> None:
        """Count a request."""
        setattr(self, outcome, getattr(self, outcome) + 1)

    def merge(self, other: Tally) -> None:
        """Add another one."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latency.merge(other.latency)
        self.lag.merge(other.lag)

    def to_wire(self) -> dict[str, Any]:
        """Return it as plain values, for a message."""
        numbers: dict[str, Any] = {name: getattr(self, name) for name in _NUMBERS}
        return {**numbers, "latency": self.latency.counts, "lag": self.lag.counts}

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Tally:
        """Read what `to_wire` returned."""
        return cls(**{**wire, "latency": Histogram(wire["latency"]), "lag": Histogram(wire["lag"])})

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """Return the sum."""
        total = cls()
        for tally in tallies:
            total.merge(tally)
        return total


_NUMBERS = ("good", "refused", "failed", "not_sent", "images", "images_meanwhile")


class Ledger:
    """All counts of a run, or those that are to be added to it."""

    def __init__(self) -> None:
        self.phases: dict[int, dict[str, Tally]] = {}
        """By the number of the phase in which a request was due, then by its name."""
        self.seconds: dict[int, Tally] = {}
        """By the second, of Unix time, in which a request ended; the warm-up too."""
        self.errors: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        """Good answers by the version of the model that gave them."""
        self.cpu_s = 0.0
        """CPU time of the processes that made the load, in seconds."""

    def of(self, phase: int, name: str) -> Tally:
        """Return the tally of a phase and a kind of request."""
        names = self.phases.setdefault(phase, {})
        return names.setdefault(name, Tally())

    def at(self, second: float) -> Tally:
        """Return the tally of a second."""
        return self.seconds.setdefault(math.floor(second), Tally())

    def error(self, text: str) -> None:
        """Count what went wrong."""
        self.errors[text if text in self.errors or len(self.errors) < _MAX_ERRORS else "other"] += 1

    def merge(self, other: Ledger) -> None:
        """Add another one."""
        for phase, names in other.phases.items():
            for name, tally in names.items():
                self.of(phase, name).merge(tally)
        for second, tally in other.seconds.items():
            self.at(second).merge(tally)
        self.errors += other.errors
        self.versions += other.versions
        self.cpu_s += other.cpu_s

    def to_wire(self) -> dict[str, Any]:
        """Return it as plain values, for a message."""
        return {
            "phases": {
                phase: {name: tally.to_wire() for name, tally in names.items()} for phase, names in self.phases.items()
            },
            "seconds": {second: tally.to_wire() for second, tally in self.seconds.items()},
            "errors": dict(self.errors),
            "versions": dict(self.versions),
            "cpu_s": self.cpu_s,
        }

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Ledger:
        """Read what `to_wire` returned."""
        ledger = cls()
        for phase, names in wire["phases"].items():
            ledger.phases[phase] = {name: Tally.from_wire(tally) for name, tally in names.items()}
        ledger.seconds = {second: Tally.from_wire(tally) for second, tally in wire["seconds"].items()}
        ledger.errors = Counter(wire["errors"])
        ledger.versions = Counter(wire["versions"])
        ledger.cpu_s = wire["cpu_s"]
        return ledger
