"""The service over a long time: `python -m loadtest soak --minutes 30`.

Asks it a mix of single pictures, eight in a request, and photographs by a schedule, some of them broken, and has it
swap versions again and again; looks every few seconds at the memory, descriptors and threads of each of its processes.
Ctrl-C ends it early, and prints what was seen. Writes the figures and a picture to `.local/soak`. Needs a package
(`make model`).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from itertools import cycle
from pathlib import Path

from tqdm import tqdm

from loadtest.intruders import Watch
from loadtest.machine import describe_machine
from model_store.manifest import MANIFEST_NAME

from .bad_inputs import MAX_REQUEST_MIB
from .local_server import LocalServer
from .open_loop import OpenLoop, Plan, Span
from .sampler import Sampler
from .soak_report import Soak, Swap, plot, print_tables, write_minutes, write_samples
from .swap import MODEL, TOKEN, Swapper, reload

_VERSIONS = 3
"""Versions that take turns."""


def main(arguments: list[str]) -> int:
    """Run, print the tables in Markdown, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30, help="how long (%(default)s)")
    parser.add_argument("--rate", type=float, default=20, help="requests a second (%(default)s)")
    parser.add_argument("--bad", type=float, default=0.05, help="share of broken requests (%(default)s)")
    parser.add_argument("--swap-every", type=float, default=60, help="seconds from swap to swap (%(default)s)")
    parser.add_argument("--sample-every", type=float, default=5, help="seconds from look to look (%(default)s)")
    parser.add_argument("--package", type=Path, default=Path(".local/package"), help="a packaged version (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path(".local/soak"), help="for the figures (%(default)s)")
    options = parser.parse_args(arguments)
    if min(options.minutes, options.rate, options.swap_every, options.sample_every) <= 0 or not 0 <= options.bad < 1:
        parser.error("--minutes, --rate, --swap-every, --sample-every: more than 0; --bad: from 0 to less than 1")
    if not (options.package / MANIFEST_NAME).is_file():
        parser.error(f"--package {options.package}: no {MANIFEST_NAME} there; `make model` makes one")
    os.environ["MODEL_NAME"] = MODEL
    watch = Watch()
    with tempfile.TemporaryDirectory() as name:
        soak = run(Path(name), options)
    print(describe_machine())
    print(
        f"{soak.span.seconds / 60:.1f} min, {options.rate:g} mixed requests a second, {options.bad:.0%} of all broken, "
        f"a swap every {swap_every_s(options):.0f} s"
    )
    print_tables(soak)
    options.output.mkdir(parents=True, exist_ok=True)
    write_samples(soak, options.output / "samples.csv")
    write_minutes(soak, options.output / "minutes.csv")
    plot(soak, options.output / "soak.png")
    print(f"\nFigures and a picture are in {options.output}")
    if (others := watch.look()).spoils:
        print(f"Others were at work: {others.text}")
    return 0


def run(folder: Path, options: argparse.Namespace) -> Soak:
    """Start the service, ask, swap, and return what was seen once it is over or interrupted."""
    store = f"file://{folder / 'store'}"
    swapper = Swapper(store, options.package, folder)
    for shift in range(_VERSIONS):
        swapper.publish(shift, label=shift == 0)
    settings = {
        "MODEL_STORE_URL": store,
        "MODEL_CACHE_DIR": str(folder / "cache"),
        "ADMIN_TOKEN": TOKEN,
        "MODEL_POLL_S": "0",
        "MAX_REQUEST_MIB": str(MAX_REQUEST_MIB),
    }
    phases = ((60 * options.minutes, options.rate),)
    swaps: list[Swap] = []
    with LocalServer(folder / "server", **settings) as server:
        plan = Plan(server.url, MODEL, phases, "mixed", bad=options.bad)
        with Sampler(server, options.sample_every) as sampler, OpenLoop(plan) as load:
            try:
                swap_on(server, swapper, load, options, swaps)
            except KeyboardInterrupt:
                print("interrupted; this is what was seen until now")
            end = min(time.perf_counter(), load.began + 60 * options.minutes)
        return Soak(Span(load.began, end, 0.0), load.seen, sampler.samples, swaps)


def swap_on(
    server: LocalServer, swapper: Swapper, load: OpenLoop, options: argparse.Namespace, swaps: list[Swap]
) -> None:
    """Swap versions until the load is over."""
    others = cycle([*sorted(swapper.targets)[1:], min(swapper.targets)])
    end = load.began + 60 * options.minutes
    with tqdm(total=round(60 * options.minutes), unit="s", desc="Soaking", leave=False) as bar:
        while not load.wait(min(swap_every_s(options), max(0.0, end - time.perf_counter()) + 1)):
            bar.update(round(time.perf_counter() - load.began) - bar.n)
            if time.perf_counter() + swap_every_s(options) / 2 > end:
                continue
            started = time.perf_counter()
            swapper.label(next(others))
            status, text = asyncio.run(reload(server))
            swaps.append(Swap(started, time.perf_counter() - started, status, "" if status == 200 else text))


def swap_every_s(options: argparse.Namespace) -> float:
    """Return the time from swap to swap; a run that is short has some all the same."""
    return min(float(options.swap_every), 60 * float(options.minutes) / 4)
