"""What it costs to refuse a request: `python -m loadtest refusal`.

The service gives the owner of the key that is used one image in a day: whatever else is asked is refused. Beside it a
uvicorn application that answers 429 and does nothing else. Both are asked in turn, at the same rate, for the same
pictures; the CPU time of the process that answers is divided by its refusals.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from tqdm import tqdm

from loadtest.figures import percentile, spread
from loadtest.intruders import Watch
from loadtest.machine import describe_machine
from loadtest.pictures import SIZES, predict_body
from loadtest.processes import free_port
from service.core.key_file import KeyEntry, KeyFile

from .local_server import LocalServer
from .open_loop import OpenLoop, Plan


@dataclass(frozen=True)
class Turn:
    """What was seen of one of the two in a round."""

    cpu_ms: float
    """Of the process that answers, a refusal."""
    p50_ms: float
    p99_ms: float
    """Of a refusal, from when the request was sent."""


def main(arguments: list[str]) -> int:
    """Measure, and print a table in Markdown; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest refusal", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="xception", help="a published model (%(default)s)")
    parser.add_argument("--rate", type=float, default=1000, help="requests a second (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is asked (%(default)s)")
    parser.add_argument("--seconds", type=float, default=5, help="how long each time (%(default)s)")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds < 1 or options.rate <= 0:
        parser.error("--rounds, --seconds: must be at least 1; --rate: more than 0")
    os.environ["MODEL_NAME"] = options.model
    turns: dict[str, list[Turn]] = {"the service": [], "bare uvicorn": []}
    watch = Watch()
    key = secrets.token_urlsafe()
    with tempfile.TemporaryDirectory() as folder, full_service(Path(folder), key) as service, bare_refuser() as bare:
        for _ in tqdm(range(options.rounds), leave=False):
            for name, (url, process) in zip(turns, (service, bare), strict=True):
                turns[name].append(ask(url, process, options, key))
    report(turns, options)
    if (others := watch.look()).spoils:
        print(f"\nOthers were at work: {others.text}")
    return 0


@contextmanager
def full_service(folder: Path, key: str) -> Iterator[tuple[str, psutil.Process]]:
    """Start a service of which the owner of the key has had enough; yield its URL and the process that refuses."""
    entry = KeyEntry(name="load", sha256=hashlib.sha256(key.encode()).hexdigest(), images_per_second=1 / 86_400)
    keys = folder / "keys.json"
    keys.write_text(KeyFile(keys=[entry]).model_dump_json())
    with LocalServer(folder / "server", API_KEYS_FILE=str(keys)) as server:
        (edge,) = server.processes()["edge"]
        question = urllib.request.Request(
            server.predict, predict_body(SIZES[1], 2), {"Authorization": f"Bearer {key}"}, method="POST"
        )
        urllib.request.urlopen(question).close()
        yield server.url, edge


@contextmanager
def bare_refuser() -> Iterator[tuple[str, psutil.Process]]:
    """Start what does nothing but refuse; yield its URL and its process."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "loadtest.measurements.bare_refuser", str(port)])
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit("the bare application did not start") from None
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def ask(url: str, process: psutil.Process, options: argparse.Namespace, key: str) -> Turn:
    """Ask for a while, and return what was seen."""
    plan = Plan(url, options.model, ((options.seconds, options.rate),), "pictures", api_key=key)
    before = process.cpu_times()
    with OpenLoop(plan) as load:
        load.wait()
    after = process.cpu_times()
    cpu_s = after.user + after.system - before.user - before.system
    seconds = [one.ended - one.sent for one in load.seen if one.sent is not None]
    if others := [one for one in load.seen if one.outcome != "refused"]:
        raise SystemExit(f"{len(others)} of {len(load.seen)} requests were not refused: {others[0]}")
    return Turn(1000 * cpu_s / len(load.seen), 1000 * percentile(seconds, 0.5), 1000 * percentile(seconds, 0.99))


def report(turns: dict[str, list[Turn]], options: argparse.Namespace) -> None:
    """Print the table."""
    print(describe_machine())
    print(
        f"{options.rate:g} requests a second, Poisson, each with a picture of 500 × 375; medians (min–max) of "
        f"{options.rounds} turns of {options.seconds:g} s\n"
    )
    print("| | CPU a refusal, ms | ÷ bare | p50, ms | p99, ms |\n|---|---|---|---|---|")
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
