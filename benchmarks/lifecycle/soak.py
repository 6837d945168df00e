"""Run the service over a long time: `python -m benchmarks soak --minutes 30`.

Sends a mix of single images, eight in a request, and photographs by a schedule, some of them invalid, and has the
service swap versions again and again; samples memory, descriptors and threads of each of its processes. Ctrl-C ends it
early and prints the results until then. Writes the figures and a chart to `.local/soak`. Needs a package (`make
model`).
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from benchmarks.load.invalid_requests import MAX_REQUEST_MIB
from benchmarks.load.open_loop import OpenLoop, Plan, Span
from benchmarks.measuring.interference import InterferenceMonitor
from benchmarks.measuring.machine import describe_machine
from benchmarks.options import ABOVE_ZERO, SHARE, benchmark, package_option
from benchmarks.servers.sampler import Sampler
from benchmarks.servers.server_process import BentoMLServer

from .soak_report import Soak, Swap, plot, print_tables, write_minutes, write_samples
from .swapper import MODEL, SETTINGS, Swapper, reload

_VERSIONS = 3
"""Versions that take turns."""


@dataclass(frozen=True)
class Options:
    """The options of the command."""

    minutes: float
    rate: float
    bad: float
    swap_every: float
    sample_every: float
    package: Path
    output: Path

    @property
    def seconds(self) -> float:
        """Return the length of the run."""
        return 60 * self.minutes

    @property
    def swap_every_s(self) -> float:
        """Return the seconds between swaps; a short run has some all the same."""
        return min(self.swap_every, self.seconds / 4)


@benchmark(__doc__)
@click.option("--minutes", type=ABOVE_ZERO, default=30.0, help="Length of the run.")
@click.option("--rate", type=ABOVE_ZERO, default=20.0, help="Requests a second.")
@click.option("--bad", type=SHARE, default=0.05, help="Share of invalid requests.")
@click.option("--swap-every", type=ABOVE_ZERO, default=60.0, help="Seconds between swaps.")
@click.option("--sample-every", type=ABOVE_ZERO, default=5.0, help="Seconds between samples.")
@package_option
@click.option("--output", type=click.Path(path_type=Path), default=Path(".local/soak"), help="For the figures.")
def main(**values: Any) -> int:
    """Run, print the tables in Markdown, and return the exit status."""
    options = Options(**values)
    monitor = InterferenceMonitor()
    with tempfile.TemporaryDirectory() as name:
        soak = run(Path(name), options)
    print(describe_machine())
    print(
        f"{soak.span.seconds / 60:.1f} min, {options.rate:g} mixed requests a second, {options.bad:.0%} invalid, "
        f"a swap every {options.swap_every_s:.0f} s"
    )
    print_tables(soak)
    options.output.mkdir(parents=True, exist_ok=True)
    write_samples(soak, options.output / "samples.csv")
    write_minutes(soak, options.output / "minutes.csv")
    plot(soak, options.output / "soak.png")
    print(f"\nFigures and a chart are in {options.output}")
    if (interference := monitor.read()).spoils:
        print(f"Interference: {interference.text}")
    return 0


def run(folder: Path, options: Options) -> Soak:
    """Start the service, send, swap, and return the results once it is over or interrupted."""
    store = f"file://{folder / 'store'}"
    swapper = Swapper(store, options.package, folder)
    for shift in range(_VERSIONS):
        swapper.publish(shift, label=shift == 0)
    settings = {
        **SETTINGS,
        "MODEL_STORE_URL": store,
        "MODEL_CACHE_DIR": str(folder / "cache"),
        "MAX_REQUEST_MIB": str(MAX_REQUEST_MIB),
    }
    swaps: list[Swap] = []
    with BentoMLServer(folder / "server", **settings) as server:
        plan = Plan(server.url, MODEL, ((options.seconds, options.rate),), "mixed", bad=options.bad)
        with Sampler(server, options.sample_every) as sampler, OpenLoop(plan) as load:
            try:
                swap_on(server, swapper, load, options, swaps)
            except KeyboardInterrupt:
                print("interrupted; these are the results until now")
            end = min(time.perf_counter(), load.began + options.seconds)
        return Soak(Span(load.began, end, 0.0), load.results, sampler.samples, swaps)


def swap_on(server: BentoMLServer, swapper: Swapper, load: OpenLoop, options: Options, swaps: list[Swap]) -> None:
    """Swap versions until the load is over."""
    others = cycle([*sorted(swapper.targets)[1:], min(swapper.targets)])
    end = load.began + options.seconds
    with tqdm(total=round(options.seconds), unit="s", desc="Soaking", leave=False) as bar:
        while not load.wait(min(options.swap_every_s, max(0.0, end - time.perf_counter()) + 1)):
            bar.update(round(time.perf_counter() - load.began) - bar.n)
            if time.perf_counter() + options.swap_every_s / 2 > end:
                continue
            started = time.perf_counter()
            swapper.label(next(others))
            status, text = reload(server.model_url)
            swaps.append(Swap(started, time.perf_counter() - started, status, "" if status == 200 else text))
