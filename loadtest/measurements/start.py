"""How long a service takes from the start of its process until it is ready: `python -m loadtest start`.

With the model in the cache, as after a restart; with an empty cache, so that the version comes from a real S3 server
that this starts on the same machine; and as on a machine where no service of this model ever ran, so that what
batches cost has to be measured, too. They take turns. Beside them a BentoML service of two that does nothing.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tqdm import tqdm

from loadtest.figures import spread
from loadtest.machine import describe_machine
from model_store.store.remote import Remote
from model_store.transfer.publish import publish
from model_store.trust.manifest import MANIFEST_NAME

from .local_server import LocalServer
from .s3_server import s3_server

_LEARNED = ".learned"
"""The folder in the cache with what warm-up has learned."""


def main(arguments: list[str]) -> int:
    """Start the service again and again, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest start",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--package", type=Path, default=Path(".local/package"), help="a packaged version (%(default)s)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "int8"), default="auto", help="of the engine")
    parser.add_argument("--rounds", type=int, default=5, help="starts of each kind (%(default)s)")
    options = parser.parse_args(arguments)
    if not (options.package / MANIFEST_NAME).is_file():
        parser.error(f"--package {options.package}: no {MANIFEST_NAME} there; `make model` makes one")
    with s3_server() as url, tempfile.TemporaryDirectory() as folder:
        publish(options.package, Remote.open(url), "xception", labels=("stable",))
        cache = Path(folder) / "cache"
        settings = {"MODEL_STORE_URL": url, "MODEL_CACHE_DIR": str(cache), "PRECISION": options.precision}
        start(Path(folder) / "first", settings)
        before: dict[str, Callable[[], None]] = {
            "in the cache": lambda: None,
            "pulled": lambda: forget(cache, keep_learned=True),
            "pulled, and measured for the first time": lambda: forget(cache, keep_learned=False),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ("a BentoML service that does nothing", *before)}
        for number in tqdm(range(options.rounds), leave=False):
            seconds["a BentoML service that does nothing"].append(
                start(Path(folder) / f"idle-{number}", {}, "loadtest.measurements.idle_service:IdleEdge")
            )
            for name, prepare in before.items():
                prepare()
                seconds[name].append(start(Path(folder) / f"start-{number}", settings))
    print(f"{describe_machine()}\n\n| | s to ready (min–max) | ÷ in the cache |\n|---|---|---|")
    cached = median(seconds["in the cache"])
    for name, taken in seconds.items():
        print(f"| {name} | {spread(taken, '.2f')} | {median(taken) / cached:.2f} |")
    return 0


def start(folder: Path, settings: dict[str, str], target: str = "service.app:EdgeService") -> float:
    """Return the seconds from the start of a process until it is ready, and stop it."""
    began = time.perf_counter()
    with LocalServer(folder, target, **settings):
        return time.perf_counter() - began


def forget(cache: Path, *, keep_learned: bool) -> None:
    """Empty a cache, all of it or all but what was learned."""
    for entry in cache.iterdir():
        if entry.name != _LEARNED or not keep_learned:
            shutil.rmtree(entry)
