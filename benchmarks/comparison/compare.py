"""Compare the service with other serving layers, and all of them with the bare engine: `python -m benchmarks compare`.

Each competitor is started anew in each round, alone; before and after each of its windows under load the bare engine
runs for some seconds, and the share of it that the competitor reaches counts. All get the same images and run the same
file of the engine; Flask runs Keras. Where a competitor has settings that matter, each is tried first, and the best are
compared. Prints tables in Markdown; the figures of every window and a chart go to `.local/compare/`.
docs/benchmarks/comparison.md explains more, and keeps a result.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from benchmarks.options import ABOVE_ZERO, Commas, benchmark, model_option, precision_option, rounds_option

from .competitors.registry import all_competitors
from .result import Comparison
from .rounds import ComparisonRun, Options

NAMES = [one.name for one in all_competitors(2)]


@benchmark(__doc__)
@model_option
@click.option("--version", default="stable", help="A label or number.")
@click.option("--store", metavar="URL", help="Where it is published.  [default: MODEL_STORE_URL, or .local/store]")
@precision_option
@click.option("--clients", type=Commas(click.IntRange(1, 1024)), default="1,8,32", help="Numbers of clients.")
@rounds_option(5)
@click.option("--seconds", type=ABOVE_ZERO, default=6.0, help="Length of a window under load.")
@click.option("--trial-seconds", "trial_s", type=ABOVE_ZERO, default=2.0, help="Length of a trial of settings.")
@click.option("--only", type=Commas(click.Choice(NAMES)), default=",".join(NAMES), help="Competitors to compare.")
@click.option("--quiet-only", is_flag=True, help="Leave out windows with interference.")
@click.option(
    "--output", type=click.Path(path_type=Path, resolve_path=True), default=Path(".local/compare"), help="For results."
)
def main(quiet_only: bool, clients: tuple[int, ...], **values: Any) -> int:
    """Compare, print the tables, write the results; return the exit status."""
    options = Options(clients=tuple(sorted(set(clients))), **values)
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        comparison = ComparisonRun(options, Path(folder)).compare()
    if not comparison.windows:
        print("Nothing was measured", file=sys.stderr)
        return 130
    written = _write(comparison, options.output)
    shown = comparison.quiet() if quiet_only else comparison
    if shown.windows:
        print(shown.markdown())
    else:
        print("No window was quiet; the figures of all are in the file below", file=sys.stderr)
    print(f"All figures: {written}; chart: {written.with_suffix('.png')}", file=sys.stderr)
    return 0


def _write(comparison: Comparison, folder: Path) -> Path:
    """Write the figures and the chart, and return the path of the figures."""
    from .chart import draw  # Takes 100 MB, which would be missing during the measurement.

    path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(comparison.document(), indent=1))
    draw(comparison, path.with_suffix(".png"))
    return path
