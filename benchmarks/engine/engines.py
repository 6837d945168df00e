"""Measure each engine and precision on this machine, with nothing around it: `python -m benchmarks engines`.

Every variant of a version runs in a process of its own, a batch at a time on all threads, then a batch in each stream.
All take turns in each round, so that other work on the machine affects all of them; the median of the rounds counts.
FOLDER holds a packaged version; without it, one is pulled from the store. Prints a table in Markdown.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import click
from tqdm import tqdm

from benchmarks.measuring.interference import InterferenceMonitor
from benchmarks.measuring.json_lines import JsonLinesProcess
from benchmarks.measuring.machine import describe_machine
from benchmarks.measuring.summary import spread
from benchmarks.options import POSITIVE, Commas, benchmark, rounds_option
from engines.cpus import available_cpus
from model_store.catalog.reference import parse_selector, resolve
from model_store.errors import StoreError
from model_store.store.remote import Remote
from model_store.transfer.cache import Cache
from model_store.transfer.pull import pull
from model_store.trust.manifest import MANIFEST_NAME, Manifest
from service.settings import load_settings

from .engine_process import KERAS, Speed, Task

BATCHES = (1, 2, 4, 8, 16)


class EngineProcess(JsonLinesProcess):
    """Run `engine_process.py`."""

    def __init__(self, folder: Path, name: str, threads: int) -> None:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        module = "benchmarks.engine.engine_process"
        super().__init__(name, module, folder, name, threads, environment=environment)

    @property
    def streams(self) -> int:
        """Return how many batches it can run side by side."""
        return int(self.first)

    def run(self, task: Task) -> Speed:
        """Run a task and return its result."""
        return Speed(**self.call(asdict(task)))


@dataclass(frozen=True)
class Row:
    """An engine and how it runs."""

    process: EngineProcess
    side_by_side: bool

    @property
    def text(self) -> str:
        """Return a description."""
        way = f"{self.process.streams} streams" if self.side_by_side else "alone"
        return f"{self.process.name}, {way}"


def measure(processes: Sequence[EngineProcess], rounds: int, seconds: float) -> list[str]:
    """Run all engines in turn and return the rows of the table."""
    rows = [Row(process, way) for process in processes for way in ((False, True) if process.streams > 1 else (False,))]
    seen: defaultdict[tuple[Row, int], list[Speed]] = defaultdict(list)
    plan = [(batch, row) for _ in range(rounds) for batch in BATCHES for row in rows]
    for batch, row in tqdm(plan, unit="window", file=sys.stderr):
        seen[row, batch].append(row.process.run(Task(batch, row.side_by_side, seconds)))
    return [_line(row, [seen[row, batch] for batch in BATCHES]) for row in rows]


def _line(row: Row, columns: Sequence[Sequence[Speed]]) -> str:
    cells = [_cell([speed.rate for speed in speeds]) for speeds in columns]
    alone = columns[0]
    cells.append(f"{median(speed.batch_ms for speed in alone):.1f}")
    cells.append(f"{median(speed.cpu_ms for speed in alone):.1f}")
    cells.append(f"{max(speed.memory_mib for speeds in columns for speed in speeds):.0f}")
    return f"| {row.text} | {' | '.join(cells)} |"


def _cell(rates: Sequence[float]) -> str:
    return spread(rates, ".0f" if median(rates) >= 100 else ".1f")


def find_version(folder: Path | None, store: str | None, model: str | None, version: str | None) -> Path:
    """Return the folder of a version; from a store it is pulled into the cache.

    Raises:
        SystemExit: There is no such version; the message is one line.
    """
    if folder:
        if not (folder / MANIFEST_NAME).is_file():
            raise SystemExit(f"{folder}: holds no {MANIFEST_NAME}, so it is no version of a model")
        return folder
    settings = load_settings()
    model, version = model or settings.model_name, version or settings.model_version
    try:
        remote = Remote.open(store or settings.model_store_url)
        return pull(remote, resolve(remote, model, parse_selector(version)), Cache(settings.model_cache_dir)).root
    except StoreError as error:
        raise SystemExit(str(error)) from None


def candidates(manifest: Manifest, everything: bool) -> list[str]:
    """Return the names of what can be run here: OpenVINO's variants, and on demand those that need TensorFlow."""
    names = [variant.name for variant in manifest.variants if variant.engine == "openvino"]
    if everything:
        if find_spec("tensorflow") is None or find_spec("keras") is None:
            raise SystemExit("--all needs TensorFlow and Keras, which are not installed")
        names += [variant.name for variant in manifest.variants if variant.engine == "tensorflow"]
        names += [KERAS] if any(file.path == "model.keras" for file in manifest.files) else []
    return names


@benchmark(__doc__)
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--store", metavar="URL", help="Where versions are published.  [default: MODEL_STORE_URL]")
@click.option("--model", metavar="NAME", help="[default: MODEL_NAME]")
@click.option("--version", help="Label, number or digest.  [default: MODEL_VERSION]")
@click.option("--only", type=Commas(click.STRING), help="Such as openvino/int8.  [default: all of OpenVINO]")
@click.option("--all", "everything", is_flag=True, help="Also TensorFlow and keras.predict.")
@rounds_option(3)
@click.option("--seconds", type=click.FloatRange(min=0), default=1.0, help="Length of a window.")
@click.option("--threads", type=POSITIVE, default=available_cpus, help="[default: the CPUs available]")
def main(
    folder: Path | None,
    store: str | None,
    model: str | None,
    version: str | None,
    only: Sequence[str] | None,
    everything: bool,
    rounds: int,
    seconds: float,
    threads: int,
) -> int:
    """Measure and print; return the exit status."""
    folder = find_version(folder, store, model, version)
    manifest = Manifest.parse((folder / MANIFEST_NAME).read_bytes())
    names = candidates(manifest, everything)
    if unknown := [name for name in only or () if name not in names]:
        raise click.UsageError(f"--only {unknown[0]}: there are {', '.join(names)}")
    monitor = InterferenceMonitor()
    with ExitStack() as stack:
        processes = []
        for name in only or names:
            print(f"Loading {name} …", file=sys.stderr, flush=True)
            processes.append(stack.enter_context(EngineProcess(folder, name, threads)))
        lines = measure(processes, rounds, seconds)
    interference = monitor.read()
    size = f"{manifest.input.width} × {manifest.input.height}, {len(manifest.classes)} classes"
    print(f"Images per second ({size}), middle of {rounds} rounds (least–most), {threads} threads.")
    print(f"{describe_machine()}.", f"Interference: {interference.text}" if interference.spoils else "", end="\n\n")
    print(f"| Engine | {' | '.join(f'batch {size}' for size in BATCHES)} | ms a batch of 1 | CPU ms an image | MiB |")
    print("|---|" + "---|" * (len(BATCHES) + 3))
    print("\n".join(lines))
    return 0
