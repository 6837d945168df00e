"""The report of a load test: the verdict on stdout, and a folder with figures and charts."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .objectives import Measured, Verdict, judge
from .plot import plot_course, plot_ramp
from .scheduler import Scheduler
from .stats import RequestStats

_LATE_MS = 5.0
_LATE_SHARE = 0.25
"""Requests sent later than both, in ms and as a share of the latency (p99), show that the generator is too slow."""


def write_report(scheduler: Scheduler, host: str, folder: Path) -> bool:
    """Print the verdict, write `summary.json` and `load.png`, and return whether all objectives were met.

    Args:
        scheduler: Of the test that has ended.
        host: Address of the service.
        folder: Where to write; it is made.
    """
    counted = scheduler.counted()
    measured = scheduler.measure(counted)
    verdicts = _verdicts(scheduler, measured)
    met = measured.good > 0 and scheduler.found != 0 and all(verdict.met for verdict in verdicts)
    summary = {
        "scenario": scheduler.options.scenario,
        "host": host,
        "whole": scheduler.over,
        "met": met,
        "options": scheduler.options.model_dump(),
        "measured": asdict(measured),
        "found_rate": scheduler.found,
        "objectives": [{**asdict(verdict), "met": verdict.met} for verdict in verdicts],
        "requests": {name: asdict(one) for name, one in _by_name(scheduler).items()},
        "steps": [
            {
                "name": done.step.name,
                "rate": done.step.rate,
                "counted": done.step.counted,
                "met": done.met,
                "begun": done.begun,
                **asdict(scheduler.measure([done])),
            }
            for done in scheduler.done
        ],
        "errors": dict(scheduler.stats.errors),
        "versions": dict(scheduler.stats.versions),
        "generator_cpus": _cpus(scheduler),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(_without_nan(summary), indent=2, ensure_ascii=False) + "\n")
    if scheduler.options.scenario == "ramp":
        plot_ramp(scheduler, folder / "load.png")
    else:
        plot_course(scheduler, folder / "load.png")
    print("\n".join(_text(scheduler, measured, verdicts, met)))
    print(f"\nReport: {folder}", flush=True)
    return met


def _verdicts(scheduler: Scheduler, measured: Measured) -> list[Verdict]:
    if scheduler.objectives is None:
        return []
    parts = scheduler.counted()
    drift = None
    if scheduler.options.scenario == "soak" and len(parts) > 1:
        drift = scheduler.measure(parts[:1]), scheduler.measure(parts[-1:])
    objectives = scheduler.objectives
    if not scheduler.options.closed and scheduler.options.scenario != "ramp":
        objectives = objectives.model_copy(update={"min_images_per_second": None})  # The rate is that of the schedule.
    return judge(objectives, measured, drift)


def _by_name(scheduler: Scheduler) -> dict[str, Measured]:
    """Return the results of each kind of request."""
    counted = scheduler.counted()
    seconds = sum(done.seconds for done in counted)
    entries: dict[str, RequestStats] = {}
    for done in counted:
        for name, entry in scheduler.stats.phases.get(done.number, {}).items():
            entries.setdefault(name, RequestStats()).merge(entry)
    return {name: Measured.of(entry, seconds) for name, entry in entries.items()}


def _cpus(scheduler: Scheduler) -> float:
    """Return how many CPUs the load generators kept busy."""
    seconds = sum(done.seconds for done in scheduler.done)
    return scheduler.stats.cpu_s / seconds if seconds else 0.0


def _text(scheduler: Scheduler, measured: Measured, verdicts: list[Verdict], met: bool) -> list[str]:
    """Return the verdict as lines."""
    options = scheduler.options
    loop = f"{options.clients_count} clients" if options.closed else f"{options.loop} arrivals"
    lines = ["", f"{options.scenario}: {options.defaults.about}; {loop}, {measured.seconds:.0f} s counted"]
    if not scheduler.over:
        lines.append("It was ended early.")
    if scheduler.found is not None:
        lines.append(f"Highest rate that met the objectives: {scheduler.found:.1f} requests a second")
    lines += ["", *_requests_table(scheduler), ""]
    if verdicts:
        lines += _table([("objective", "limit", "measured", "met"), *map(_row, verdicts)])
        lines += ["", "All objectives are met." if met else "Objectives are MISSED."]
    else:
        lines.append(f"No objectives: {options.objectives} has no table [{options.scenario}].")
    lines += [f"  {count} × {text}" for text, count in scheduler.stats.errors.most_common(5)]
    lines.append(f"The generator kept {_cpus(scheduler):.2f} CPUs busy.")
    if not options.closed:
        late = measured.lag_p99_ms
        much = " That is much of the latency: the generator is short of CPU." if _much(measured) else ""
        lines.append(f"Requests were sent {late:.1f} ms after they were due (p99).{much}")
    return lines


def _row(verdict: Verdict) -> tuple[str, ...]:
    limit = f"{'≥' if verdict.at_least else '≤'} {verdict.limit:g}"
    return verdict.objective, limit, f"{verdict.measured:.4g}", "yes" if verdict.met else "NO"


def _much(measured: Measured) -> bool:
    return measured.lag_p99_ms > max(_LATE_MS, _LATE_SHARE * measured.p99_ms)


def _requests_table(scheduler: Scheduler) -> list[str]:
    header = ("requests", "asked", "good", "refused", "failed", "not sent", "images/s", "p50 ms", "p99 ms")
    rows = [("all", scheduler.measure(scheduler.counted()))]
    if scheduler.options.scenario == "burst":
        for name in ("quiet", "burst"):
            rows.append((name, scheduler.measure(one for one in scheduler.counted() if one.step.name == name)))
    if len(by_name := _by_name(scheduler)) > 1:
        rows += sorted(by_name.items())
    return _table([header, *((name, *_cells(one)) for name, one in rows)])


def _cells(measured: Measured) -> tuple[str, ...]:
    counts = (measured.asked, measured.good, measured.refused, measured.failed, measured.not_sent)
    figures = (measured.images_per_second, measured.p50_ms, measured.p99_ms)
    return (*map(str, counts), *(f"{figure:.1f}" for figure in figures))


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows as a table in Markdown, with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 1) + ("-" if place == 0 else ":") for place, width in enumerate(widths)) + "|"
    return [lines[0], rule, *lines[1:]]


def _without_nan(value: Any) -> Any:
    """Return the value with None for NaN and infinity."""
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
