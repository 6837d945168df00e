"""Pictures of a load test: throughput and latency, over time or over the rate that was asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .scheduler import Conductor

_SIZE = (9.0, 6.5)
"""Inches."""

_GOOD, _BAD, _HALF, _MOST = "#1b7837", "#b2182b", "#4393c3", "#2166ac"


def plot_course(conductor: Conductor, path: Path) -> None:
    """Draw each second of a test: above what came back, below how long it took."""
    seconds = conductor.ledger.seconds
    if not seconds or not conductor.done:
        return
    start = conductor.done[0].begun
    shown = range(min(seconds), max(seconds) + 1)
    tallies = [seconds.get(second) for second in shown]
    times = [second + 0.5 - start for second in shown]

    figure = _figure(conductor)
    above, below = figure.axes
    above.plot(times, [tally.images if tally else 0 for tally in tallies], color=_GOOD, label="images answered")
    bad = [tally.asked - tally.good if tally else 0 for tally in tallies]
    if any(bad):
        above.plot(times, bad, color=_BAD, label="requests refused, failed or not sent")
    for share, color in ((0.5, _HALF), (0.99, _MOST)):
        values = [tally.latency.percentile(share) if tally else float("nan") for tally in tallies]
        below.plot(times, values, color=color, label=f"p{share * 100:.0f}")
    for done in conductor.done:
        begun = done.begun - start
        if not done.step.counted or done.step.name == "burst":
            for axes in (above, below):
                axes.axvspan(begun, begun + done.seconds, color="#dddddd" if done.step.counted else "#f2f2f2", zorder=0)
    below.set_xlabel("seconds; grey: warm-up, and bursts")
    _save(figure, path)


def plot_ramp(conductor: Conductor, path: Path) -> None:
    """Draw each step of a ramp by the rate that it asked for."""
    steps = sorted((done for done in conductor.done if done.met is not None), key=lambda done: done.step.rate)
    if not steps:
        return
    rates = [done.step.rate for done in steps]
    measured = [conductor.measure([done]) for done in steps]
    figure = _figure(conductor)
    above, below = figure.axes
    answered = [one.images_per_second for one in measured]
    above.scatter(rates, answered, color=_GOOD, label="images answered")
    missed = [place for place, done in enumerate(steps) if not done.met]
    above.scatter(
        [rates[place] for place in missed], [answered[place] for place in missed], color=_BAD, label="objectives missed"
    )
    if conductor.found:
        above.axvline(
            conductor.found, color="#888888", linestyle=":", label=f"highest rate held: {conductor.found:.1f}"
        )
    below.scatter(rates, [one.p50_ms for one in measured], color=_HALF, label="p50")
    below.scatter(rates, [one.p99_ms for one in measured], color=_MOST, label="p99")
    objectives = conductor.objectives
    if objectives is not None and objectives.max_p99_ms is not None:
        below.axhline(objectives.max_p99_ms, color=_MOST, linestyle=":", label="objective for p99")
    below.set_xlabel("requests asked a second")
    _save(figure, path)


def _figure(conductor: Conductor) -> Figure:
    """Return two panels, one above the other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    options = conductor.options
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
