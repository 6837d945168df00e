"""Draw a comparison: throughput against the bare engine, and latency."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import matplotlib as mpl
import numpy as np

from .result import Comparison

mpl.use("Agg")

from matplotlib import pyplot as plt


def draw(comparison: Comparison, path: Path) -> None:
    """Write the chart as PNG: a group of bars for each number of clients, with the spread of the rounds."""
    competitors, numbers = comparison.competitors, comparison.clients
    places = np.arange(len(numbers))
    width = 0.8 / len(competitors)
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained")
    for index, competitor in enumerate(competitors):
        at = places + (index - (len(competitors) - 1) / 2) * width
        cells = [comparison.cell(competitor, clients) for clients in numbers]
        ratios = [[window.ratio for window in cell] or [0.0] for cell in cells]
        middle = np.array([median(values) for values in ratios])
        below = middle - [min(values) for values in ratios]
        above = [max(values) for values in ratios] - middle
        left.bar(at, middle, width, yerr=[below, above], capsize=2, label=competitor.replace("`", ""))
        half = np.array([median(window.p50_ms for window in cell) if cell else np.nan for cell in cells])
        most = np.array([median(window.p99_ms for window in cell) if cell else np.nan for cell in cells])
        bars = right.bar(at, half, width)
        right.bar(at, most - half, width, bottom=half, color=bars[0].get_facecolor(), alpha=0.4)
    left.axhline(1, color="black", linewidth=1, linestyle="--")
    left.set(title="Images a second, as a share of the bare engine's", ylim=(0, None))
    right.set(title="Latency in ms: p50 (full) and p99 (pale)", yscale="log", ylim=(1, None))
    for axes in (left, right):
        axes.set_xticks(places, [f"{clients} client{'s' if clients > 1 else ''}" for clients in numbers])
        axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=len(competitors), frameon=False)
    figure.suptitle(f"{comparison.facts['model']} – {comparison.facts['machine']}", fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)
