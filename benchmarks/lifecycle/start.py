"""Measure the time from the start of a process until it is ready: `python -m benchmarks start`.

With the model in the cache, as after a restart; with an empty cache, so that the version is pulled from a real S3
server that this starts on the same machine; and as on a machine where no service of this model ever ran, so that the
cost of batches is measured, too. They take turns. Beside them a BentoML service of two processes that does nothing.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tqdm import tqdm

from benchmarks.measuring.machine import describe_machine
from benchmarks.measuring.summary import spread
from benchmarks.options import benchmark, package_option, precision_option, rounds_option
from benchmarks.servers.s3_server import s3_server
from benchmarks.servers.server_process import EDGE, BentoMLServer
from model_store.store.remote import Remote
from model_store.transfer.publish import publish

_LEARNED = ".learned"
"""The folder in the cache with the costs of batches that warm-up has learned."""

_IDLE = "a BentoML service that does nothing"


@benchmark(__doc__)
@package_option
@precision_option
@rounds_option(5)
def main(package: Path, precision: str, rounds: int) -> int:
    """Start the service again and again, and print the table."""
    with s3_server() as url, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        publish(package, Remote.open(url), "xception", labels=("stable",))
        cache = folder / "cache"
        settings = {"MODEL_STORE_URL": url, "MODEL_CACHE_DIR": str(cache), "PRECISION": precision}
        start(folder, settings)
        prepare: dict[str, Callable[[], None]] = {
            "in the cache": lambda: None,
            "pulled": lambda: clear(cache, keep_learned=True),
            "pulled, and measured for the first time": lambda: clear(cache, keep_learned=False),
        }
        seconds: dict[str, list[float]] = {name: [] for name in (_IDLE, *prepare)}
        for _ in tqdm(range(rounds), leave=False):
            seconds[_IDLE].append(start(folder, {}, "benchmarks.servers.idle_service:IdleEdge"))
            for name, before in prepare.items():
                before()
                seconds[name].append(start(folder, settings))
    print(f"{describe_machine()}\n\n| | s to ready (min–max) | ÷ in the cache |\n|---|---|---|")
    cached = median(seconds["in the cache"])
    for name, taken in seconds.items():
        print(f"| {name} | {spread(taken, '.2f')} | {median(taken) / cached:.2f} |")
    return 0


def start(folder: Path, settings: dict[str, str], target: str = EDGE) -> float:
    """Start a service, stop it, and return the seconds from the start of its process until it is ready."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        began = time.perf_counter()
        with BentoMLServer(Path(home), target, **settings):
            return time.perf_counter() - began


def clear(cache: Path, *, keep_learned: bool) -> None:
    """Empty a cache, except for the learned costs if they are kept."""
    for entry in cache.iterdir():
        if entry.name != _LEARNED or not keep_learned:
            shutil.rmtree(entry)
