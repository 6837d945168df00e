"""What a load test leaves behind: the verdict on the screen, and a folder with figures and pictures."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .objectives import Measured, Verdict, judge
from .plot import plot_course, plot_ramp
from .scheduler import Conductor
from .stats import Tally

_LATE_MS = 5.0
_LATE_SHARE = 0.25
"""Where requests leave later than both, in ms and as a share of the latency (p99), it says much of the generator."""


def write_report(conductor: Conductor, host: str, folder: Path) -> bool:
    """Print the verdict, write `summary.json` and `load.png`, and return whether all objectives were met.

    Args:
        conductor: Of the test that has ended.
        host: The address that was asked.
        folder: Where to write; it is made.
    """
    counted = conductor.counted()
    measured = conductor.measure(counted)
    verdicts = _verdicts(conductor, measured)
    met = measured.good > 0 and conductor.found != 0 and all(verdict.met for verdict in verdicts)
    summary = {
        "scenario": conductor.options.scenario,
        "host": host,
        "whole": conductor.over,
        "met": met,
        "options": conductor.options.model_dump(),
        "measured": asdict(measured),
        "found_rate": conductor.found,
        "objectives": [{**asdict(verdict), "met": verdict.met} for verdict in verdicts],
        "requests": {name: asdict(one) for name, one in _by_name(conductor).items()},
        "steps": [
            {
                "name": done.step.name,
                "rate": done.step.rate,
                "counted": done.step.counted,
                "met": done.met,
                "begun": done.begun,
                **asdict(conductor.measure([done])),
            }
            for done in conductor.done
        ],
        "errors": dict(conductor.ledger.errors),
        "versions": dict(conductor.ledger.versions),
        "generator_cpus": _cpus(conductor),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(_without_nan(summary), indent=2, ensure_ascii=False) + "\n")
    if conductor.options.scenario == "ramp":
        plot_ramp(conductor, folder / "load.png")
    else:
        plot_course(conductor, folder / "load.png")
    print("\n".join(_text(conductor, measured, verdicts, met)))
    print(f"\nReport: {folder}", flush=True)
    return met


def _verdicts(conductor: Conductor, measured: Measured) -> list[Verdict]:
    if conductor.objectives is None:
        return []
    parts = conductor.counted()
    drift = None
    if conductor.options.scenario == "soak" and len(parts) > 1:
        drift = conductor.measure(parts[:1]), conductor.measure(parts[-1:])
    objectives = conductor.objectives
    if not conductor.options.closed and conductor.options.scenario != "ramp":
        objectives = objectives.model_copy(update={"min_images_per_second": None})  # As much is answered as is asked.
    return judge(objectives, measured, drift)


def _by_name(conductor: Conductor) -> dict[str, Measured]:
    """Return what was seen of each kind of request."""
    counted = conductor.counted()
    seconds = sum(done.seconds for done in counted)
    tallies: dict[str, Tally] = {}
    for done in counted:
        for name, tally in conductor.ledger.phases.get(done.number, {}).items():
            tallies.setdefault(name, Tally()).merge(tally)
    return {name: Measured.of(tally, seconds) for name, tally in tallies.items()}


def _cpus(conductor: Conductor) -> float:
    """Return how many CPUs the processes that made the load kept busy."""
    seconds = sum(done.seconds for done in conductor.done)
    return conductor.ledger.cpu_s / seconds if seconds else 0.0


def _text(conductor: Conductor, measured: Measured, verdicts: list[Verdict], met: bool) -> list[str]:
    """Return the verdict as lines."""
    options = conductor.options
    loop = f"{options.clients_count} clients" if options.closed else f"{options.loop} arrivals"
    lines = ["", f"{options.scenario}: {options.defaults.about}; {loop}, {measured.seconds:.0f} s counted"]
    if not conductor.over:
        lines.append("It was ended early.")
    if conductor.found is not None:
        lines.append(f"Highest rate that met the objectives: {conductor.found:.1f} requests a second")
    lines += ["", *_requests_table(conductor), ""]
    if verdicts:
        lines += _table([("objective", "limit", "measured", "met"), *map(_row, verdicts)])
        lines += ["", "All objectives are met." if met else "Objectives are MISSED."]
    else:
        lines.append(f"No objectives: {options.objectives} has no table [{options.scenario}].")
    lines += [f"  {count} × {text}" for text, count in conductor.ledger.errors.most_common(5)]
    lines.append(f"The generator kept {_cpus(conductor):.2f} CPUs busy.")
    if not options.closed:
        late = measured.lag_p99_ms
        much = " That is much of the latency: the generator is short of CPU." if _much(measured) else ""
        lines.append(f"Requests left {late:.1f} ms after they were due (p99).{much}")
    return lines


def _row(verdict: Verdict) -> tuple[str, ...]:
    limit = f"{'≥' if verdict.at_least else '≤'} {verdict.limit:g}"
    return verdict.objective, limit, f"{verdict.measured:.4g}", "yes" if verdict.met else "NO"


def _much(measured: Measured) -> bool:
    return measured.lag_p99_ms > max(_LATE_MS, _LATE_SHARE * measured.p99_ms)


def _requests_table(conductor: Conductor) -> list[str]:
    header = ("requests", "asked", "good", "refused", "failed", "not sent", "images/s", "p50 ms", "p99 ms")
    rows = [("all", conductor.measure(conductor.counted()))]
    if conductor.options.scenario == "burst":
        for name in ("quiet", "burst"):
            rows.append((name, conductor.measure(one for one in conductor.counted() if one.step.name == name)))
    if len(by_name := _by_name(conductor)) > 1:
        rows += sorted(by_name.items())
    return _table([header, *((name, *_cells(one)) for name, one in rows)])


def _cells(measured: Measured) -> tuple[str, ...]:
    counts = (measured.asked, measured.good, measured.refused, measured.failed, measured.not_sent)
    figures = (measured.images_per_second, measured.p50_ms, measured.p99_ms)
    return (*map(str, counts), *(f"{figure:.1f}" for figure in figures))


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows as a table in Markdown, with columns as wide as they need to be."""
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
    """Return the value with None where JSON has no number."""
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
