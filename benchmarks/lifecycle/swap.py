"""Swap, roll back and break versions under load: `python -m benchmarks swap`.

Starts the service on a store of its own, keeps clients sending without a pause, and meanwhile points `stable` to one
version after the other, rolls back, and publishes versions that must not go live. Every response is checked: its scores
must be those of the version that it names. Prints failures, latency before, during and after the swaps, and the memory
of the runner after each. Needs a package (`make model`); other work on the machine spoils the figures.
"""

from __future__ import annotations

import math
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import orjson
from tqdm import tqdm

from benchmarks.load.closed_loop import OK
from benchmarks.load.closed_loop_process import ClosedLoop
from benchmarks.load.http_response import ResponseReader
from benchmarks.measuring.summary import percentile
from benchmarks.options import ABOVE_ZERO, POSITIVE, benchmark, package_option
from benchmarks.servers.server_process import BentoMLServer
from loadtest.load.images import SIZES, predict_body

from .swapper import SETTINGS, Swapper, loaded_versions, reload

CLASSES = 10


@dataclass(frozen=True)
class Options:
    """The options of the command."""

    package: Path
    store: str | None
    clients: int
    swaps: int
    before: float
    rest: float


@dataclass(frozen=True)
class Response:
    """A response, or the failure to get one; times by `time.perf_counter`."""

    sent: float
    ended: float
    ok: bool
    version: int
    best: int
    """The class with the highest score."""

    @classmethod
    def read(cls, sent: float, ended: float, status: str, reader: ResponseReader) -> Response:
        """Read a response of the closed loop."""
        if status != OK:
            return cls(sent, ended, False, 0, -1)
        scores = orjson.loads(reader.body)["predictions"][0]
        return cls(sent, ended, True, int(reader.header(b"x-model-version")), scores.index(max(scores)))


@dataclass
class Phase:
    """The times in which one thing happened, perhaps repeatedly."""

    name: str
    windows: list[tuple[float, float]] = field(default_factory=list)

    @contextmanager
    def window(self) -> Iterator[None]:
        """Add the time of the block."""
        start = time.perf_counter()
        yield
        self.windows.append((start, time.perf_counter()))

    def of(self, responses: Iterable[Response]) -> list[Response]:
        """Return the requests that were in flight in it."""
        return [one for one in responses if any(start <= one.ended and one.sent <= end for start, end in self.windows)]


@contextmanager
def sending_clients(url: str, count: int) -> Iterator[list[Response]]:
    """Keep clients sending; yield the list that all responses are appended to."""
    responses: list[Response] = []
    loop = ClosedLoop(
        url, [predict_body(SIZES[1], 1)], count, observe=lambda *seen: responses.append(Response.read(*seen))
    )
    thread = threading.Thread(target=loop.run, args=(math.inf,))
    thread.start()
    try:
        yield responses
    finally:
        loop.stop()
        thread.join()


def swap(server: BentoMLServer, move: Callable[[], None], phase: Phase) -> tuple[float, int, str]:
    """Move the label by `move`, and wait until the old version is unloaded.

    Returns:
        The seconds until the new version served, and status and body of the reload.
    """
    started = time.perf_counter()
    with phase.window():
        move()
        status, text = reload(server.model_url)
        followed = time.perf_counter() - started
        while loaded_versions(server.model_url) > 1:
            time.sleep(0.1)
    return followed, status, text


def run(server: BentoMLServer, swapper: Swapper, options: Options) -> None:
    """Take all steps under load, then print the results."""
    others = sorted(swapper.targets)[1:]
    broken = [swapper.publish(0, "golden"), swapper.publish(0, "engine")]
    before, during = Phase("before"), Phase(f"during {len(others)} swaps, each with a pull")
    after, back = Phase("after"), Phase("rollback")
    rejected = Phase("a version is rejected (twice)")
    memory: list[float] = []
    with sending_clients(server.predict_url, options.clients) as responses:
        time.sleep(3)
        memory.append(server.memory_mib()["runner"])
        with before.window():
            time.sleep(options.before)
        durations = []
        for version in tqdm(others, desc="Swaps", leave=False):
            seconds, status, text = swap(server, lambda version=version: swapper.label(version), during)  # type: ignore[misc]
            assert status == 200, text
            durations.append(seconds)
            with after.window():
                time.sleep(options.rest)
            memory.append(server.memory_mib()["runner"])
        rollback_s, status, text = swap(server, swapper.rollback, back)
        assert status == 200, text
        time.sleep(options.rest)
        for version in broken:
            _, status, text = swap(server, lambda version=version: swapper.label(version), rejected)  # type: ignore[misc]
            assert status == 409, text
            print(f"rejected with {status}: {text}")
        time.sleep(options.rest)
    report(responses, [before, during, after, back, rejected], swapper.shifts)
    print(
        f"\nFrom moving the label to the new version's responses: {min(durations):.2f}–{max(durations):.2f} s; "
        f"rollback {rollback_s:.2f} s"
    )
    print("Runner's memory (MiB) before and after each swap: " + ", ".join(f"{size:.0f}" for size in memory))


def report(responses: list[Response], phases: list[Phase], shifts: dict[int, int]) -> None:
    """Print the table of phases, and how many responses are of another version than they name."""
    good = [one for one in responses if one.ok]
    bases = Counter((one.best - shifts[one.version]) % CLASSES for one in good)
    by_version = Counter(one.version for one in good)
    print("\n| | seconds | requests | failed | p50 ms | p99 ms | p99 ÷ before |\n|---|---|---|---|---|---|---|")
    reference = 0.0
    for phase in phases:
        seen = phase.of(responses)
        good_s = [one.ended - one.sent for one in seen if one.ok]
        half, most = (1000 * percentile(good_s, share) for share in (0.5, 0.99))
        reference = reference or most
        seconds = sum(end - start for start, end in phase.windows)
        failed = len(seen) - len(good_s)
        cells = f"{seconds:.1f} | {len(seen)} | {failed} | {half:.0f} | {most:.0f} | {most / reference:.2f}"
        print(f"| {phase.name} | {cells} |")
    print(f"\n{len(responses)} requests, {len(responses) - len(good)} failed", end="; ")
    print(f"{len(good) - max(bases.values())} responses of another version than they name")
    print("Responses by version: " + ", ".join(f"{version}: {count}" for version, count in sorted(by_version.items())))


@benchmark(__doc__)
@package_option
@click.option("--store", metavar="URL", help="Empty, as s3://bucket/swap.  [default: a temporary folder]")
@click.option("--clients", type=POSITIVE, default=8, help="Clients that send at once.")
@click.option("--swaps", type=POSITIVE, default=10, help="Versions that follow one another.")
@click.option("--before", type=ABOVE_ZERO, default=60.0, help="Seconds of load before the first swap.")
@click.option("--rest", type=ABOVE_ZERO, default=5.0, help="Seconds of load after each.")
def main(**values: Any) -> int:
    """Make the versions, start the service, and run; return the exit status."""
    options = Options(**values)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = options.store or f"file://{folder / 'store'}"
        swapper = Swapper(store, options.package, folder)
        for shift in tqdm(range(options.swaps + 1), desc="Publishing", leave=False):
            swapper.publish(shift, label=shift == 0)
        settings = {**SETTINGS, "MODEL_STORE_URL": store, "MODEL_CACHE_DIR": str(folder / "cache")}
        with BentoMLServer(folder / "server", **settings) as server:
            run(server, swapper, options)
    return 0
