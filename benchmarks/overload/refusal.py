"""Measure the cost of a rejection: `python -m benchmarks refusal`.

The service allows the API key that is used one image a day, and rejects all further requests. Beside it a uvicorn
application responds with 429 and does nothing else. Both get the same requests in turn, at the same rate; the CPU time
of the process that responds is divided by its rejections.
"""

from __future__ import annotations

import hashlib
import secrets
import socket
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import psutil
from tqdm import tqdm

from benchmarks.load.open_loop import OpenLoop, Plan
from benchmarks.measuring.interference import InterferenceMonitor
from benchmarks.measuring.machine import describe_machine
from benchmarks.measuring.processes import free_port
from benchmarks.measuring.summary import percentile, spread
from benchmarks.options import ABOVE_ZERO, benchmark, model_option, rounds_option
from benchmarks.servers.server_process import BentoMLServer, ServerProcess, request
from loadtest.load.images import SIZES, predict_body
from service.core.key_file import KeyEntry, KeyFile


@dataclass(frozen=True)
class Options:
    """The options of the command."""

    model: str
    rate: float
    rounds: int
    seconds: float


@dataclass(frozen=True)
class Turn:
    """The results of one of the two in a round."""

    cpu_ms: float
    """CPU time of the process that responds, for a rejection."""
    p50_ms: float
    p99_ms: float
    """Of a rejection, from when the request was sent."""


@benchmark(__doc__)
@model_option
@click.option("--rate", type=ABOVE_ZERO, default=1000.0, help="Requests a second.")
@rounds_option(5)
@click.option("--seconds", type=click.FloatRange(min=1), default=5.0, help="Length of a turn.")
def main(**values: Any) -> int:
    """Measure, and print a table in Markdown; return the exit status."""
    options = Options(**values)
    turns: dict[str, list[Turn]] = {"the service": [], "bare uvicorn": []}
    monitor = InterferenceMonitor()
    key = secrets.token_urlsafe()
    with (
        tempfile.TemporaryDirectory() as folder,
        full_service(Path(folder), options.model, key) as service,
        bare_refuser(Path(folder)) as bare,
    ):
        for _ in tqdm(range(options.rounds), leave=False):
            for name, (url, process) in zip(turns, (service, bare), strict=True):
                turns[name].append(measure(url, process, options, key))
    report(turns, options)
    if (interference := monitor.read()).spoils:
        print(f"\nInterference: {interference.text}")
    return 0


@contextmanager
def full_service(folder: Path, model: str, key: str) -> Iterator[tuple[str, psutil.Process]]:
    """Start a service and use up the quota of the key; yield its URL and the process of its edge."""
    entry = KeyEntry(name="load", sha256=hashlib.sha256(key.encode()).hexdigest(), images_per_second=1 / 86_400)
    keys = folder / "keys.json"
    keys.write_text(KeyFile(keys=[entry]).model_dump_json())
    with BentoMLServer(folder / "server", MODEL_NAME=model, API_KEYS_FILE=str(keys)) as server:
        (edge,) = server.processes()["edge"]
        first = urllib.request.Request(
            server.predict_url, predict_body(SIZES[1], 2), {"Authorization": f"Bearer {key}"}, method="POST"
        )
        request(first).close()
        yield server.url, edge


@contextmanager
def bare_refuser(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Start the bare application; yield its URL and its process."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.servers.bare_refuser", str(port)]
    with ServerProcess(command, {}, folder / "bare.log", port) as server:
        server.wait_until(lambda: socket.create_connection(("127.0.0.1", port)).close())
        (process,) = server.processes()["supervisor"]
        yield server.url, process


def measure(url: str, process: psutil.Process, options: Options, key: str) -> Turn:
    """Send requests for one turn, and return the results."""
    plan = Plan(url, options.model, ((options.seconds, options.rate),), "images", api_key=key)
    before = process.cpu_times()
    with OpenLoop(plan) as load:
        load.wait()
    after = process.cpu_times()
    cpu_s = after.user + after.system - before.user - before.system
    seconds = [one.ended - one.sent for one in load.results if one.sent is not None]
    if others := [one for one in load.results if one.outcome != "refused"]:
        raise SystemExit(f"{len(others)} of {len(load.results)} requests were not rejected: {others[0]}")
    return Turn(1000 * cpu_s / len(load.results), 1000 * percentile(seconds, 0.5), 1000 * percentile(seconds, 0.99))


def report(turns: dict[str, list[Turn]], options: Options) -> None:
    """Print the table."""
    print(describe_machine())
    print(
        f"{options.rate:g} requests a second, Poisson, each with an image of 500 × 375; medians (min–max) of "
        f"{options.rounds} turns of {options.seconds:g} s\n"
    )
    print("| | CPU a rejection, ms | ÷ bare | p50, ms | p99, ms |\n|---|---|---|---|---|")
    bare = [turn.cpu_ms for turn in turns["bare uvicorn"]]
    for name, seen in turns.items():
        ratios = [turn.cpu_ms / least for turn, least in zip(seen, bare, strict=True)]
        cells = (
            spread([turn.cpu_ms for turn in seen], ".3f"),
            spread(ratios, ".2f"),
            spread([turn.p50_ms for turn in seen], ".2f"),
            spread([turn.p99_ms for turn in seen], ".1f"),
        )
        print(f"| {name} | {' | '.join(cells)} |")
