"""The results of `python -m benchmarks compare`, and their tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from benchmarks.measuring.batch_speed import BatchSpeed
from benchmarks.measuring.interference import Interference
from benchmarks.measuring.summary import spread

BARE = "bare engine"


@dataclass(frozen=True)
class Window:
    """A competitor under load for some seconds, and the bare engine in the seconds before and after."""

    competitor: str
    clients: int
    round: int
    rate: float
    """Responses with status 200 a second."""
    p50_ms: float
    p99_ms: float
    failures: dict[str, int]
    """Responses of other statuses, or what came instead, by status."""
    cpu_ms: dict[str, float]
    """CPU time of the competitor a request, in ms, by role of the process."""
    client_cpu_ms: float
    """CPU time of the load generator a request, in ms."""
    bare: BatchSpeed
    interference: Interference
    """CPU time that other processes took in both."""

    @property
    def ratio(self) -> float:
        """Return the share of the bare engine's rate."""
        return self.rate / self.bare.rate

    @property
    def spread(self) -> float:
        """Return p99 ÷ p50."""
        return self.p99_ms / self.p50_ms


@dataclass(frozen=True)
class Start:
    """One start of a competitor, the model in the cache, and its memory after its load."""

    competitor: str
    seconds: float
    """From the start of the process to its first right response."""
    memory_mib: dict[str, float]
    """Proportional set size after the load, by role of the process."""


@dataclass
class Comparison:
    """All results."""

    facts: dict[str, str]
    """Machine, model and load."""
    settings: dict[str, str] = field(default_factory=dict)
    """The settings of each competitor, and the layout of the bare engine, in words."""
    differences: dict[str, float] = field(default_factory=dict)
    """The largest difference of a score from that of the bare engine, for each competitor."""
    windows: list[Window] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)

    def quiet(self) -> Comparison:
        """Return it without the windows with interference."""
        windows = [window for window in self.windows if not window.interference.spoils]
        return Comparison(self.facts, self.settings, self.differences, windows, self.starts)

    def cell(self, competitor: str, clients: int) -> list[Window]:
        """Return the windows of a competitor with so many clients."""
        return [window for window in self.windows if (window.competitor, window.clients) == (competitor, clients)]

    @property
    def competitors(self) -> list[str]:
        """Return the competitors in order."""
        return list(dict.fromkeys(window.competitor for window in self.windows))

    @property
    def clients(self) -> list[int]:
        """Return the numbers of clients, ascending."""
        return sorted({window.clients for window in self.windows})

    def document(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        return asdict(self)

    def markdown(self) -> str:
        """Return the tables and notes on them."""
        lines = [f"- {name}: {text}" for name, text in self.facts.items()]
        for clients in self.clients:
            lines += ["", *self._load_table(clients)]
        lines += ["", *self._start_table(), "", *self._notes()]
        return "\n".join(lines) + "\n"

    def _load_table(self, clients: int) -> list[str]:
        who = f"{clients} client{'s' if clients > 1 else ''}"
        lines = [
            f"| {who} | images/s (min–max) | ÷ bare (min–max) | p50 ms | p99 ms | p99 ÷ p50 "
            "| CPU ms a request | failed |",
            "|---|---|---|---|---|---|---|---|",
        ]
        bare = [window.bare for window in self.windows if window.clients == clients]
        cells = [
            spread([one.rate for one in bare], ".0f"),
            "1",
            f"{1000 * clients / median(r.rate for r in bare):.1f}",
        ]
        cells += ["–", "–", f"{median(one.cpu_ms for one in bare):.1f}", "–"]
        lines.append(f"| {BARE} | {' | '.join(cells)} |")
        for competitor in self.competitors:
            if rounds := self.cell(competitor, clients):
                lines.append(f"| {competitor} | {' | '.join(_load_cells(rounds))} |")
        return lines

    def _start_table(self) -> list[str]:
        lines = [
            "| | start to first response, s (min–max) | memory after the load, MiB | settings | scores differ by |",
            "|---|---|---|---|---|",
        ]
        for competitor in self.competitors:
            starts = [start for start in self.starts if start.competitor == competitor]
            cells = [
                spread([start.seconds for start in starts], ".1f"),
                _parts([start.memory_mib for start in starts], ".0f"),
                self.settings.get(competitor, "–"),
                f"{self.differences[competitor]:.1g}" if competitor in self.differences else "–",
            ]
            lines.append(f"| {competitor} | {' | '.join(cells)} |")
        return lines

    def _notes(self) -> list[str]:
        client = median(window.client_cpu_ms for window in self.windows)
        spoiled = [window for window in self.windows if window.interference.spoils]
        worst = sorted(spoiled, key=lambda window: -window.interference.others)[:3]
        lines = [
            f"The load generator took {client:.3f} ms of CPU a request on the same cores. «Bare» is decoding and "
            "engine in one process, run before and after each competitor; its p50 is the time that so many "
            "clients wait on average at that rate. Medians of the rounds.",
            "",
            f"{len(spoiled)} of {len(self.windows)} windows had interference"
            + (", the worst of them " if worst else "")
            + "; ".join(f"{one.competitor}, {one.clients} clients: {one.interference.text}" for one in worst)
            + ".",
        ]
        ways = [f"{name}: {text}" for name, text in self.settings.items() if name.startswith(BARE)]
        return [*lines, "", "; ".join(ways) + "."] if ways else lines


def _load_cells(rounds: Sequence[Window]) -> list[str]:
    def middle(value: Callable[[Window], float], form: str) -> str:
        return format(median(map(value, rounds)), form)

    return [
        spread([window.rate for window in rounds], ".0f"),
        spread([window.ratio for window in rounds], ".2f"),
        middle(lambda window: window.p50_ms, ".1f"),
        middle(lambda window: window.p99_ms, ".1f"),
        middle(lambda window: window.spread, ".2f"),
        _parts([window.cpu_ms for window in rounds], ".1f"),
        str(sum(sum(window.failures.values()) for window in rounds)),
    ]


def _parts(rows: Sequence[dict[str, float]], form: str) -> str:
    """Return the median of the sums, and behind it that of each part where there are several."""
    if not rows:
        return "–"
    whole = format(median(sum(row.values()) for row in rows), form)
    kinds = dict.fromkeys(kind for row in rows for kind in row)
    if len(kinds) < 2:
        return whole
    parts = ", ".join(f"{kind} {median(row.get(kind, 0.0) for row in rows):{form}}" for kind in kinds)
    return f"{whole} ({parts})"
