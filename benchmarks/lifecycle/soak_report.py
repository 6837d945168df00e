"""The results of a soak, and its tables, files and chart."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.load.open_loop import BAD, RequestResult, Span
from benchmarks.measuring.summary import percentile
from benchmarks.servers.sampler import ROLES, Sample, during
from loadtest.load.requests import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SETTLED_S, _MEASURED_S = 300.0, 120.0
"""Memory is measured after the first, and at the end, each for the second; in a short run both are a sixth of it."""

_SIXTH = 1 / 6

_OUTCOMES: tuple[Outcome, ...] = ("good", "refused", "failed", "not_sent")

_COLORS = {"supervisor": "#888888", "edge": "#2166ac", "runner": "#1b7837"}


@dataclass(frozen=True)
class Swap:
    """A swap of versions."""

    at: float
    seconds: float
    status: int
    text: str
    """The error, if any."""


@dataclass
class Soak:
    """The results."""

    span: Span
    results: Sequence[RequestResult]
    samples: Sequence[Sample]
    swaps: list[Swap] = field(default_factory=list)

    @property
    def early(self) -> Span:
        """Return the span of the first measurement of memory."""
        start = self.span.start + min(_SETTLED_S, self.span.seconds * _SIXTH)
        return Span(start, start + self._measured_s, 0.0)

    @property
    def late(self) -> Span:
        """Return the span of the last measurement of memory."""
        return Span(self.span.end - self._measured_s, self.span.end, 0.0)

    @property
    def _measured_s(self) -> float:
        return min(_MEASURED_S, self.span.seconds * _SIXTH)

    def first(self) -> Span:
        """Return the first five minutes, or the first half."""
        return Span(self.span.start, self.span.start + min(_SETTLED_S, self.span.seconds / 2), 0.0)

    def last(self) -> Span:
        """Return the last five minutes, or the second half."""
        return Span(self.span.end - min(_SETTLED_S, self.span.seconds / 2), self.span.end, 0.0)

    def minutes(self) -> list[Span]:
        """Return the minutes, the last of which may be shorter."""
        starts = [self.span.start + 60 * number for number in range(int(self.span.seconds // 60) + 1)]
        spans = [Span(start, min(start + 60, self.span.end), 0.0) for start in starts]
        return [span for span in spans if span.seconds > 1]

    def asked(self, span: Span) -> list[RequestResult]:
        """Return the requests that were due in a span, except for the invalid ones."""
        return [one for one in self.results if span.holds(one.due) and not one.name.startswith(BAD)]

    def median_of(self, role: str, span: Span, figure: Callable[[Sample], float]) -> float:
        """Return the median of a figure of a role in a span; NaN without samples."""
        return median([figure(sample) for sample in during(self.samples, role, span)] or [float("nan")])

    def processes(self, role: str) -> int:
        """Return how many processes a role has had in all."""
        return len({pid for sample in self.samples if sample.role == role for pid in sample.pids})


def print_tables(soak: Soak) -> None:
    """Print the tables."""
    print(
        f"Memory: medians of {soak.early.seconds:.0f} s after {soak.early.start - soak.span.start:.0f} s, "
        f"and of the last {soak.late.seconds:.0f} s"
    )
    rows: list[tuple[str, Callable[[str], str]]] = [
        (
            "private memory at first, MiB",
            lambda role: f"{soak.median_of(role, soak.early, lambda one: one.private_mib):.1f}",
        ),
        ("at the end", lambda role: f"{soak.median_of(role, soak.late, lambda one: one.private_mib):.1f}"),
        ("**growth** (goal: ≤ 2 %)", lambda role: f"**{100 * growth(soak, role):+.1f} %**"),
        (
            "at most",
            lambda role: f"{max((one.private_mib for one in soak.samples if one.role == role), default=0):.1f}",
        ),
        ("resident at the end, MiB", lambda role: f"{soak.median_of(role, soak.late, lambda one: one.rss_mib):.1f}"),
        ("descriptors, at first → at the end", lambda role: first_and_last(soak, role, lambda one: one.descriptors)),
        ("threads, at first → at the end", lambda role: first_and_last(soak, role, lambda one: one.threads)),
        ("processes it has had", lambda role: str(soak.processes(role))),
    ]
    print(f"\n| | {' | '.join(ROLES)} |\n|---|{'---|' * len(ROLES)}")
    for text, cell in rows:
        print(f"| {text} | {' | '.join(map(cell, ROLES))} |")
    print("\n| | asked | good | refused | failed | not sent | p50 ms | p99 ms | p99 ms of single images |")
    print("|---|---|---|---|---|---|---|---|---|")
    for text, span in (("first", soak.first()), ("last", soak.last())):
        asked = soak.asked(span)
        single = [one for one in asked if one.name == "single"]
        cells = [
            str(len(asked)),
            *(str(count(asked, outcome)) for outcome in _OUTCOMES),
        ]
        cells += [f"{good_ms(asked, 0.5):.1f}", f"{good_ms(asked, 0.99):.1f}", f"{good_ms(single, 0.99):.1f}"]
        print(f"| {text} {span.seconds / 60:.1f} min | {' | '.join(cells)} |")
    bad = [one for one in soak.results if one.name.startswith(BAD)]
    kinds = sorted({one.name for one in bad})
    told = [
        f"{kind.removeprefix(BAD)} {count((one for one in bad if one.name == kind), 'good')} of "
        f"{sum(one.name == kind for one in bad)}"
        for kind in kinds
    ]
    print(f"\nInvalid requests, rejected as expected: {', '.join(told) or 'none were sent'}")
    taken = [swap.seconds for swap in soak.swaps]
    wrong = [swap.text for swap in soak.swaps if swap.status != 200]
    longest = f", {median(taken):.1f} s each, {max(taken):.1f} s at most" if taken else ""
    print(f"Swaps: {len(taken)}{longest}; {len(wrong)} went wrong{': ' + wrong[0] if wrong else ''}")


def growth(soak: Soak, role: str) -> float:
    """Return the relative growth of the memory of a role."""
    first, last = (soak.median_of(role, span, lambda one: one.private_mib) for span in (soak.early, soak.late))
    return last / first - 1


def first_and_last(soak: Soak, role: str, figure: Callable[[Sample], float]) -> str:
    """Return a figure of a role at first and at the end."""
    return " → ".join(f"{soak.median_of(role, span, figure):.0f}" for span in (soak.early, soak.late))


def count(results: Iterable[RequestResult], outcome: Outcome) -> int:
    """Return how many requests had an outcome."""
    return sum(one.outcome == outcome for one in results)


def good_ms(results: Iterable[RequestResult], share: float) -> float:
    """Return a percentile of the latency of good responses from when they were due, in ms."""
    return 1000 * percentile([one.seconds for one in results if one.outcome == "good"], share)


def write_samples(soak: Soak, path: Path) -> None:
    """Write the samples of the processes."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seconds", "role", "private_mib", "pss_mib", "rss_mib", "descriptors", "threads", "cpu_s"])
        for one in soak.samples:
            figures = (
                f"{one.private_mib:.2f}",
                f"{one.pss_mib:.2f}",
                f"{one.rss_mib:.2f}",
                one.descriptors,
                one.threads,
                f"{one.cpu_s:.2f}",
            )
            writer.writerow([f"{one.at - soak.span.start:.1f}", one.role, *figures])


def write_minutes(soak: Soak, path: Path) -> None:
    """Write the results of the requests by minute."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["minute", "asked", "good", "refused", "failed", "not_sent", "p50_ms", "p99_ms", "swaps"])
        for number, span in enumerate(soak.minutes()):
            asked = soak.asked(span)
            counts = [count(asked, outcome) for outcome in _OUTCOMES]
            latency = [f"{good_ms(asked, share):.2f}" for share in (0.5, 0.99)]
            swaps = sum(span.holds(swap.at) for swap in soak.swaps)
            writer.writerow([number, len(asked), *counts, *latency, swaps])


def plot(soak: Soak, path: Path) -> None:
    """Draw memory, descriptors and latency over time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 8.0), layout="constrained")
    FigureCanvasAgg(figure)
    memory, descriptors, latency = figure.subplots(3, 1, sharex=True)
    for role in ROLES:
        samples = [one for one in soak.samples if one.role == role]
        times = [(one.at - soak.span.start) / 60 for one in samples]
        memory.plot(times, [one.private_mib for one in samples], color=_COLORS[role], label=role)
        descriptors.plot(times, [one.descriptors for one in samples], color=_COLORS[role], label=role)
    minutes = soak.minutes()
    middles = [((span.start + span.end) / 2 - soak.span.start) / 60 for span in minutes]
    for share, color in ((0.5, "#4393c3"), (0.99, "#2166ac")):
        values = [good_ms(soak.asked(span), share) for span in minutes]
        latency.plot(middles, values, color=color, marker=".", label=f"p{100 * share:.0f}")
    latency.set_xlabel("minutes; grey: swaps of versions")
    for axes, label in ((memory, "memory, MiB"), (descriptors, "open descriptors"), (latency, "latency, ms")):
        _finish(axes, label, soak)
    figure.savefig(path, dpi=110)


def _finish(axes: Axes, label: str, soak: Soak) -> None:
    for swap in soak.swaps:
        axes.axvline((swap.at - soak.span.start) / 60, color="#dddddd", zorder=0)
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, color="#eeeeee")
    axes.set_axisbelow(True)
    axes.legend(loc="best", fontsize="small")
