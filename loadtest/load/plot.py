"""Charts of a load test: throughput and latency, over time or over the rate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .scheduler import Scheduler

_SIZE = (9.0, 6.5)
"""Inches."""

_GOOD, _BAD, _HALF, _MOST = "#1b7837", "#b2182b", "#4393c3", "#2166ac"


def plot_course(scheduler: Scheduler, path: Path) -> None:
    """Draw each second of a test: throughput above, latency below."""
    seconds = scheduler.stats.seconds
    if not seconds or not scheduler.done:
        return
    start = scheduler.done[0].begun
    shown = range(min(seconds), max(seconds) + 1)
    entries = [seconds.get(second) for second in shown]
    times = [second + 0.5 - start for second in shown]

    figure = _figure(scheduler)
    above, below = figure.axes
    above.plot(times, [entry.images if entry else 0 for entry in entries], color=_GOOD, label="images answered")
    bad = [entry.asked - entry.good if entry else 0 for entry in entries]
    if any(bad):
        above.plot(times, bad, color=_BAD, label="requests refused, failed or not sent")
    for share, color in ((0.5, _HALF), (0.99, _MOST)):
        values = [entry.latency.percentile(share) if entry else float("nan") for entry in entries]
        below.plot(times, values, color=color, label=f"p{share * 100:.0f}")
    for done in scheduler.done:
        begun = done.begun - start
        if not done.step.counted or done.step.name == "burst":
            for axes in (above, below):
                axes.axvspan(begun, begun + done.seconds, color="#dddddd" if done.step.counted else "#f2f2f2", zorder=0)
    below.set_xlabel("seconds; grey: warm-up, and bursts")
    _save(figure, path)


def plot_ramp(scheduler: Scheduler, path: Path) -> None:
    """Draw each step of a ramp by the rate that it asked for."""
    steps = sorted((done for done in scheduler.done if done.met is not None), key=lambda done: done.step.rate)
    if not steps:
        return
    rates = [done.step.rate for done in steps]
    measured = [scheduler.measure([done]) for done in steps]
    figure = _figure(scheduler)
    above, below = figure.axes
    answered = [one.images_per_second for one in measured]
    above.scatter(rates, answered, color=_GOOD, label="images answered")
    missed = [place for place, done in enumerate(steps) if not done.met]
    above.scatter(
        [rates[place] for place in missed], [answered[place] for place in missed], color=_BAD, label="objectives missed"
    )
    if scheduler.found:
        above.axvline(
            scheduler.found, color="#888888", linestyle=":", label=f"highest rate held: {scheduler.found:.1f}"
        )
    below.scatter(rates, [one.p50_ms for one in measured], color=_HALF, label="p50")
    below.scatter(rates, [one.p99_ms for one in measured], color=_MOST, label="p99")
    objectives = scheduler.objectives
    if objectives is not None and objectives.max_p99_ms is not None:
        below.axhline(objectives.max_p99_ms, color=_MOST, linestyle=":", label="objective for p99")
    below.set_xlabel("requests asked a second")
    _save(figure, path)


def _figure(scheduler: Scheduler) -> Figure:
    """Return two panels, one above the other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    options = scheduler.options
    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{options.scenario}: {options.defaults.about}")
    above, below = figure.subplots(2, 1, sharex=True)
    above.set_ylabel("a second")
    below.set_ylabel("latency, ms")
    below.set_yscale("log")
    below.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    below.yaxis.set_minor_formatter(NullFormatter())
    return figure


def _save(figure: Figure, path: Path) -> None:
    for axes in figure.axes:
        axes.grid(visible=True, color="#eeeeee")
        axes.set_axisbelow(True)
        axes.legend(loc="best", fontsize="small")
    figure.axes[0].set_ylim(bottom=0)
    figure.savefig(path, dpi=110)
